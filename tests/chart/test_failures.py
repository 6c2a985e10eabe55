"""Values that don't hold: each says what is wrong and what would be right."""

import re

import pytest

from charts import PROJECT, DoesNotRender, Object, bridge, merged, render
from conftest import MINIMAL

UNNAMED = "names no registry"
MISNAMED = "no name of an image"
OFFICIAL = "Docker's own images"
PLAIN = "by a plain value"

LOGIN: Object = {"secrets": {"kafka": {"login": {"existingSecret": "u"}}}}
USER: Object = {"config": {"kafka": {"sasl": {"username": "u"}}}}

IMAGES: list[tuple[Object, str]] = [
    ({"registry": ""}, UNNAMED),
    ({"registry": "team"}, UNNAMED),
    ({"registry": "Team"}, UNNAMED),
    ({"registry": " "}, UNNAMED),
    ({"registry": "/"}, UNNAMED),
    ({"registry": "", "repository": "team/minchat-bridge"}, UNNAMED),
    ({"registry": "", "repository": "minchat-bridge:0.1.0"}, UNNAMED),
    ({"registry": "", "repository": "minchat.bridge"}, UNNAMED),
    ({"registry": "", "repository": ""}, UNNAMED),
    ({"registry": "", "digest": f"sha256:{'0' * 64}"}, UNNAMED),
    ({"registry": "docker.io"}, OFFICIAL),
    ({"registry": "index.docker.io/library"}, OFFICIAL),
    ({"registry": "registry-1.docker.io:443"}, OFFICIAL),
    ({"registry": "", "repository": "docker.io/minchat-bridge"}, OFFICIAL),
    ({"registry": "https://ghcr.io/team"}, MISNAMED),
    ({"registry": " ghcr.io/team"}, MISNAMED),
    ({"registry": "ghcr.io/team "}, MISNAMED),
    ({"registry": "ghcr.io//team"}, MISNAMED),
    ({"registry": "ghcr.io/Team"}, MISNAMED),
    ({"registry": "."}, MISNAMED),
    ({"repository": "minchat-bridge:0.1.0"}, MISNAMED),
    ({"repository": ""}, MISNAMED),
    ({"tag": "a b"}, MISNAMED),
    ({"tag": f"sha256:{'0' * 64}"}, MISNAMED),
]

# What each container takes, and nobody may read.
VARIABLES: dict[str, str] = {
    "MINCHAT_BRIDGE__KAFKA__SASL__PASSWORD": "hunter2",
    "minchat_bridge__amqp__password": "hunter2",
    "MINCHAT_BRIDGE__AMQP__URI": "amqp://bridge:hunter2@rabbit",
    "MINCHAT_BRIDGE__AMQP__URIS": "amqp://bridge@a,amqps://bridge:hunter2@b/vhost",
    "MINCHAT_BRIDGE__SOURCES__MINCHAT__AUTH__TOKENS": "hunter2",
    "MINCHAT_BRIDGE_TOKEN": "hunter2",
    "TOKENS": "hunter2",
    "GITHUB_TOKEN_2": "hunter2",
    "Password": "hunter2",
    "dbPassword": "hunter2",
    "PGPASSWORD": "hunter2",
    "KEYSTORE_PASSPHRASE": "hunter2",
    "RABBITMQ_DEFAULT_PASS": "hunter2",
    "DB_PWD": "hunter2",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
    "API_KEY": "hunter2",
    "APIKEY": "hunter2",
    "SIGNING_KEYS": "hunter2",
    "CREDENTIALS": "hunter2",
    "VAULT_SECRET_ID": "hunter2",
    "DATABASE_URL": "postgres://bridge:hunter2@db/x",
    "HOOK_URL": "https://hooks.example.com/webhooks/minchat?token=hunter2",
    "OPTIONS": 'username="bridge" password="hunter2";',
    "CERTIFICATE": "-----BEGIN EC PRIVATE KEY-----\nhunter2",
    "OTHER": "whsec_hunter2",
    "HEADERS": "Bearer hunter2",
    "SOURCE_PASSWORD": "{{ printf \"hunter%d\" 2 }}",
    "{{ upper \"password\" }}": "hunter2",
}

