"""Fixtures for tests with the real Locust."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.sidecar.bench", "tests.sidecar.reader")

from tests.hook.locusts import site  # noqa: E402
from tests.sidecar.bench import SidecarBench  # noqa: E402


@pytest.fixture(scope="session")
def host() -> Iterator[str]:
    """Address of a small web site."""
    with site() as address:
        yield address


@pytest.fixture
def bench(tmp_path: Path, host: str) -> Iterator[SidecarBench]:
    """Runs Locusts and sidecars in a folder of their own, and ends those that are left."""
    bench = SidecarBench(tmp_path, host)
    yield bench
    bench.end_all()
