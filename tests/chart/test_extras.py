"""What people add: everything-values.yaml, value by value."""

from charts import bridge, config, only, pod, render, workload
from conftest import SETS

OBJECTS = render(SETS["everything"])
GIVEN = SETS["everything"]


def test_names_and_the_namespace_can_be_others() -> None:
    assert workload(OBJECTS)["metadata"]["name"] == "chat-bridge"
    own = [one for one in OBJECTS if not one["metadata"]["name"].endswith(("-as-map", "-as-text"))]
    assert {one["metadata"]["namespace"] for one in own} == {"chat"}


def test_common_labels_are_on_everything_but_selectors() -> None:
    own = [one for one in OBJECTS if not one["metadata"]["name"].endswith(("-as-map", "-as-text"))]
    assert {one["metadata"]["labels"].get("team") for one in own} == {"chat"}
    assert {one["metadata"]["annotations"].get("example.com/owner") for one in own} == {"chat"}
    assert "team" not in workload(OBJECTS)["spec"]["selector"]["matchLabels"]
    assert "team" not in only(OBJECTS, "Service", "chat-bridge")["spec"]["selector"]


def test_pods_are_placed_as_said() -> None:
    spec = pod(OBJECTS)
    for field in ("nodeSelector", "tolerations", "affinity", "priorityClassName", "schedulerName"):
        assert spec[field] == GIVEN[field], field
    for field in ("runtimeClassName", "hostAliases", "dnsPolicy", "dnsConfig"):
        assert spec[field] == GIVEN[field], field


def test_pods_have_the_labels_and_annotations_that_were_said() -> None:
    metadata = workload(OBJECTS)["spec"]["template"]["metadata"]
    assert metadata["labels"]["tier"] == "edge"
    assert metadata["annotations"]["example.com/scrape"] == "no"
    assert workload(OBJECTS)["metadata"]["annotations"]["reloader.example.com/auto"] == "true"


def test_containers_stand_before_and_beside_it() -> None:
    assert [one["name"] for one in pod(OBJECTS)["initContainers"]] == ["wait"]
    assert [one["name"] for one in pod(OBJECTS)["containers"]] == ["minchat-bridge", "beside"]


def test_variables_arguments_and_mounts_are_added() -> None:
    container = bridge(OBJECTS)
    assert {"name": "RELEASE", "value": "rel"} in container["env"]
    assert container["envFrom"] == GIVEN["extraEnvFrom"]
    assert container["args"][-2:] == ["--set", "log.format=json"]
    assert {"name": "scratch", "mountPath": "/scratch"} in container["volumeMounts"]
    assert {"name": "scratch", "emptyDir": {}} in pod(OBJECTS)["volumes"]
    assert container["lifecycle"] == GIVEN["lifecycle"]


def test_times_and_strategies_are_as_said() -> None:
    spec = only(OBJECTS, "StatefulSet")["spec"]
    assert spec["updateStrategy"] == GIVEN["updateStrategy"]
    assert spec["minReadySeconds"] == 10
    assert spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"
    assert pod(OBJECTS)["terminationGracePeriodSeconds"] == 60


def test_claims_are_as_said() -> None:
    claim = only(OBJECTS, "StatefulSet")["spec"]["volumeClaimTemplates"][0]
    assert claim["spec"]["storageClassName"] == "", "- stands for none, and wins over global.storageClass"
    assert claim["spec"]["selector"] == GIVEN["persistence"]["selector"]
    assert claim["metadata"]["annotations"] == GIVEN["persistence"]["annotations"]


def test_the_service_account_is_as_said() -> None:
    assert only(OBJECTS, "ServiceAccount")["metadata"]["name"] == "bridge"
    assert "eks.amazonaws.com/role-arn" in only(OBJECTS, "ServiceAccount")["metadata"]["annotations"]
    assert pod(OBJECTS)["serviceAccountName"] == "bridge"
    assert pod(render(SETS["file"]))["serviceAccountName"] == "default"


def test_objects_are_made_from_maps_and_from_text() -> None:
    assert only(OBJECTS, "ConfigMap", "rel-as-map")
    assert only(OBJECTS, "ConfigMap", "chat-bridge-as-text")


def test_other_properties_of_the_client_reach_it() -> None:
    assert config(OBJECTS)["kafka"]["properties"] == {"client.rack": "a"}
