"""Values that don't hold: each says what is wrong and what would be right."""

import pytest

from charts import DoesNotRender, Object, merged, render
from conftest import MINIMAL

LOGIN: Object = {"secrets": {"kafka": {"login": {"existingSecret": "u"}}}}
USER: Object = {"config": {"kafka": {"sasl": {"username": "u"}}}}

CONTRADICTIONS: dict[str, tuple[Object, str]] = {
    "no token": ({"secrets": {"tokens": {"existingSecret": ""}}}, "kubectl create secret generic minchat-tokens --namespace ns"),
    "a new source without": (
        {"secrets": {"tokens": {"existingSecret": ""}}, "config": {"sources": {"minchat": None, "shop": {}}}},
        "config.sources.shop.auth.none=true",
    ),
    "no broker": ({"config": {"kafka": None}}, "nowhere to publish to"),
    "no address": ({"config": {"kafka": {"bootstrap_servers": ""}}}, "Set config.kafka.bootstrap_servers"),
    "no AMQP address": ({"config": {"amqp": {}}}, "no address for AMQP"),
    "certificates of no AMQP": ({"secrets": {"amqp": {"ca": {"existingSecret": "ca"}}}}, "no address for AMQP"),
    "a login of no AMQP": ({"secrets": {"amqp": {"login": {"existingSecret": "u", "hostKey": ""}}}}, "no address for AMQP"),
    "secrets of no broker": (merged({"config": {"kafka": None, "amqp": {"uri": "amqp://a"}}}, LOGIN), "there is no config.kafka"),
    "a login that is not used": (merged(LOGIN, USER), "plaintext, which does not log in"),
    "a login without a user": (
        merged(LOGIN, {"config": {"kafka": {"security_protocol": "sasl_ssl"}}}),
        "config.kafka.sasl.username",
    ),
    "no login": ({"config": {"kafka": {"security_protocol": "sasl_ssl"}}}, "there is no password"),
    "certificates without TLS": ({"secrets": {"kafka": {"ca": {"existingSecret": "ca"}}}}, "which has no TLS"),
    "tokens of no source": ({"secrets": {"tokens": {"sources": {"shop": {}}}}}, "that config.sources doesn't name"),
    "a scaler with a spool": ({"autoscaling": {"enabled": True}}, "leave the events in its spool behind"),
    "fewer than the least": ({"autoscaling": {"minReplicas": 9}}, "more than autoscaling.maxReplicas"),
    "two budgets": ({"podDisruptionBudget": {"minAvailable": 1}}, "one of maxUnavailable and minAvailable"),
    "no budget": ({"podDisruptionBudget": {"maxUnavailable": None}}, "one of maxUnavailable and minAvailable"),
    "two scrapes": (
        {"monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}},
        "scrape every pod twice",
    ),
    "cut off": ({"config": {"http": {"shutdown_timeout": "30s"}}}, "Set it above 38"),
    "cut off by minutes": ({"config": {"http": {"stop_delay": "1.5m"}}}, "Set it above 105"),
    "a volume that is too small": ({"config": {"spool": {"max_size": "2GiB"}}}, "of which 5% are kept free"),
    "bytes that are too many": ({"config": {"spool": {"max_size": 2_100_000_000}}}, "Make the volume larger"),
    "a spool on the root": ({"config": {"spool": {"dir": "/spool"}}}, "Put it under /var/lib/minchat-bridge"),
    "files on the root": ({"config": {"file": {"dir": "./data"}}}, "config.file.dir"),
    "files without a volume": (
        {"config": {"file": {"dir": "/var/lib/minchat-bridge/events"}, "spool": {"max_size": 0}}},
        "With the spool off there is no volume",
    ),
    "out of reach": ({"config": {"http": {"listen": "127.0.0.1:8080"}}}, "nothing outside of the pod can reach"),
    "probes out of reach": ({"config": {"admin": {"listen": "[::1]:8081"}}}, "nothing outside of the pod can reach"),
    "no port": ({"config": {"http": {"listen": "0.0.0.0"}}}, "not an address with a port"),
    "one port for both": ({"config": {"admin": {"listen": "0.0.0.0:8080"}}}, "not for the public"),
    "no host": ({"ingress": {"enabled": True}}, "ingress.hosts[0].host"),
    "no gateway": ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs[0].name"),
    "a node's port": ({"service": {"nodePort": 30080}}, "NodePort or LoadBalancer"),
}

INLINE: dict[str, Object] = {
    "config.kafka.sasl.password": {"kafka": {"sasl": {"password": "x"}}},
    "config.sources.minchat.auth.tokens": {"sources": {"minchat": {"auth": {"tokens": ["x"]}}}},
    "config.sources.minchat.auth.hmac.secrets": {"sources": {"minchat": {"auth": {"hmac": {"secrets": ["x"]}}}}},
    "config.amqp.password": {"amqp": {"uri": "amqp://u@a", "password": "x"}},
    "The password in config.amqp.uri": {"amqp": {"uri": "amqp://u:hunter2@a"}},
    "The password in config.amqp.uris[1]": {"amqp": {"uris": ["amqp://u@a", "amqp://u:hunter2@b"]}},
    "config.kafka.properties.sasl.password": {"kafka": {"properties": {"sasl.password": "x"}}},
    "config.kafka.properties.ssl.key.pem": {"kafka": {"properties": {"ssl.key.pem": "x"}}},
}

MISSPELT: dict[str, tuple[Object, str]] = {
    "a key that is not known": ({"replicas": 3}, "replicas"),
    "a key that is not known further down": ({"secrets": {"token": {}}}, "token"),
    "a text for a number": ({"replicaCount": "three"}, "replicaCount"),
    "a digest that is none": ({"image": {"digest": "latest"}}, "digest"),
    "a path beside the webhooks": (
        {"ingress": {"enabled": True, "hosts": [{"host": "a", "paths": [{"path": "/"}]}]}},
        "path",
    ),
    "a place that is taken": ({"secrets": {"extra": [{"name": "kafka", "existingSecret": "a", "keys": ["b"]}]}}, "extra"),
    "a source that is no name": ({"config": {"sources": {"My App": {}}}}, "My App"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction_says_what_to_do(name: str) -> None:
    values, says = CONTRADICTIONS[name]
    with pytest.raises(DoesNotRender) as refused:
        render(merged(MINIMAL, values))
    assert says in str(refused.value)
    assert str(refused.value).count("\n  - ") == 1, "one fault, one sentence"


@pytest.mark.parametrize("path", INLINE)
def test_a_secret_in_the_configuration_is_refused_and_not_shown(path: str) -> None:
    with pytest.raises(DoesNotRender) as refused:
        render(merged(MINIMAL, {"config": INLINE[path]}))
    assert f"{path} is a secret, and would stand in a ConfigMap" in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", MISSPELT)
def test_what_is_misspelt_is_told_by_its_name(name: str) -> None:
    values, says = MISSPELT[name]
    with pytest.raises(DoesNotRender, match=says):
        render(merged(MINIMAL, values))


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(DoesNotRender) as refused:
        render({"autoscaling": {"enabled": True}})
    assert str(refused.value).count("\n  - ") == 3
