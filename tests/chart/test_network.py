"""Who reaches what."""

from charts import Object, kinds, merged, only, render
from conftest import MINIMAL, SETS


def test_the_service_has_the_webhook_port_alone() -> None:
    spec = only(render(MINIMAL), "Service", "minchat-bridge")["spec"]
    assert spec["ports"] == [
        {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}
    ]
    assert spec["type"] == "ClusterIP"


def test_the_service_can_be_another() -> None:
    spec = only(render(SETS["ingress"]), "Service", "minchat-bridge")["spec"]
    for field, value in SETS["ingress"]["service"].items():
        if field != "annotations":
            assert spec[field] == value, field
    assert only(render(SETS["everything"]), "Service", "chat-bridge")["spec"]["ports"][0]["nodePort"] == 30080


def test_a_listener_with_tls_is_told_to_proxies() -> None:
    tls = merged(MINIMAL, {"config": {"http": {"tls": {"cert_file": "/c", "key_file": "/k"}}}})
    assert only(render(tls), "Service", "minchat-bridge")["spec"]["ports"][0]["appProtocol"] == "https"


def test_anybody_posts_and_monitoring_alone_scrapes() -> None:
    policy = only(render(MINIMAL), "NetworkPolicy")["spec"]
    webhooks, scrapes = policy["ingress"]
    assert policy["policyTypes"] == ["Ingress"]
    assert webhooks == {"ports": [{"port": 8080, "protocol": "TCP"}]}
    assert scrapes["ports"] == [{"port": 8081, "protocol": "TCP"}]
    monitoring = {"kubernetes.io/metadata.name": "monitoring"}
    assert scrapes["from"] == [{"namespaceSelector": {"matchLabels": monitoring}}]


def test_nobody_scrapes_when_nobody_is_named() -> None:
    policy = only(render(merged(MINIMAL, {"networkPolicy": {"admin": {"from": []}}})), "NetworkPolicy")["spec"]
    assert [rule["ports"][0]["port"] for rule in policy["ingress"]] == [8080]


def test_a_policy_can_be_narrower() -> None:
    objects = render(SETS["gateway"])
    policy = only(objects, "NetworkPolicy")["spec"]
    gateway, tester = policy["ingress"][0]["from"]
    assert gateway == SETS["gateway"]["networkPolicy"]["http"]["from"][0]
    assert tester["podSelector"]["matchLabels"].items() <= only(objects, "Pod")["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    names, kafka = policy["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert kafka == SETS["gateway"]["networkPolicy"]["egress"]["to"][0]


def test_there_can_be_no_policy() -> None:
    assert "NetworkPolicy" not in kinds(render(SETS["file"]))


def test_an_ingress_passes_on_webhooks_alone() -> None:
    spec = only(render(SETS["ingress"]), "Ingress")["spec"]
    paths = {rule["host"]: rule["http"]["paths"] for rule in spec["rules"]}
    assert {host: (one["path"], one["pathType"]) for host, (one,) in paths.items()} == {
        "hooks.example.com": ("/webhooks", "Prefix"),
        "hooks.example.org": ("/webhooks/minchat", "Exact"),
    }
    backends = [one["backend"]["service"] for (one,) in paths.values()]
    assert backends == [{"name": "rel-minchat-bridge", "port": {"name": "http"}}] * 2
    assert spec["ingressClassName"] == "nginx"
    assert spec["tls"] == SETS["ingress"]["ingress"]["tls"]


def test_a_route_passes_on_posted_webhooks_alone() -> None:
    spec = only(render(SETS["gateway"]), "HTTPRoute")["spec"]
    (rule,) = spec["rules"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/webhooks"}, "method": "POST"}]
    assert rule["backendRefs"] == [{"name": "rel-minchat-bridge", "port": 80}]
    assert spec["parentRefs"] == SETS["gateway"]["httpRoute"]["parentRefs"]
    assert spec["hostnames"] == ["hooks.example.com"]


def test_neither_is_there_by_itself() -> None:
    assert {"Ingress", "HTTPRoute", "ServiceMonitor", "PrometheusRule"}.isdisjoint(kinds(render(MINIMAL)))


def test_no_service_takes_the_tests_pod() -> None:
    objects = render(MINIMAL)
    labels: Object = only(objects, "Pod")["metadata"]["labels"]
    for service in (one for one in objects if one["kind"] == "Service"):
        assert not service["spec"]["selector"].items() <= labels.items()
