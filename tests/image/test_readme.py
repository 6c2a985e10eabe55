"""The README's `docker run`, without an engine: its block is run with `docker` and `curl` noted down, and what they were given is done."""

import json
import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from container import ADDRESS, CONFIGURATION, executed, inside, kill, line, variables
from dockerfile import PROJECT, command, last

PATIENCE = 30.0
FLAGS = {"--detach", "--read-only"}
# Functions in place of the commands, which write down each argument.
NOTED = """
noted() { local name=$1; shift; printf '%s\\0' "$@" > "$name.noted"; }
docker() { noted docker "$@"; }
curl() { noted curl "$@"; }
"""


class Block:
    """The block, run in a directory, and what it would have done."""

    def __init__(self, directory: Path) -> None:
        readme = (PROJECT / "README.md").read_text()
        (block,) = [found for found in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL) if "docker run" in found]
        (directory / "src").symlink_to(PROJECT / "src")
        subprocess.run(["bash", "-euc", NOTED + block], cwd=directory, check=True)
        run, self.curl = (
            (directory / f"{name}.noted").read_text().removesuffix("\0").split("\0") for name in ("docker", "curl")
        )
        assert run.pop(0) == "run"
        self.flags: set[str] = set()
        self.options: dict[str, list[str]] = {}
        while run[0].startswith("--"):
            if (option := run.pop(0)) in FLAGS:
                self.flags.add(option)
            else:
                self.options.setdefault(option, []).append(run.pop(0))
        self.image, *self.arguments = run


@pytest.fixture
def block(tmp_path: Path) -> Block:
    directory = tmp_path / "there"
    directory.mkdir()
    directory.chmod(0o755)
    return Block(directory)


def test_it_runs_the_image_that_make_builds_and_pulls_no_other(block: Block) -> None:
    makefile = (PROJECT / "Makefile").read_text()
    assert f"\nIMAGE ?= {block.image}\n" in makefile
    assert block.options["--pull"] == ["never"]
    assert set(block.options) == {"--name", "--pull", "--publish", "--volume"}, "the tests know no other"
    assert not block.arguments, "the image's own command"


def test_a_webhook_comes_in_by_the_published_port_with_the_token(block: Block, root: Path, tmp_path: Path) -> None:
    mounts = [volume.split(":") for volume in block.options["--volume"]]
    ((configuration, *where), (_, data)) = mounts
    assert where == [CONFIGURATION, "ro"] and data == last("WORKDIR") and "--read-only" in block.flags
    ((host, port, within),) = [published.split(":") for published in block.options["--publish"]]
    words = line(root, command("CMD"), Path(configuration), own_network=True)
    log = tmp_path / "log"
    with log.open("w") as out:
        container = subprocess.Popen(words, env=variables(), stdout=out, stderr=out)
    beside = ["nsenter", f"--net=/proc/{container.pid}/ns/net"]
    health = [*beside, *line(root, command("HEALTHCHECK")[1:], Path(configuration))]
    try:
        deadline = time.monotonic() + PATIENCE
        while executed(health).returncode != 0:
            assert container.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        # What an engine forwards comes to the container's own address, and not to its loopback.
        forwarded = ["--connect-to", f"{host}:{port}:{ADDRESS}:{within}", "--fail-with-body"]
        there = tmp_path / "there"
        posted = subprocess.run([*beside, "curl", *forwarded, *block.curl], cwd=there, capture_output=True, text=True)
        assert posted.returncode == 0, f"{shlex.join(block.curl)}: {posted.stdout}{posted.stderr}{log.read_text()}"
        answer = json.loads(posted.stdout)
        assert answer["receipt"] == "published"
        (bridge,) = inside(container)
        kept = Path(f"/proc/{bridge}/root{data}/data/events/minchat.message.sent.v1.ndjson")
        assert json.loads(kept.read_text())["id"] == answer["id"], "it is on the volume"
        nobody = [word if not word.startswith("Authorization: ") else "x: y" for word in block.curl]
        assert nobody != block.curl
        refused = subprocess.run([*beside, "curl", *forwarded, *nobody], cwd=there, capture_output=True, text=True)
        assert json.loads(refused.stdout)["status"] == 401
    finally:
        kill(container)
