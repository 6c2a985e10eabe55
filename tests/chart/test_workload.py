"""What runs, and how."""

import pytest

from charts import Object, bridge, config, kinds, merged, only, pod, render, workload
from conftest import MINIMAL, SETS

STATELESS: Object = merged(MINIMAL, {"config": {"spool": {"max_size": 0}}})


def test_the_spool_makes_it_a_stateful_set_with_a_volume_for_each_replica() -> None:
    spec = only(render(MINIMAL), "StatefulSet")["spec"]
    assert spec["replicas"] == 2
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert "storageClassName" not in claim["spec"]


def test_a_claim_has_the_selectors_labels_alone() -> None:
    spec = only(render(merged(MINIMAL, {"commonLabels": {"team": "chat"}})), "StatefulSet")["spec"]
    assert spec["volumeClaimTemplates"][0]["metadata"]["labels"] == spec["selector"]["matchLabels"]
    assert spec["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "minchat-bridge",
        "app.kubernetes.io/instance": "rel",
    }


def test_the_stateful_sets_service_is_there() -> None:
    objects = render(MINIMAL)
    spec = only(objects, "Service", "-headless")["spec"]
    assert only(objects, "StatefulSet")["spec"]["serviceName"] == "rel-minchat-bridge-headless"
    assert spec["clusterIP"] == "None"
    assert spec["publishNotReadyAddresses"] is True


@pytest.mark.parametrize("off", [0, "0", "0GiB", "0.0 MiB"])
def test_without_the_spool_it_is_a_deployment_without_a_volume(off: object) -> None:
    objects = render(merged(MINIMAL, {"config": {"spool": {"max_size": off}}}))
    spec = only(objects, "Deployment")["spec"]
    assert "StatefulSet" not in kinds(objects)
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert "data" not in [mount["name"] for mount in bridge(objects)["volumeMounts"]]


def test_it_scales_by_itself_without_the_spool() -> None:
    objects = render(SETS["stateless"])
    scaler = only(objects, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "rel-minchat-bridge"}
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 20)
    assert [metric["resource"]["name"] for metric in scaler["metrics"]] == ["cpu", "memory"]
    assert "replicas" not in only(objects, "Deployment")["spec"], "the scaler's number would be overwritten"


def test_the_configuration_is_passed_through_as_it_is() -> None:
    given = SETS["both-brokers"]["config"]
    found = config(render(SETS["both-brokers"]))
    assert found["routes"] == given["routes"]
    assert found["http"]["max_in_flight"] == 1_000_000
    assert found["amqp"]["uris"] == given["amqp"]["uris"]
    assert set(found["sources"]) == {"shop", "support"}
    assert found["sources"]["shop"]["rate_limit"] == {"per_second": 1000, "burst": 2000}


def test_a_setting_that_this_chart_has_never_heard_of_is_passed_through_too() -> None:
    later = {"http": {"tls": {"cert_file": "/a", "key_file": "/b"}}, "tracing": {"endpoint": "http://otel:4317"}}
    found = config(render(merged(MINIMAL, {"config": later})))
    assert found["http"]["tls"] == later["http"]["tls"]
    assert found["tracing"] == later["tracing"]


def test_a_change_of_the_configuration_restarts_the_pods() -> None:
    def checksum(values: Object) -> str:
        return workload(render(values))["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum(MINIMAL) == checksum(merged(MINIMAL, {"replicaCount": 5}))
    assert checksum(MINIMAL) != checksum(merged(MINIMAL, {"config": {"log": {"level": "debug"}}}))


def test_a_new_chart_alone_restarts_no_pod() -> None:
    labels = workload(render(MINIMAL))["spec"]["template"]["metadata"]["labels"]
    assert "helm.sh/chart" not in labels


def test_probes_are_on_the_admin_port() -> None:
    container = bridge(render(MINIMAL))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 8080, "admin": 8081}
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {"admin"}
    assert probes["readinessProbe"]["path"] == "/readyz"
    assert probes["livenessProbe"]["path"] == probes["startupProbe"]["path"] == "/livez"
    assert "startupProbe" not in bridge(render(merged(MINIMAL, {"startupProbe": None})))


