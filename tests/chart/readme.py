"""Writes the chart's README from the comments of its values.

    python tests/chart/readme.py

A comment that begins with `# --` describes the key under it, in one or more lines; `# @section` begins a table, and lines behind
it until an empty one stand above the table; `# @default` says what to show as the default.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from charts import CHART, read

README = CHART / "README.md"
TEMPLATE = CHART / "README.in.md"
KEY = re.compile(r"^( *)([A-Za-z][\w-]*):")


@dataclass
class Row:
    path: str
    default: str
    text: str


@dataclass
class Section:
    title: str
    text: str = ""
    rows: list[Row] = field(default_factory=list)


def rows() -> list[Section]:
    """The values with their descriptions, in sections, in order."""
    values = read(CHART / "values.yaml")
    sections: list[Section] = []
    above: list[str] = []
    description: list[str] | None = None
    default = ""
    in_heading = False
    for line in (CHART / "values.yaml").read_text().splitlines():
        comment = line.strip().removeprefix("#").strip() if line.strip().startswith("#") else None
        if comment is not None and comment.startswith("@section "):
            sections.append(Section(comment.removeprefix("@section ")))
            in_heading = True
        elif comment is not None and in_heading:
            sections[-1].text += f"{comment} "
        elif comment is not None and comment.startswith("-- "):
            description = [comment.removeprefix("-- ")]
        elif comment is not None and comment.startswith("@default "):
            default = comment.removeprefix("@default ")
        elif comment is not None and description is not None:
            description.append(comment)
        elif key := KEY.match(line):
            above = above[: len(key[1]) // 2] + [key[2]]
            if description is not None:
                row = Row(".".join(above), default or _default(values, above), " ".join(description))
                sections[-1].rows.append(row)
            description, default = None, ""
        elif not line.strip():
            in_heading = False
    return sections


def _default(values: Any, path: list[str]) -> str:
    for key in path:
        values = values[key]
    return f"`{json.dumps(values, ensure_ascii=False)}`"


def _table(section: Section) -> str:
    lines = [f"### {section.title}", ""]
    if section.text:
        lines += [section.text.strip(), ""]
    lines += ["| value | default | what for |", "|---|---|---|"]
    lines += [f"| `{row.path}` | {row.default} | {row.text} |" for row in section.rows]
    return "\n".join(lines)


def written() -> str:
    """The README as it has to be."""
    note = "<!-- Written by `make chart-readme` from README.in.md and values.yaml. -->\n\n"
    tables = "\n\n".join(_table(section) for section in rows())
    return note + TEMPLATE.read_text().replace("{{ values }}", tables)


if __name__ == "__main__":
    README.write_text(written())
    print(README)
