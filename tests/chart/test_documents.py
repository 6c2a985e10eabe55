"""What the chart says of itself."""

import tomllib
from typing import Any

import pytest
import yaml

from charts import CHART, HELM, PROJECT, merged, read, texts
from conftest import MINIMAL, SETS
from readme import rows, written

SCHEMA = yaml.safe_load((CHART / "values.schema.json").read_text())
VALUES = read(CHART / "values.yaml")


def test_the_readme_is_what_the_values_comments_say() -> None:
    assert (CHART / "README.md").read_text() == written(), "make chart-readme writes it"


def test_every_value_is_described() -> None:
    described = {row.path for section in rows() for row in section.rows}
    assert described - {"config"} == set(leaves(VALUES, "")), "a line with `# --` above each"


def leaves(value: Any, path: str) -> list[str]:
    if isinstance(value, dict) and value and not any(path.endswith(whole) for whole in WHOLE):
        return [leaf for key, below in value.items() for leaf in leaves(below, f"{path}.{key}".lstrip("."))]
    return [path]


# Maps that are described as one value.
WHOLE = ("config.sources", "resources", "trategy", "Probe", "ecurityContext")


def test_the_schema_knows_each_value_and_no_other() -> None:
    assert_same(VALUES, SCHEMA, "")


def assert_same(value: Any, schema: Any, path: str) -> None:
    schema = resolved(schema)
    if schema.get("additionalProperties") is not False:
        return
    properties = set(schema["properties"]) - ({"enabled"} if not path else set())
    assert set(value) == properties, path or "the top"
    for key, below in value.items():
        if isinstance(below, dict):
            assert_same(below, schema["properties"][key], f"{path}.{key}")


def resolved(schema: Any) -> Any:
    reference = schema.get("$ref")
    return SCHEMA["definitions"][reference.rsplit("/", 1)[1]] if reference else schema


def test_the_schema_is_strict_where_the_values_are_ours() -> None:
    for section in ("image", "secrets", "persistence", "service", "monitoring", "networkPolicy", "ingress"):
        assert SCHEMA["properties"][section]["additionalProperties"] is False, section
    assert SCHEMA["additionalProperties"] is False


def test_the_chart_is_for_this_bridge() -> None:
    chart = read(CHART / "Chart.yaml")
    cargo = tomllib.loads((PROJECT / "Cargo.toml").read_text())
    assert chart["appVersion"] == cargo["package"]["version"]
    assert chart["annotations"]["artifacthub.io/license"] == cargo["package"]["license"]
    assert yaml.safe_load(chart["annotations"]["artifacthub.io/changes"])


def test_upgrade_notes_have_this_version() -> None:
    version = read(CHART / "Chart.yaml")["version"]
    assert f"## {version}\n" in (CHART / "UPGRADING.md").read_text()


def notes(values: Any) -> str:
    if HELM:
        pytest.skip("`helm template` leaves the notes out")
    return texts(values)["minchat-bridge/templates/NOTES.txt"]


def test_notes_tell_the_next_steps() -> None:
    said = notes(MINIMAL)
    assert "kubectl --namespace ns rollout status statefulset/rel-minchat-bridge" in said
    assert "helm test rel --namespace ns" in said
    assert "http://rel-minchat-bridge.ns:80/webhooks/minchat" in said
    assert "kubectl --namespace ns get secret minchat-tokens" in said


def test_notes_tell_that_order_holds_per_replica(values: Any) -> None:
    assert "keep their order within a replica" in notes(values)


def test_notes_tell_where_it_is_exposed() -> None:
    assert "https://hooks.example.com/webhooks/minchat" in notes(SETS["ingress"])
    assert "https://hooks.example.com/webhooks/minchat" in notes(SETS["gateway"])


def test_notes_tell_what_is_unusual() -> None:
    assert "lets everybody in" in notes(SETS["file"])
    assert "lets everybody in" not in notes(MINIMAL)
    assert "webhooks are refused with 503" in notes(SETS["stateless"])
    deleting = {"persistence": {"retentionPolicy": {"whenScaled": "Delete"}}}
    assert "scaling down deletes the events" in notes(merged(MINIMAL, deleting))
    assert "scaling down deletes the events" not in notes(MINIMAL)
    assert "helm test rel" in notes(SETS["tls"])
    assert "https://rel-minchat-bridge.ns:80/webhooks/minchat" in notes(SETS["tls"])
