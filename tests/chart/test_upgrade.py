"""An upgrade from any released chart touches no field that Kubernetes doesn't let change."""

from pathlib import Path

import pytest

from charts import CHART, merged, read, render
from conftest import SETS
from immutable import RELEASED, immutable, of_chart

CHARTS = sorted(RELEASED.glob("*.yaml"))


def test_every_release_up_to_this_one_is_there() -> None:
    version = read(CHART / "Chart.yaml")["version"]
    assert version in [file.stem for file in CHARTS], "python tests/chart/immutable.py writes it"


@pytest.mark.parametrize("released", CHARTS, ids=[file.stem for file in CHARTS])
def test_an_upgrade_leaves_alone_what_cannot_change(released: Path) -> None:
    now = of_chart()
    for values, objects in read(released).items():
        assert {name: now[values].get(name) for name in objects} == objects, values


def test_the_list_has_what_hurts_most() -> None:
    released = read(CHARTS[-1])["minimal"]
    fields = released["StatefulSet/rel-minchat-bridge"]
    expected = {"serviceName", "selector", "podManagementPolicy", "volumeClaimTemplates"}
    assert set(fields) == {f"spec.{field}" for field in expected}
    assert released["Service/rel-minchat-bridge-headless"]["spec.clusterIP"] == "None"


@pytest.mark.parametrize(
    "change",
    [
        {"commonLabels": {"team": "chat"}},
        {"replicaCount": 9},
        {"image": {"tag": "9.9.9"}},
        {"podLabels": {"a": "b"}},
        {"monitoring": {"labels": {"a": "b"}, "serviceMonitor": {"enabled": True}}},
        {"config": {"log": {"level": "debug"}}},
        {"persistence": {"retentionPolicy": {"whenDeleted": "Delete"}}},
    ],
    ids=str,
)
def test_values_that_people_change_touch_none(change: dict) -> None:
    def fields(values: dict) -> dict:
        return {one["metadata"]["name"]: immutable(one) for one in render(values) if immutable(one)}

    assert fields(merged(SETS["minimal"], change)) == fields(SETS["minimal"])


def test_a_change_would_be_noticed() -> None:
    larger = merged(SETS["minimal"], {"persistence": {"size": "3Gi"}})
    before, after = ([immutable(one) for one in render(values)] for values in (SETS["minimal"], larger))
    assert before != after
