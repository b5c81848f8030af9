"""A browser, where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dashboard import browser


@pytest.fixture(scope="package")
def tab() -> Iterator[browser.Page]:
    """A tab of a headless browser."""
    browser.need()
    with browser.running() as page:
        yield page
