"""Fixtures for tests with the real Locust."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hook.locusts import Bench, site


@pytest.fixture(scope="session")
def host() -> Iterator[str]:
    """Address of a small web site."""
    with site() as address:
        yield address


@pytest.fixture
def bench(tmp_path: Path, host: str) -> Iterator[Bench]:
    """Runs Locust processes in a folder of their own, and ends those that are left."""
    bench = Bench(tmp_path, host)
    yield bench
    bench.end_all()
