"""The rendered pods, run: the bridge with its arguments, files and variables, its probes, and the pod of `helm test` against it."""

import contextlib
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from charts import Object, bridge, kinds, merged, only, pod, render
from conftest import MINIMAL, SETS
from kubelet import Node

# Files in place of a broker, and a token, on ports of this machine that are free.
VALUES: Object = merged(
    SETS["file"],
    {"config": {"sources": {"minchat": {"auth": None}}}, "secrets": {"tokens": {"existingSecret": "minchat-tokens"}}},
)
# The same with TLS, by a certificate in a Secret of that name.
def speaking_tls(secret: str, keys: list[str], more: Object) -> Object:
    files = {f"{part}_file": f"/etc/minchat-bridge/secrets/http/tls.{end}" for part, end in (("cert", "crt"), ("key", "key"))}
    mounted = [{"name": "http", "existingSecret": secret, "keys": ["tls.crt", "tls.key", *keys]}]
    return merged(VALUES, {"config": {"http": {"tls": files}}, "secrets": {"extra": mounted}}, more)


COMPANY: Object = {"tests": {"ca": {"existingSecret": "company-ca"}}}
PATIENCE = 30.0


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Running:
    """A bridge out of its pod."""

    def __init__(self, binary: Path, root: Path, objects: list[Object]) -> None:
        self.binary, self.objects = binary, objects
        self.http, self.admin = free_ports(2)
        self.node = Node(root, objects)
        self.container = bridge(objects)
        self.node.mount(pod(objects), self.container)
        where = {
            "MINCHAT_BRIDGE__HTTP__LISTEN": f"127.0.0.1:{self.http}",
            "MINCHAT_BRIDGE__ADMIN__LISTEN": f"127.0.0.1:{self.admin}",
        }
        environment = self.node.environment(self.container) | where
        self.log = root / "log"
        with self.log.open("w") as log:
            command = [binary, *self.node.arguments(self.container)]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def probe(self, name: str) -> int:
        asked = self.container[name]["httpGet"]
        port = {"admin": self.admin, "http": self.http}[asked["port"]]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{asked['path']}", timeout=3) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def wait_until(self, name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.probe(name) != 200:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"{name} after {PATIENCE} s: {self.log.read_text()}"
            time.sleep(0.05)

    def helm_test(self) -> subprocess.CompletedProcess[str]:
        """What the pod of `helm test` does."""
        spec = only(self.objects, "Pod")["spec"]
        (container,) = spec["containers"]
        self.node.mount(spec, container)
        there = re.compile("(https?)://rel-minchat-bridge.ns:80/")
        arguments = self.node.arguments(container)
        assert any(there.match(argument) for argument in arguments)
        arguments = [there.sub(rf"\1://localhost:{self.http}/", argument) for argument in arguments]
        return subprocess.run([self.binary, *arguments], env={}, capture_output=True, text=True, check=False, timeout=60)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=pod(self.objects)["terminationGracePeriodSeconds"])


@pytest.fixture
def running(binary: Path, tmp_path: Path) -> Iterator[Running]:
    bridge_of_pod = Running(binary, tmp_path, render(VALUES))
    try:
        yield bridge_of_pod
    finally:
        if bridge_of_pod.process.poll() is None:
            bridge_of_pod.process.kill()
            bridge_of_pod.process.wait()


def test_the_pod_becomes_ready_passes_its_test_and_stops_in_time(running: Running) -> None:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        running.wait_until(probe)
    tested = running.helm_test()
    assert tested.returncode == 0, tested.stderr + tested.stdout
    events = list(running.node.path("/var/lib/minchat-bridge/events").glob("*.ndjson"))
    assert all(file.stat().st_size == 0 for file in events), "a dry run publishes nothing"
    assert running.stop() == 0, running.log.read_text()


