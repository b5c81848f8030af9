from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_aws import LocalAws, Stack

HERE = Path(__file__).parent
BINARY = [sys.executable, str(HERE / "runtime_client.py")]


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as running:
        yield running


@pytest.fixture(scope="module")
def stack(aws: LocalAws) -> Stack:
    return aws.deploy(HERE / "small.yaml", name="small")


@pytest.fixture(autouse=True)
def _no_leftovers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Faults, records and clock do not reach from one test into the next."""
    yield
    if "aws" in request.fixturenames:
        running: LocalAws = request.getfixturevalue("aws")
        running.faults.clear()
        running.calls.clear()
        running.clock.reset()
        running.metrics.clear()
        running.notifications.duplicates = 0
