"""The binary in a root of its own, as 65532, read-only: what the image is, without an engine that builds it."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import AUTHORITIES, LIBRARIES
from container import inside, kill, line, run, variables
from dockerfile import command, last

PATIENCE = 30.0
DATA = last("WORKDIR")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Serving:
    """The image's own command in its root, on ports that are free, by variables or by a configuration that is mounted."""

    def __init__(self, root: Path, directory: Path, admin: str = "127.0.0.1", by_file: bool = False) -> None:
        self.http, self.admin = free_port(), free_port()
        listen = {"http": f"127.0.0.1:{self.http}", "admin": f"{admin}:{self.admin}"}
        self.root, self.log = root, directory / "log"
        self.configuration, self.variables = None, {}
        if by_file:
            sections = [f"{name}: {{listen: '{address}'}}\n" for name, address in listen.items()]
            self.configuration = mountable(directory, "".join(sections) + "sources: {minchat: {auth: {none: true}}}\n")
        else:
            self.variables = {f"MINCHAT_BRIDGE__{name.upper()}__LISTEN": address for name, address in listen.items()}
        words, env = line(root, command("CMD"), self.configuration), variables() | self.variables
        with self.log.open("w") as out:
            self.process = subprocess.Popen(words, env=env, stdout=out, stderr=out)

    def health(self) -> subprocess.CompletedProcess[str]:
        """The image's own HEALTHCHECK, to the letter."""
        _, *check = command("HEALTHCHECK")
        return run(self.root, *check, configuration=self.configuration, more=self.variables)

    def wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while (asked := self.health()).returncode != 0:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, asked.stderr + self.log.read_text()
            time.sleep(0.05)

    def bridge(self) -> int:
        """The bridge's own process, below that which made its mounts."""
        (child,) = inside(self.process)
        return child


def mountable(directory: Path, text: str) -> Path:
    """A directory with this configuration that the image's user can read."""
    made = directory / "configuration"
    made.mkdir()
    made.chmod(0o755)
    (made / "config.yaml").write_text(text)
    return made


@contextlib.contextmanager
def ended(started: Serving) -> Iterator[Serving]:
    try:
        started.wait()
        yield started
    finally:
        kill(started.process)


@pytest.fixture
def serving(root: Path, tmp_path: Path) -> Iterator[Serving]:
    with ended(Serving(root, tmp_path)) as started:
        yield started


def files(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*")}


def test_it_is_linked_with_nothing_but_libc(linked: dict[str, Path | None]) -> None:
    assert set(linked) <= LIBRARIES


def test_it_tells_its_version(root: Path) -> None:
    said = run(root, "--version")
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("minchat-bridge ")


def test_it_serves_is_healthy_takes_webhooks_and_stops(root: Path, serving: Serving) -> None:
    before = files(root)
    posted = run(root, "emit", "--url", f"http://127.0.0.1:{serving.http}/webhooks/minchat")
    assert posted.returncode == 0, posted.stderr + posted.stdout
    status = Path(f"/proc/{serving.bridge()}/status").read_text()
    assert "Uid:\t65532\t65532\t65532\t65532" in status
    assert "Gid:\t65532\t65532\t65532\t65532" in status
    os.kill(serving.bridge(), signal.SIGTERM)
    assert serving.process.wait(timeout=PATIENCE) == 0, serving.log.read_text()
    assert files(root) == before, "all that it wrote is on the volume"


@pytest.mark.parametrize("admin", ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"])
@pytest.mark.parametrize("by_file", [False, True], ids=["by variables", "by its file"])
def test_its_health_check_asks_where_the_bridge_listens(admin: str, by_file: bool, root: Path, tmp_path: Path) -> None:
    with ended(Serving(root, tmp_path, admin, by_file)) as started:
        os.kill(started.bridge(), signal.SIGTERM)
        assert started.process.wait(timeout=PATIENCE) == 0, started.log.read_text()
        assert started.health().returncode == 69


def test_its_health_check_needs_no_more_than_the_address(root: Path, serving: Serving, tmp_path: Path) -> None:
    text = f"admin: {{listen: '127.0.0.1:{serving.admin}'}}\nsources: {{minchat: {{auth: {{tokens_file: /gone}}}}}}\n"
    asked = run(root, *command("HEALTHCHECK")[1:], configuration=mountable(tmp_path, text))
    assert asked.returncode == 0, asked.stderr


def test_its_health_check_fails_when_nothing_serves(root: Path) -> None:
    nobody = {"MINCHAT_BRIDGE__ADMIN__LISTEN": f"127.0.0.1:{free_port()}"}
    assert run(root, *command("HEALTHCHECK")[1:], more=nobody).returncode == 69


def test_its_root_is_read_only(root: Path, tmp_path: Path) -> None:
    ports = ["--set", f"http.listen=127.0.0.1:{free_port()}", "--set", f"admin.listen=127.0.0.1:{free_port()}"]
    refused = run(root, "serve", *ports, "--set", "file.dir=/events")
    assert refused.returncode not in (0, None)
    assert "Read-only file system" in refused.stdout + refused.stderr


def test_its_kafka_client_believes_the_authorities_of_the_image(root: Path, tmp_path: Path) -> None:
    """OpenSSL is within the binary, and knows authorities only where SSL_CERT_FILE says."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    make += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    subprocess.run(make, check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    assert not believes(root, server)
    authorities = root / AUTHORITIES
    before = authorities.read_bytes()
    authorities.write_bytes(before + certificate.read_bytes())
    try:
        assert believes(root, server)
    finally:
        authorities.write_bytes(before)


def believes(root: Path, server: ssl.SSLContext) -> bool:
    """Whether the Kafka client goes on to speak to a server of that certificate."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE)
        broker = f"kafka.bootstrap_servers=localhost:{listening.getsockname()[1]}"
        connect = ["check", "--connect", "--set", broker, "--set", "kafka.security_protocol=ssl"]
        with subprocess.Popen(line(root, connect), env=variables(), stdout=subprocess.DEVNULL) as client:
            try:
                connection, _ = listening.accept()
                connection.settimeout(PATIENCE)
                with server.wrap_socket(connection, server_side=True) as secured:
                    return len(secured.recv(1)) == 1
            except ssl.SSLError as refused:
                assert "UNKNOWN_CA" in str(refused)
                return False
            finally:
                kill(client)
