"""A browser, where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dashboard import browser


@pytest.fixture(scope="package")
def tab() -> Iterator[browser.Page]:
    """A tab of a headless browser. Without one, what needs it is skipped, and says so."""
    if browser.find() is None:
        pytest.skip(browser.MISSING)
    with browser.running() as page:
        yield page
