"""As a part of another chart."""

from pathlib import Path

import yaml

from charts import CHART, Object, copy_of_chart, merged, pod, render
from conftest import MINIMAL


def parent(directory: Path, values: Object) -> Path:
    """A chart that has this one as a part."""
    chart = directory / "parent"
    (chart / "charts").mkdir(parents=True)
    copy_of_chart(chart / "charts")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    part = {"name": "minchat-bridge", "version": version, "condition": "minchat-bridge.enabled"}
    about = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [part]}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
    (chart / "values.yaml").write_text(yaml.safe_dump(values))
    return chart


def test_a_parent_turns_it_on_and_gives_it_what_is_global(tmp_path: Path) -> None:
    shared = {"imageRegistry": "registry.example.com", "imagePullSecrets": ["all"], "somebodyElses": {"key": 1}}
    values = {"global": shared, "minchat-bridge": merged(MINIMAL, {"enabled": True})}
    spec = pod(render({}, chart=parent(tmp_path, values)))
    assert spec["containers"][0]["image"] == "registry.example.com/minchat-bridge:0.1.0"
    assert spec["imagePullSecrets"] == [{"name": "all"}]


def test_a_parent_turns_it_off(tmp_path: Path) -> None:
    values = {"minchat-bridge": {"enabled": False}}
    assert render({}, chart=parent(tmp_path, values)) == []
