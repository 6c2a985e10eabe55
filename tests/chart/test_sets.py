"""Every set of values that comes with the chart: linted, valid on every version of Kubernetes, accepted by the bridge."""

import subprocess
from pathlib import Path

import helm_python
import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator

from charts import CHART, HELM, KUBERNETES, Object, bridge, pod, read, render
from conftest import SETS
from kubelet import Node
from restricted import violations

# The oldest is Chart.yaml's kubeVersion, the newest what kubernetes-validate knows.
OLDEST = read(CHART / "Chart.yaml")["kubeVersion"].removeprefix(">=").removesuffix(".0-0")
NEWEST = kubernetes_validate.latest_version()


def test_there_are_enough_sets() -> None:
    assert len(SETS) >= 10


def test_the_linter_has_nothing_to_say(values: Object, tmp_path: Path) -> None:
    if HELM:
        given = tmp_path / "values.yaml"
        given.write_text(yaml.safe_dump(values))
        command = [HELM, "lint", "--strict", "--kube-version", KUBERNETES, "--values", given, CHART]
        assert subprocess.run(command, check=False).returncode == 0
        return
    report = helm_python.lint(CHART, values, strict=True, kube_version=f"v{KUBERNETES}")
    serious = [message for message in report["messages"] if message["severity"] > 1]
    assert not serious
    assert not report["errors"]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_it(values: Object, version: str) -> None:
    for one in render(values):
        if one["apiVersion"].split("/")[0] not in ("monitoring.coreos.com", "gateway.networking.k8s.io"):
            kubernetes_validate.validate(one, version, strict=True)


def test_both_ends_of_the_versions_are_looked_at() -> None:
    assert (OLDEST, NEWEST) == ("1.27", "1.37.0")
    stateful_set = next(one for one in render(SETS["minimal"]) if one["kind"] == "StatefulSet")
    stateful_set["spec"]["template"]["spec"]["containers"][0]["livenes"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(stateful_set, OLDEST, strict=True)


def test_the_prometheus_operator_takes_it(values: Object) -> None:
    for one in render(values):
        if one["apiVersion"].startswith("monitoring.coreos.com"):
            model = getattr(prometheus_operator, one["kind"])
            # A field that the operator doesn't know is dropped by its model.
            assert model.model_validate(one).model_dump(mode="json", by_alias=True, exclude_unset=True) == one


def test_the_bridge_accepts_its_configuration(values: Object, binary: Path, tmp_path: Path) -> None:
    objects = render(values)
    node, container = Node(tmp_path, objects), bridge(objects)
    node.mount(pod(objects), container)
    command, *arguments = node.arguments(container)
    assert command == "serve"
    checked = [binary, "check", *arguments]
    ran = subprocess.run(checked, env=node.environment(container), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_restricted_namespaces_take_its_pods(values: Object) -> None:
    objects = render(values)
    specs = [pod(objects)] + [one["spec"] for one in objects if one["kind"] == "Pod"]
    assert [violations(spec) for spec in specs] == [[] for _ in specs]


def test_all_that_is_made_says_where_and_whose_it_is(values: Object) -> None:
    extra = len(values.get("extraObjects", []))
    objects = render(values)
    own = [one for one in objects if not one["metadata"]["name"].startswith(("rel-as-", "chat-bridge-as-"))]
    assert len(objects) - len(own) == extra
    for one in own:
        assert one["metadata"]["namespace"]
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == "rel"
        assert one["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_no_object_is_there_twice(values: Object) -> None:
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in render(values)]
    assert len(names) == len(set(names))
