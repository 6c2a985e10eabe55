"""docs/kubernetes.md and the READMEs: their values and their helm commands."""

import re
import shlex
import subprocess
from pathlib import Path

import helm_python
import pytest
import yaml

from charts import CHART, PROJECT, Object, bridge, merged, pod, render
from kubelet import Node

GUIDE = (PROJECT / "docs" / "kubernetes.md").read_text()
README = (CHART / "README.md").read_text()
FRONT = (PROJECT / "README.md").read_text()
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    return [body for _, found, body in BLOCK.findall(text) if found == language]


def values_of_guide() -> dict[str, Object]:
    """Blocks that begin with `# values: NAME`."""
    found = {}
    for block in blocks(GUIDE, "yaml"):
        if named := re.match(r"# values: (\S+)\n", block):
            found[named[1]] = yaml.safe_load(block)
    return found


def commands(text: str) -> list[list[str]]:
    """The helm commands that render this chart."""
    lines = [line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line) for line in lines if re.match(r" *helm (install|upgrade) ", line)]
    return [command for command in words if "./helm/minchat-bridge" in command]


def given(command: list[str]) -> Object:
    """The values of a command."""
    values: Object = {}
    for option, argument in zip(command, command[1:]):
        if option == "--values":
            values = merged(values, values_of_guide()[argument])
        elif option == "--set":
            values = merged(values, helm_python.parse_set_string(argument))
    return values


COMMANDS = commands(GUIDE) + commands(README) + commands(FRONT)


def test_the_guide_and_the_readmes_have_commands() -> None:
    assert len(commands(GUIDE)) >= 5
    assert len(commands(README)) == len(commands(FRONT)) == 1


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_gives_what_the_bridge_accepts(command: list[str], binary: Path, tmp_path: Path) -> None:
    release, namespace = command[2], "default"
    if "--namespace" in command:
        namespace = command[command.index("--namespace") + 1]
    objects = render(given(command), release=release, namespace=namespace)
    node, container = Node(tmp_path, objects), bridge(objects)
    node.mount(pod(objects), container)
    checked = [binary, "check", *node.arguments(container)[1:]]
    ran = subprocess.run(checked, env=node.environment(container), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_every_values_block_is_used() -> None:
    assert set(values_of_guide()) == {word for command in COMMANDS for word in command if word.endswith(".yaml")}


def test_names_in_the_guide_are_those_of_the_objects() -> None:
    objects = render(given(commands(GUIDE)[0]), release="bridge", namespace="kafka")
    names = {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in objects}
    assert set(re.findall(r"statefulset/[\w-]+", GUIDE)) <= names
    pods = set(re.findall(r"\b(bridge-minchat-bridge)-\d\b", GUIDE))
    assert {f"statefulset/{name}" for name in pods} <= names and pods


def test_what_the_guide_runs_in_a_pod_is_a_command_with_files_that_are_there(binary: Path, tmp_path: Path) -> None:
    objects = render(given(commands(GUIDE)[0]), release="bridge", namespace="kafka")
    node = Node(tmp_path, objects)
    node.mount(pod(objects), bridge(objects))
    executed = re.findall(r"kubectl exec [^\n]* -- /usr/local/bin/minchat-bridge (.*?)\n```", GUIDE, re.DOTALL)
    assert len(executed) == 2
    for command in executed:
        arguments = shlex.split(node.within(command.replace("\\\n", " ")))
        files = [Path(value) for option, value in zip(arguments, arguments[1:]) if option in ("--token-file", "--config")]
        assert files and all(file.read_text() for file in files), command
        assert subprocess.run([binary, *arguments, "--help"], check=False, capture_output=True).returncode == 0


def test_other_yaml_of_the_guide_is_yaml() -> None:
    for block in blocks(GUIDE, "yaml"):
        assert all(isinstance(document, dict) for document in yaml.safe_load_all(block))


def test_links_of_the_guide_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", GUIDE):
        assert (PROJECT / "docs" / target).exists(), target
