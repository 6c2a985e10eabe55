"""The Dockerfile and the compose file, as their own tools read them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from container import CONFIGURATION
from dockerfile import DOCKERFILE, PROJECT, command, environment, last, stages

COMPOSE = PROJECT / "deploy" / "compose.yaml"
TOOLS = Path(sys.executable).parent


def composed(*profiles: str) -> dict:
    options = [option for profile in profiles for option in ("--profile", profile)]
    told = subprocess.run(
        [TOOLS / "docker-compose", "--file", COMPOSE, *options, "config"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert "warn" not in told.stderr, told.stderr
    return yaml.safe_load(told.stdout)


def test_the_linter_has_nothing_to_say() -> None:
    assert subprocess.run([TOOLS / "hadolint", DOCKERFILE], check=False).returncode == 0


def test_the_image_runs_as_nobody_and_looks_after_its_health_by_itself() -> None:
    assert last("USER") == "65532:65532"
    assert command("ENTRYPOINT") == ["/usr/local/bin/minchat-bridge"]
    assert command("HEALTHCHECK") == [*command("ENTRYPOINT"), "healthcheck"]
    assert last("FROM").startswith("gcr.io/distroless/")
    assert environment()["SSL_CERT_FILE"] == "/etc/ssl/certs/ca-certificates.crt"


def test_the_image_says_what_it_is() -> None:
    labels = last("LABEL")
    for label in ("title", "description", "licenses", "version", "revision", "created"):
        assert f"org.opencontainers.image.{label}=" in labels


def test_dependencies_are_a_layer_of_their_own() -> None:
    build = [arguments for name, arguments in stages()[-2] if name in ("RUN", "COPY")]
    cook = next(index for index, step in enumerate(build) if step.startswith("cargo chef cook"))
    sources = build.index(". .")
    cargo = next(index for index, step in enumerate(build) if step.startswith("cargo build"))
    assert cook < sources < cargo
    for step in (build[cook], build[cargo]):
        assert "--release --locked --features ssl-vendored" in step


def test_the_context_has_all_that_is_built_from(tmp_path: Path) -> None:
    """Cargo reads its manifest in a tree of nothing but what .dockerignore lets in."""
    for kept in (PROJECT / "deploy/Dockerfile.dockerignore").read_text().splitlines():
        if kept.startswith("!"):
            what, where = PROJECT / kept[1:], tmp_path / kept[1:]
            where.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(what, where) if what.is_dir() else shutil.copy(what, where)
    read = ["cargo", "metadata", "--locked", "--no-deps", "--format-version=1", "--manifest-path", tmp_path / "Cargo.toml"]
    assert subprocess.run(read, check=False, capture_output=True, cwd=tmp_path).returncode == 0


def test_compose_has_its_profiles() -> None:
    assert set(composed()["services"]) == {"bridge", "kafka", "rabbitmq"}
    assert set(composed("demo")["services"]) == {"bridge", "kafka", "rabbitmq", "consumer", "sender"}
    assert {"prometheus", "grafana"} <= set(composed("monitoring")["services"])


def test_compose_opens_ports_on_this_machine_alone() -> None:
    for service in composed("*")["services"].values():
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1"


def test_all_that_compose_mounts_is_there() -> None:
    whole = composed("*")
    files = [one["file"] for part in ("configs", "secrets") for one in whole[part].values()]
    binds = [
        volume["source"]
        for service in whole["services"].values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]
    assert [path for path in files + binds if not Path(path).exists()] == []


def test_the_bridge_takes_its_configuration_of_compose(binary: Path, tmp_path: Path) -> None:
    whole = composed()
    text = Path(whole["configs"]["bridge"]["file"]).read_text()
    for name, secret in whole["secrets"].items():
        text = text.replace(f"/run/secrets/{name}", secret["file"])
    assert "/run/secrets" not in text
    (tmp_path / "bridge.yaml").write_text(text)
    checked = subprocess.run(
        [binary, "check", "--config", tmp_path / "bridge.yaml"], env={}, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "warning" not in checked.stderr


def test_compose_pulls_nothing_that_is_built_here() -> None:
    built = [service for service in composed("*")["services"].values() if "build" in service]
    assert len(built) == 2
    assert {service["pull_policy"] for service in built} == {"build"}


def test_the_health_check_of_compose_reads_what_the_bridge_reads() -> None:
    bridge = composed()["services"]["bridge"]
    (config,) = bridge["configs"]
    assert config["target"] == f"{CONFIGURATION}/config.yaml"
    assert not bridge.get("command") and "healthcheck" not in bridge, "both are the image's own"


@pytest.mark.parametrize("service", ["bridge", "sender"])
def test_what_compose_runs_of_the_image_is_a_command_of_it(service: str, binary: Path) -> None:
    arguments = composed("*")["services"][service].get("command") or command("CMD")
    # Parsing comes before anything else; help is asked for in place of doing it.
    asked = subprocess.run([binary, *arguments, "--help"], env={}, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
