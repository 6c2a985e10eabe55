"""Renders the chart with Helm's own engine.

That of Helm 4, which comes with the requirements; with HELM=/path/to/helm in the environment that command instead, such as Helm 3.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import helm_python
import yaml

PROJECT = Path(__file__).resolve().parents[2]
CHART = PROJECT / "helm" / "minchat-bridge"
HELM = os.environ.get("HELM")
KUBERNETES = "1.33.0"

Object = dict[str, Any]


class DoesNotRender(Exception):
    """What Helm says of values that don't hold."""


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def value_sets() -> dict[str, Object]:
    """Every set of values that comes with the chart, by name."""
    files = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*.yaml"))}
    return {name: read(path) for name, path in files.items()} | {"production": read(CHART / "values-production.yaml")}


def merged(*values: Object) -> Object:
    """One set of values over another, as several --values would be."""
    result: Object = {}
    for one in values:
        for key, value in one.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


def texts(values: Object, chart: Path = CHART, release: str = "rel", namespace: str = "ns") -> dict[str, str]:
    """What each template becomes, NOTES.txt too."""
    if HELM:
        return _texts_by_command(HELM, values, chart, release, namespace)
    with helm_python.Chart.load(chart) as loaded:
        try:
            return loaded.render(values, name=release, namespace=namespace)
        except helm_python.HelmError as error:
            raise DoesNotRender(str(error)) from error


def _texts_by_command(helm: str, values: Object, chart: Path, release: str, namespace: str) -> dict[str, str]:
    command = [helm, "template", release, chart, "--namespace", namespace, "--kube-version", KUBERNETES, "--values", "-"]
    ran = subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True, check=False)
    if ran.returncode:
        raise DoesNotRender(ran.stderr)
    found: dict[str, str] = {}
    for document in ran.stdout.split("\n---\n"):
        if "# Source: " not in document:
            continue
        path = document.split("# Source: ", 1)[1].splitlines()[0]
        found[path] = f"{found.get(path, '')}\n---\n{document}"
    return found


def render(values: Object, **how: Any) -> list[Object]:
    """All objects."""
    rendered = texts(values, **how)
    parts = [text for path, text in rendered.items() if not path.endswith("NOTES.txt")]
    return [found for text in parts for found in yaml.load_all(text, Loader=yaml.CSafeLoader) if found]


def only(objects: list[Object], kind: str, suffix: str = "") -> Object:
    """The one object of the kind whose name ends like that."""
    found = [one for one in objects if one["kind"] == kind and one["metadata"]["name"].endswith(suffix)]
    assert len(found) == 1, f"{len(found)} of {kind} *{suffix}"
    return found[0]


def kinds(objects: list[Object]) -> set[str]:
    return {one["kind"] for one in objects}


def workload(objects: list[Object]) -> Object:
    """The StatefulSet or Deployment."""
    found = [one for one in objects if one["kind"] in ("StatefulSet", "Deployment")]
    assert len(found) == 1
    return found[0]


def pod(objects: list[Object]) -> Object:
    return workload(objects)["spec"]["template"]["spec"]


def bridge(objects: list[Object]) -> Object:
    """The bridge's own container."""
    return next(one for one in pod(objects)["containers"] if one["name"] == "minchat-bridge")


def config(objects: list[Object]) -> Object:
    """The bridge's configuration."""
    maps = [one for one in objects if one["kind"] == "ConfigMap" and "bridge.yaml" in one.get("data", {})]
    return yaml.safe_load(maps[0]["data"]["bridge.yaml"])


def copy_of_chart(directory: Path) -> Path:
    return Path(shutil.copytree(CHART, directory / "minchat-bridge"))