# What looks like it, and is none.
HARMLESS: dict[str, str] = {
    "MINCHAT_BRIDGE__KAFKA__SASL__PASSWORD_FILE": "/vault/password",
    "MINCHAT_BRIDGE__KAFKA__SASL__OAUTH__TOKEN_ENDPOINT": "https://login.example.com/token",
    "MINCHAT_BRIDGE__AMQP__URI": "amqp://bridge@rabbit:5672/vhost",
    "MINCHAT_BRIDGE__AMQP__PASSWORD": "$(RABBITMQ_PASSWORD)",
    "MINCHAT_BRIDGE__AMQP__URIS": "amqp://bridge:$(RABBITMQ_PASSWORD)@a",
    "MINCHAT_BRIDGE__KAFKA__TLS__KEY_FILE": "/vault/tls.key",
    "MINCHAT_BRIDGE__SPOOL__KEEP_FREE": "10%",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
    "GOOGLE_APPLICATION_CREDENTIALS": "/vault/google.json",
    "AWS_ACCESS_KEY_ID": "AKIA",
    "EMPTY_PASSWORD": "",
    "REQUIRE_TOKEN": "true",
    "TOKENIZER": "words",
    "MONKEY": "see",
    "PUBLIC_KEY": "ssh-ed25519 AAAA",
    "ROUTING_KEY": "message.sent",
    "HTTPS_PROXY": "http://proxy:3128",
    "TZ": "Europe/Berlin",
}

ARGUMENTS: dict[str, list[str]] = {
    "kafka.sasl.password": ["--set", "kafka.sasl.password=hunter2"],
    "amqp.password": ["--set=amqp.password=hunter2"],
    "kafka.sasl.oauth.client_secret": ["--set", "kafka.sasl.oauth.client_secret=hunter2"],
    "amqp.uri": ["--set", "log.level=debug", "--set", "amqp.uri=amqp://bridge:hunter2@rabbit"],
    "--token": ["--token=hunter2"],
}

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
    "config.kafka.properties.ssl.key.pem": {"kafka": {"properties": {"ssl.key.pem": "hunter2"}}},
    "config.kafka.properties.ssl.key.password": {"kafka": {"properties": {"ssl.key.password": "hunter2"}}},
    "config.kafka.properties.ssl.keystore.password": {"kafka": {"properties": {"ssl.keystore.password": "hunter2"}}},
    "config.kafka.properties.sasl.oauthbearer.client.secret": {
        "kafka": {"properties": {"sasl.oauthbearer.client.secret": "hunter2"}}
    },
    "config.kafka.properties.sasl.oauthbearer.assertion.private.key.passphrase": {
        "kafka": {"properties": {"sasl.oauthbearer.assertion.private.key.passphrase": "hunter2"}}
    },
    "config.kafka.properties.sasl.password": {"kafka": {"properties": {"sasl": {"password": "hunter2"}}}},
    "config.kafka.sasl.oauth.client_secret": {"kafka": {"sasl": {"oauth": {"client_secret": "hunter2"}}}},
    "config.sources.minchat.auth.standard_webhooks.secrets": {
        "sources": {"minchat": {"auth": {"standard_webhooks": {"secrets": ["whsec_hunter2"]}}}}
    },
    "config.sources.tokens.auth.tokens": {"sources": {"tokens": {"auth": {"tokens": {"a": "hunter2"}}}}},
    "The parameter in config.sources.minchat.uri": {"sources": {"minchat": {"uri": "/webhooks?token=hunter2"}}},
    "The private key in config.later.text": {"later": {"text": "-----BEGIN PRIVATE KEY-----\nhunter2"}},
    "The password in config.later.endpoint": {"later": {"endpoint": "https://u:hunter2@otel:4317"}},
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
    assert says in refused(values)