def test_the_pods_test_fails_with_another_token(running: Running) -> None:
    running.wait_until("readinessProbe")
    for file in running.node.path("/etc/minchat-bridge/secrets/tokens").iterdir():
        file.write_text("another-token-that-nobody-knows\n")
    spec = only(running.objects, "Pod")["spec"]
    arguments = running.node.arguments(spec["containers"][0])
    where = arguments.index("--url") + 1
    arguments[where] = f"http://127.0.0.1:{running.http}/webhooks/minchat"
    tested = subprocess.run([running.binary, *arguments], env={}, capture_output=True, check=False, timeout=60)
    assert tested.returncode == 78


@pytest.mark.parametrize(
    ("secret", "keys", "more", "passes"),
    [
        ("bridge-tls", ["ca.crt"], {}, True),
        ("bridge-chain", [], {}, True),
        ("bridge-tls", [], COMPANY, True),
        ("bridge-tls", [], {}, False),
        ("bridge-tls", ["ca.crt"], merged(COMPANY, {"tests": {"ca": {"key": "other.crt"}}}), False),
    ],
)
def test_the_pods_test_speaks_tls_with_whom_it_is_told_to_trust(
    secret: str, keys: list[str], more: Object, passes: bool, binary: Path, tmp_path: Path
) -> None:
    speaking = Running(binary, tmp_path, render(speaking_tls(secret, keys, more)))
    try:
        speaking.wait_until("readinessProbe")
        tested = speaking.helm_test()
        assert (tested.returncode == 0) is passes, tested.stderr + tested.stdout
        assert passes or "is of no authority that is trusted" in tested.stdout
    finally:
        speaking.process.kill()
        speaking.process.wait()


def test_the_test_can_post_to_the_name_that_the_certificate_is_made_out_to() -> None:
    elsewhere = {"tests": {"url": "https://hooks.example.com/"}}
    spec = only(render(speaking_tls("bridge-tls", [], elsewhere)), "Pod")["spec"]
    (container,) = spec["containers"]
    assert "https://hooks.example.com/webhooks/minchat" in container["args"]
    assert "--ca-file" not in container["args"], "the public authorities are in the image"
    spec = only(render(speaking_tls("bridge-tls", [], merged(elsewhere, COMPANY))), "Pod")["spec"]
    assert "--ca-file" in spec["containers"][0]["args"]


def test_a_source_that_is_open_is_tested_by_tls_too() -> None:
    everybody = {"config": {"sources": {"minchat": {"auth": {"none": True}}}}, "secrets": {"tokens": {"existingSecret": ""}}}
    spec = only(render(speaking_tls("bridge-tls", ["ca.crt"], everybody)), "Pod")["spec"]
    (container,) = spec["containers"]
    assert "--token-file" not in container["args"]
    mounted = [item["path"] for source in spec["volumes"][0]["projected"]["sources"] for item in source["secret"]["items"]]
    assert mounted == ["test/ca.crt"]
    assert container["args"][-1] == "/etc/minchat-bridge/secrets/test/ca.crt"


def test_the_test_is_a_hook_that_leaves_nothing_behind() -> None:
    annotations = only(render(MINIMAL), "Pod")["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "test"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    assert only(render(MINIMAL), "Pod")["spec"]["restartPolicy"] == "Never"


def test_the_test_posts_to_every_source_that_it_has_a_token_of() -> None:
    containers = only(render(SETS["both-brokers"]), "Pod")["spec"]["containers"]
    assert [one["name"] for one in containers] == ["shop", "support"]
    open_to_all = only(render(SETS["file"]), "Pod")["spec"]["containers"]
    assert "--token-file" not in open_to_all[0]["args"]


def test_there_can_be_no_test() -> None:
    assert "Pod" not in kinds(render(merged(MINIMAL, {"tests": {"enabled": False}})))
    signed = {"config": {"sources": {"minchat": {"auth": {"hmac": {"secrets_file": "/x", "header": "y"}}}}}}
    assert "Pod" not in kinds(render(merged(MINIMAL, signed))), "it can't sign"
