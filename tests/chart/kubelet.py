"""Does with a rendered pod what a node does, so far as the bridge sees it: volumes become files, variables are put together.

Paths in the pod become paths under a directory: the bridge is run as it is, on the machine that tests.
"""

import subprocess
import tempfile
from pathlib import Path

from charts import Object

TOKEN = "0123456789abcdef0123456789abcdef"


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], capture_output=True, check=True)


def certified(names: str = "DNS:test") -> tuple[str, str, str]:
    """An authority's certificate, one that it made out to these names, and that one's key."""
    with tempfile.TemporaryDirectory() as made:
        top = Path(made)
        config = "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n"
        (top / "config").write_text(config + f"[leaf]\nsubjectAltName={names}\n")
        new = ["-config", top / "config", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        own = ["-x509", "-days", "2", "-subj", "/CN=authority", "-extensions", "ca"]
        openssl("req", *new, *own, "-keyout", top / "ca.key", "-out", top / "ca.crt")
        openssl("req", *new, "-subj", "/CN=leaf", "-keyout", top / "tls.key", "-out", top / "csr")
        by = ["-CA", top / "ca.crt", "-CAkey", top / "ca.key", "-CAcreateserial", "-days", "2"]
        by += ["-extfile", top / "config", "-extensions", "leaf"]
        openssl("x509", "-req", "-in", top / "csr", *by, "-out", top / "tls.crt")
        return tuple((top / name).read_text() for name in ("ca.crt", "tls.crt", "tls.key"))


# What the machine that tests calls itself, and what the Service of the tests' release is called.
AUTHORITY, CERTIFICATE, KEY = certified("DNS:localhost,DNS:rel-minchat-bridge.ns,IP:127.0.0.1")
OTHER_AUTHORITY, *_ = certified()

# Secrets as those who make them fill them in: a person, Strimzi's user and cluster operators, RabbitMQ's cluster operator.
SECRETS: dict[str, dict[str, str]] = {
    "minchat-tokens": {"tokens": TOKEN, "bridge-tokens": f"{TOKEN}\n{TOKEN[::-1]}\n", "shop": TOKEN},
    "support-tokens": {"tokens": TOKEN},
    "minchat-bridge": {"password": "secret", "sasl.jaas.config": 'ScramLoginModule required username="minchat-bridge";'},
    "minchat-bridge-tls": {"ca.crt": AUTHORITY, "user.crt": CERTIFICATE, "user.key": KEY, "user.p12": "", "user.password": "x"},
    "my-cluster-cluster-ca-cert": {"ca.crt": AUTHORITY, "ca.p12": "", "ca.password": "x"},
    "rabbit-default-user": {
        "username": "default_user_Zz-9_",
        "password": "secret",
        "host": "rabbit.ns.svc",
        "port": "5673",
        "connection_string": "amqp://default_user_Zz-9_:secret@rabbit.ns.svc:5673/",
        "default_user.conf": "",
        "provider": "rabbitmq",
        "type": "rabbitmq",
    },
    "rabbit": {"password": "secret"},
    "rabbit-ca": {"ca.crt": AUTHORITY},
    # As cert-manager fills it in; and without the authority, with a chain up to it, and an authority by itself.
    "bridge-tls": {"ca.crt": AUTHORITY, "tls.crt": CERTIFICATE, "tls.key": KEY},
    "bridge-chain": {"tls.crt": CERTIFICATE + AUTHORITY, "tls.key": KEY},
    "company-ca": {"ca.crt": AUTHORITY, "other.crt": OTHER_AUTHORITY},
    "kafka": {"user": "bridge", "pw": "secret"},
    "more": {"a": "1", "b.txt": "2"},
}


class Node:
    """A directory that stands for a node's root."""

    def __init__(self, root: Path, objects: list[Object]) -> None:
        self.root = root
        self.config_maps = {one["metadata"]["name"]: one.get("data", {}) for one in objects if one["kind"] == "ConfigMap"}

    def mount(self, spec: Object, container: Object) -> None:
        """Lays the container's volumes out. A key that a Secret lacks is an error, as on a node."""
        volumes = {one["name"]: one for one in spec.get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            # Volumes by claim templates are in no list.
            volume = volumes.get(mount["name"], {})
            directory = self.path(mount["mountPath"])
            directory.mkdir(parents=True, exist_ok=True)
            for name, text in self._files(volume).items():
                file = directory / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)

    def _files(self, volume: Object) -> dict[str, str]:
        if "configMap" in volume:
            return {name: self.within(text) for name, text in self.config_maps[volume["configMap"]["name"]].items()}
        files: dict[str, str] = {}
        for source in volume.get("projected", {}).get("sources", []):
            secret = source["secret"]
            for item in secret["items"]:
                assert item["path"] not in files, f"two files for {item['path']}"
                files[item["path"]] = SECRETS[secret["name"]][item["key"]]
        return files

    def path(self, inside: str) -> Path:
        return self.root / inside.lstrip("/")

    def within(self, text: str) -> str:
        """The same with paths of the pod as paths of this machine."""
        for top in ("/etc/minchat-bridge", "/var/lib/minchat-bridge"):
            text = text.replace(top, str(self.path(top)))
        return text

    def arguments(self, container: Object) -> list[str]:
        return [self.within(argument) for argument in container["args"]]

    def environment(self, container: Object) -> dict[str, str]:
        """Nothing but the container's own, with $(NAME) filled in."""
        found: dict[str, str] = {}
        for variable in container.get("env", []):
            if "value" in variable:
                value = variable["value"]
                for name, other in found.items():
                    value = value.replace(f"$({name})", other)
                assert "$(" not in value, f"{variable['name']} is not complete: {value}"
            else:
                reference = variable["valueFrom"]["secretKeyRef"]
                value = SECRETS[reference["name"]][reference["key"]]
            found[variable["name"]] = value
        return found
