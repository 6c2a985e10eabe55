"""What the tests share."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from container import CONFIGURATION
from dockerfile import PROJECT, last

# The image's base has these of glibc and gcc, and no other library.
LIBRARIES = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "linux-vdso.so.1"}
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"


@pytest.fixture(scope="session")
def binary() -> Path:
    """The binary as the image has it."""
    path = Path(os.environ.get("MINCHAT_BRIDGE_BINARY", PROJECT / "target" / "image" / "debug" / "minchat-bridge"))
    assert path.is_file(), f"{path} is not there: run `make image-test`, which builds it"
    return path


@pytest.fixture(scope="session")
def linked(binary: Path) -> dict[str, Path | None]:
    """What ldd names, and where it is; the kernel's own library is nowhere."""
    said = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    found: dict[str, Path | None] = {}
    for line in said.splitlines():
        name, _, rest = line.strip().partition(" => ")
        path = (rest or name).split(" (")[0]
        found[Path(name.split(" (")[0]).name] = Path(path) if path.startswith("/") else None
    return found


@pytest.fixture(scope="session")
def root(binary: Path, linked: dict[str, Path | None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the binary, what it is linked with, and certificate authorities."""
    top = tmp_path_factory.mktemp("root")
    top.chmod(0o755)
    place(binary, top / "usr/local/bin/minchat-bridge")
    for path in linked.values():
        if path:
            place(path, top / str(path).lstrip("/"))
    place(Path("/") / AUTHORITIES, top / AUTHORITIES)
    # An engine mounts this one.
    (top / "etc/hosts").write_text("127.0.0.1 localhost\n")
    for empty in ("proc", last("WORKDIR").lstrip("/"), CONFIGURATION.lstrip("/")):
        (top / empty).mkdir(parents=True)
    return top


def place(what: Path, where: Path) -> None:
    where.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(what, where)
