"""A machine without a browser: what needs one is skipped there, unless that is not allowed."""

from __future__ import annotations

import pytest

from tests.dashboard import browser


@pytest.fixture(autouse=True)
def _none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.delenv(browser.WISH, raising=False)


def test_without_a_browser_its_tests_are_skipped_and_say_why() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"no browser .* apt-get install chromium"):
        browser.need()


def test_where_a_browser_is_required_they_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(browser.WISH, "required")
    with pytest.raises(pytest.fail.Exception, match=r"no browser .* DASHBOARD_BROWSER=required"):
        browser.need()
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    browser.need()


def test_another_wish_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(browser.WISH, "reqired")
    with pytest.raises(pytest.fail.Exception, match="expected required or nothing, found 'reqired'"):
        browser.need()
