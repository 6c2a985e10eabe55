"""Runs a command of the image as a container would: as its user, in its root, which is read-only but for its one volume, where it works."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dockerfile import command, environment, last

# Where a configuration is mounted, if there is one.
CONFIGURATION = "/etc/minchat-bridge"
# Of a container that has a network of its own, beside its loopback addresses.
ADDRESS = "192.0.2.2"

# Mounts are the process's own, and gone with it. The volume is empty each time.
INSIDE = f"""
set -eu
root=$1 user=$2 volume=$3 configuration=$4 address=$5
shift 5
if [ -n "$address" ]; then
    ip link set lo up
    ip address add "$address/32" dev lo
fi
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t tmpfs -o "uid=${{user%:*}},gid=${{user#*:}},mode=0700" volume "$root$volume"
mount -t proc proc "$root/proc"
if [ -n "$configuration" ]; then
    mount --bind "$configuration" "$root{CONFIGURATION}"
    mount -o remount,ro,bind "$root{CONFIGURATION}"
fi
mount -o remount,ro,bind "$root"
exec unshare --root="$root" --wd="$volume" --setgid="${{user#*:}}" --setuid="${{user%:*}}" "$@"
"""


def line(
    root: Path, arguments: Sequence[str], configuration: Path | None = None, own_network: bool = False
) -> list[str]:
    """What to execute for the image's entry point with these arguments."""
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *(["--net"] if own_network else [])]
    mounted = [str(root), last("USER"), last("WORKDIR"), str(configuration or ""), ADDRESS if own_network else ""]
    return [*apart, "sh", "-c", INSIDE, "container", *mounted, *command("ENTRYPOINT"), *arguments]


def inside(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes below the one that made the mounts: the image's own, if it runs."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in children.read_text().split()] if children.exists() else []


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends what runs inside, too: `--kill-child` does not reach a process that has taken another user since."""
    for child in inside(process):
        os.kill(child, signal.SIGKILL)
    process.kill()
    process.wait()


def run(
    root: Path, *arguments: str, configuration: Path | None = None, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return executed(line(root, arguments, configuration), more)


def executed(words: Sequence[str], more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    env = variables() | dict(more or {})
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=60)


def variables() -> dict[str, str]:
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"} | environment()
