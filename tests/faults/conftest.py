"""One local AWS for all tests of faults, and the table of the fault matrix at the end of the output."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import aws, relay_binary

__all__ = ["TABLE", "aws", "relay_binary"]

TABLE = pytest.StashKey[str]()
"""The fault matrix as a table."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what every case came to."""
    if table := terminalreporter.config.stash.get(TABLE, None):
        terminalreporter.section("fault matrix")
        terminalreporter.write_line(table)
