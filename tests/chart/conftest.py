"""What the tests share."""

import os
from pathlib import Path

import pytest

from charts import PROJECT, Object, value_sets

MINIMAL: Object = {
    "image": {"registry": "registry.example.com/team"},
    "config": {"kafka": {"bootstrap_servers": "kafka:9092"}},
    "secrets": {"tokens": {"existingSecret": "minchat-tokens"}},
}

SETS = value_sets()


@pytest.fixture(params=SETS, scope="session")
def values(request: pytest.FixtureRequest) -> Object:
    """Each of the sets of values in turn."""
    return SETS[request.param]


@pytest.fixture(scope="session")
def binary() -> Path:
    """The bridge that the chart is for."""
    path = Path(os.environ.get("MINCHAT_BRIDGE_BINARY", PROJECT / "target" / "debug" / "minchat-bridge"))
    assert path.is_file(), f"{path} is not there: build it first, or run `make chart-test`"
    return path