def test_ports_follow_the_configuration() -> None:
    objects = render(SETS["openshift"])
    assert [port["containerPort"] for port in bridge(objects)["ports"]] == [9080, 9081]
    policy = only(objects, "NetworkPolicy")["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in policy] == [9080, 9081]


def test_it_runs_as_nobody_on_a_root_that_is_read_only() -> None:
    objects = render(MINIMAL)
    spec = pod(objects)
    context = spec["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (65532, 65532, 65532)
    assert context["fsGroupChangePolicy"] == "OnRootMismatch"
    assert bridge(objects)["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert only(objects, "ServiceAccount")["automountServiceAccountToken"] is False


def test_a_cluster_may_choose_the_users() -> None:
    context = pod(render(SETS["openshift"]))["securityContext"]
    assert {"runAsUser", "runAsGroup", "fsGroup"}.isdisjoint(context)
    assert context["runAsNonRoot"] is True


def test_resources_are_set() -> None:
    resources = bridge(render(MINIMAL))["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert set(resources["limits"]) == {"memory"}


def test_the_workers_are_not_as_many_as_the_node_has_cores() -> None:
    assert config(render(MINIMAL))["http"]["workers"] == 2


def test_replicas_are_spread_over_zones_and_nodes() -> None:
    objects = render(MINIMAL)
    spread = pod(objects)["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    selector = workload(objects)["spec"]["selector"]
    assert all(one["labelSelector"] == selector for one in spread)
    assert "topologySpreadConstraints" not in pod(render(SETS["openshift"]))


def test_a_spread_of_ones_own_gets_its_selector() -> None:
    objects = render(SETS["everything"])
    (spread,) = pod(objects)["topologySpreadConstraints"]
    assert spread["whenUnsatisfiable"] == "DoNotSchedule"
    assert spread["labelSelector"] == workload(objects)["spec"]["selector"]


@pytest.mark.parametrize(("replicas", "is_there"), [(0, False), (1, False), (2, True)])
def test_a_disruption_budget_is_for_more_than_one(replicas: int, is_there: bool) -> None:
    assert ("PodDisruptionBudget" in kinds(render(merged(MINIMAL, {"replicaCount": replicas})))) is is_there


def test_a_disruption_budget_counts_one_way() -> None:
    assert only(render(MINIMAL), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    share = only(render(SETS["gateway"]), "PodDisruptionBudget")["spec"]
    assert share["minAvailable"] == "50%"
    assert "maxUnavailable" not in share


def test_the_image_has_a_tag_or_a_digest() -> None:
    assert bridge(render(MINIMAL))["image"] == "registry.example.com/team/minchat-bridge:0.1.0"
    tagged = {"image": {"registry": "registry.example.com/", "tag": "1.2.3"}}
    assert bridge(render(merged(MINIMAL, tagged)))["image"] == "registry.example.com/minchat-bridge:1.2.3"
    everything = bridge(render(SETS["everything"]))
    assert everything["image"].startswith("registry.example.com/mirror/minchat-bridge@sha256:0123")
    assert everything["imagePullPolicy"] == "Always"
    assert pod(render(SETS["everything"]))["imagePullSecrets"] == [{"name": "pull"}, {"name": "mirror"}]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ({"registry": "", "repository": "ghcr.io/team/bridge"}, "ghcr.io/team/bridge:0.1.0"),
        ({"registry": "", "repository": "localhost/bridge"}, "localhost/bridge:0.1.0"),
        ({"registry": "registry:5000"}, "registry:5000/minchat-bridge:0.1.0"),
        ({"registry": "[2001:db8::1]:5000"}, "[2001:db8::1]:5000/minchat-bridge:0.1.0"),
        ({"registry": "192.0.2.1"}, "192.0.2.1/minchat-bridge:0.1.0"),
        ({"registry": "docker.io/team"}, "docker.io/team/minchat-bridge:0.1.0"),
        ({"registry": "index.docker.io", "repository": "team/bridge"}, "index.docker.io/team/bridge:0.1.0"),
        ({"tag": f"1.2@sha256:{'0' * 64}"}, f"registry.example.com/team/minchat-bridge:1.2@sha256:{'0' * 64}"),
    ],
)
def test_an_image_with_a_registry_is_taken_however_it_is_written(image: Object, name: str) -> None:
    objects = render(merged(MINIMAL, {"image": image}))
    assert bridge(objects)["image"] == name
    assert only(objects, "Pod")["spec"]["containers"][0]["image"] == name


def test_long_names_leave_room_for_what_is_put_behind_them() -> None:
    objects = render(MINIMAL, release="r" * 53)
    name = workload(objects)["metadata"]["name"]
    assert len(name) <= 52
    assert only(objects, "Service", "-headless")["metadata"]["name"] == f"{name}-headless"


def test_null_takes_a_setting_back() -> None:
    back = {"config": {"http": {"workers": None}, "sources": {"minchat": {"auth": None}}, "kafka": {"sasl": None}}}
    found = config(render(merged(MINIMAL, back)))
    assert "workers" not in found["http"]
    assert set(found["sources"]["minchat"]["auth"]) == {"tokens_file"}
    assert found["kafka"] == {"bootstrap_servers": "kafka:9092"}
