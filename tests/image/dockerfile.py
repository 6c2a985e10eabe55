"""Reads as much of a Dockerfile as the tests hold it to."""

import json
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
DOCKERFILE = PROJECT / "deploy" / "Dockerfile"

Instruction = tuple[str, str]


def stages() -> list[list[Instruction]]:
    """Instructions with their arguments, by stage; what stands before the first FROM is left out."""
    found: list[list[Instruction]] = []
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, arguments = line.split(maxsplit=1)
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, " ".join(arguments.split())))
    return found


def last(name: str) -> str:
    """The arguments of the image's own instruction of that name."""
    return [arguments for found, arguments in stages()[-1] if found == name][-1]


def command(name: str) -> list[str]:
    """The arguments of one that runs something."""
    arguments = last(name)
    return json.loads(arguments[arguments.index("[") :])


def environment() -> dict[str, str]:
    pairs = [arguments.split("=", 1) for found, arguments in stages()[-1] if found == "ENV"]
    return {name: value for name, value in pairs}