def refused(values: Object) -> str:
    """The one sentence that says why."""
    with pytest.raises(DoesNotRender) as error:
        render(merged(MINIMAL, values))
    assert str(error.value).count("\n  - ") == 1, "one fault, one sentence"
    return str(error.value)


@pytest.mark.parametrize(("image", "says"), IMAGES, ids=str)
def test_an_image_that_nobody_pushed_is_refused(image: Object, says: str) -> None:
    told = refused({"image": image})
    assert says in told
    assert "image.registry" in told
    spread = {"global": {"imageRegistry": image.get("registry", "registry.example.com")}}
    assert says in refused(merged({"image": image}, spread))


@pytest.mark.parametrize("name", VARIABLES)
def test_a_secret_in_a_variable_is_refused_and_not_shown(name: str) -> None:
    environment = [{"name": "TZ", "value": "UTC"}, {"name": name, "value": VARIABLES[name]}]
    told = refused({"extraEnv": environment})
    assert f"extraEnv sets {'PASSWORD' if '{{' in name else name} {PLAIN}" in told
    assert "valueFrom.secretKeyRef" in told
    assert "hunter2" not in told
    container = {"name": "more", "image": "registry.example.com/more:1", "env": environment}
    for part in ("extraContainers", "initContainers"):
        assert f"{part}[0].env sets " in refused({part: [container]})


def test_a_secret_that_one_variable_takes_from_another_is_refused() -> None:
    environment = [{"name": "FIRST", "value": "hunter2"}, {"name": "DB_PASSWORD", "value": "$(FIRST)"}]
    assert f"extraEnv sets DB_PASSWORD {PLAIN}" in refused({"extraEnv": environment})
    given = {"extraEnv": environment[:1], "extraArgs": ["--set", "amqp.password=$(FIRST)"]}
    assert f"extraArgs sets amqp.password {PLAIN}" in refused(given)


def test_what_only_looks_like_a_secret_is_taken() -> None:
    reference = {"name": "RABBITMQ_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "rabbit", "key": "password"}}}
    plain = [{"name": name, "value": value} for name, value in HARMLESS.items()]
    objects = render(merged(MINIMAL, {"extraEnv": [reference, *plain], "extraArgs": ["--set", "amqp.password_file=/x"]}))
    assert bridge(objects)["env"] == [reference, *plain]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_secret_in_an_argument_is_refused_and_not_shown(name: str) -> None:
    told = refused({"extraArgs": ARGUMENTS[name]})
    assert f"extraArgs sets {name} {PLAIN}" in told
    assert "hunter2" not in told


def test_every_secret_of_the_bridges_settings_is_known() -> None:
    readme = (PROJECT / "README.md").read_text()
    rows = re.findall(r"^\| `([^`]+)`( or `\w+_file`)? \| ([^|]*) \|", readme, re.MULTILINE)
    settings = {path: bool(file) for path, file, _ in rows if "." in path and not path.endswith(".*")}
    assert sum(settings.values()) >= 6 and len(settings) > 70
    for path, secret in settings.items():
        name = "MINCHAT_BRIDGE__" + path.upper().replace("*", "X").replace(".", "__")
        given = {"extraEnv": [{"name": name, "value": "x"}, {"name": f"{name}_FILE", "value": "/x"}]}
        if secret:
            assert f"extraEnv sets {name} {PLAIN}" in refused(given), path
        else:
            render(merged(MINIMAL, given))


@pytest.mark.parametrize("path", INLINE)
def test_a_secret_in_the_configuration_is_refused_and_not_shown(path: str) -> None:
    with pytest.raises(DoesNotRender) as error:
        render(merged(MINIMAL, {"config": INLINE[path]}))
    assert f"{path} is a secret, and would stand in a ConfigMap" in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("name", MISSPELT)
def test_what_is_misspelt_is_told_by_its_name(name: str) -> None:
    values, says = MISSPELT[name]
    with pytest.raises(DoesNotRender, match=says):
        render(merged(MINIMAL, values))


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(DoesNotRender) as error:
        render({"autoscaling": {"enabled": True}})
    assert str(error.value).count("\n  - ") == 4
