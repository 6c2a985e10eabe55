"""Runs a command of the image as a container would: as its user, in its root, which is read-only but for its one volume."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from dockerfile import command, environment, last

# Mounts are the process's own, and gone with it. The volume is empty each time.
INSIDE = """
set -eu
root=$1 user=$2 volume=$3
shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t tmpfs -o "uid=${user%:*},gid=${user#*:},mode=0700" volume "$root$volume"
mount -t proc proc "$root/proc"
mount -o remount,ro,bind "$root"
exec chroot --userspec="$user" "$root" "$@"
"""


def line(root: Path, arguments: Sequence[str]) -> list[str]:
    """What to execute for the image's entry point with these arguments."""
    inside = ["sh", "-c", INSIDE, "container", str(root), last("USER"), last("WORKDIR")]
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", *inside, *command("ENTRYPOINT"), *arguments]


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line(root, arguments), env=variables(), capture_output=True, text=True, check=False, timeout=60
    )


def variables() -> dict[str, str]:
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"} | environment()
