"""Does with a rendered pod what a node does, so far as the bridge sees it: volumes become files, variables are put together.

Paths in the pod become paths under a directory: the bridge is run as it is, on the machine that tests.
"""

import subprocess
from pathlib import Path

from charts import Object

TOKEN = "4f1c09d2b7a85e63f0d9187c2ab4e536"


def certified() -> tuple[str, str]:
    """A certificate of its own authority, and its key."""
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=test -days 2 -keyout - -out -"
    both = subprocess.run(made.split(), capture_output=True, text=True, check=True).stdout
    end = "-----END PRIVATE KEY-----\n"
    key, certificate = both.split(end)
    return certificate, key + end


CERTIFICATE, KEY = certified()

# Secrets as those who make them fill them in: a person, Strimzi's user and cluster operators, RabbitMQ's cluster operator.
SECRETS: dict[str, dict[str, str]] = {
    "minchat-tokens": {"tokens": TOKEN, "bridge-tokens": f"{TOKEN}\n{TOKEN[::-1]}\n", "shop": TOKEN},
    "support-tokens": {"tokens": TOKEN},
    "minchat-bridge": {"password": "secret", "sasl.jaas.config": 'ScramLoginModule required username="minchat-bridge";'},
    "minchat-bridge-tls": {"ca.crt": CERTIFICATE, "user.crt": CERTIFICATE, "user.key": KEY, "user.p12": "", "user.password": "x"},
    "my-cluster-cluster-ca-cert": {"ca.crt": CERTIFICATE, "ca.p12": "", "ca.password": "x"},
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
    "rabbit-ca": {"ca.crt": CERTIFICATE},
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
