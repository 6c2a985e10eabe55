"""Secrets: never made here, mounted as files, named in the configuration."""

import stat
from pathlib import Path

import pytest

from charts import Object, bridge, config, kinds, merged, pod, render
from conftest import MINIMAL, SETS
from kubelet import SECRETS, Node

DIRECTORY = "/etc/minchat-bridge/secrets"


def mounted(objects: list[Object]) -> dict[str, tuple[str, str]]:
    """Which key of which Secret is at which path."""
    found = {}
    for volume in pod(objects)["volumes"]:
        for source in volume.get("projected", {}).get("sources", []):
            for item in source["secret"]["items"]:
                found[item["path"]] = (source["secret"]["name"], item["key"])
    return found


def test_the_chart_makes_no_secret(values: Object) -> None:
    assert "Secret" not in kinds(render(values))


def test_files_are_for_the_bridge_alone() -> None:
    volume = next(one for one in pod(render(MINIMAL))["volumes"] if one["name"] == "secrets")
    mode = volume["projected"]["defaultMode"]
    assert mode == stat.S_IRUSR | stat.S_IRGRP
    assert {"name": "secrets", "mountPath": DIRECTORY, "readOnly": True} in bridge(render(MINIMAL))["volumeMounts"]


def test_passwords_are_in_no_variable(values: Object) -> None:
    for variable in bridge(render(values)).get("env", []):
        key = variable.get("valueFrom", {}).get("secretKeyRef", {}).get("key", "")
        assert key not in ("password", "pw", "connection_string", "sasl.jaas.config")


def test_tokens_are_a_file() -> None:
    objects = render(MINIMAL)
    assert mounted(objects) == {"tokens/minchat": ("minchat-tokens", "tokens")}
    assert config(objects)["sources"]["minchat"]["auth"] == {"tokens_file": f"{DIRECTORY}/tokens/minchat"}


def test_each_source_can_have_tokens_of_its_own() -> None:
    found = mounted(render(SETS["both-brokers"]))
    assert found["tokens/shop"] == ("minchat-tokens", "shop")
    assert found["tokens/support"] == ("support-tokens", "tokens")


def test_a_token_is_never_added_to_a_source_that_asks_for_a_signature() -> None:
    signed = {"config": {"sources": {"signed": {"auth": {"hmac": {"secrets_file": "/x", "header": "x-signature"}}}}}}
    objects = render(merged(MINIMAL, signed))
    assert "tokens_file" not in config(objects)["sources"]["signed"]["auth"]
    assert set(mounted(objects)) == {"tokens/minchat"}


def test_the_secret_of_strimzis_user_fits_as_it_is() -> None:
    objects = render(SETS["strimzi-scram"])
    kafka = config(objects)["kafka"]
    assert kafka["sasl"]["password_file"] == f"{DIRECTORY}/kafka/password"
    assert kafka["tls"] == {"ca_file": f"{DIRECTORY}/kafka/ca.crt"}
    assert mounted(objects)["kafka/password"] == ("minchat-bridge", "password")
    assert mounted(objects)["kafka/ca.crt"] == ("my-cluster-cluster-ca-cert", "ca.crt")


def test_the_certificate_of_strimzis_user_fits_as_it_is() -> None:
    objects = render(SETS["strimzi-tls"])
    files = {"cert_file": "tls.crt", "key_file": "tls.key", "ca_file": "ca.crt"}
    expected = {setting: f"{DIRECTORY}/kafka/{name}" for setting, name in files.items()}
    assert config(objects)["kafka"]["tls"] == expected
    assert mounted(objects)["kafka/tls.crt"] == ("minchat-bridge-tls", "user.crt")
    assert mounted(objects)["kafka/tls.key"] == ("minchat-bridge-tls", "user.key")


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("rabbitmq-operator", "amqp://default_user_Zz-9_@rabbit.ns.svc:5673"),
        ("rabbitmq-tls", "amqps://default_user_Zz-9_@rabbit.messaging:5671/prod"),
    ],
)
def test_the_secret_of_rabbitmqs_operator_fits_as_it_is(name: str, uri: str, tmp_path: Path) -> None:
    objects = render(SETS[name])
    environment = Node(tmp_path, objects).environment(bridge(objects))
    assert environment["MINCHAT_BRIDGE__AMQP__URI"] == uri
    assert config(objects)["amqp"]["password_file"] == f"{DIRECTORY}/amqp/password"
    assert SECRETS["rabbit-default-user"]["password"] not in environment.values()


def test_a_user_in_the_uri_is_left_alone() -> None:
    objects = render(SETS["both-brokers"])
    assert "env" not in bridge(objects)
    assert mounted(objects)["amqp/password"] == ("rabbit", "password")


def test_keys_can_have_names_of_ones_own() -> None:
    objects = render(SETS["everything"])
    assert mounted(objects)["kafka/password"] == ("kafka", "pw")
    names = {one["name"]: one for one in bridge(objects)["env"]}
    reference = names["MINCHAT_BRIDGE__KAFKA__SASL__USERNAME"]["valueFrom"]["secretKeyRef"]
    assert reference == {"name": "kafka", "key": "user"}


def test_any_other_secret_can_be_mounted() -> None:
    found = mounted(render(SETS["everything"]))
    assert found["more/a"] == ("more", "a")
    assert found["more/b.txt"] == ("more", "b.txt")


def test_a_file_of_ones_own_is_left_alone() -> None:
    own = {"config": {"sources": {"minchat": {"auth": {"tokens_file": "/vault/tokens"}}}}}
    objects = render(merged(MINIMAL, own))
    assert config(objects)["sources"]["minchat"]["auth"] == {"tokens_file": "/vault/tokens"}
    assert mounted(objects) == {}
