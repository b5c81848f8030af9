"""The page while a test runs: who may read it, what it asks for, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from local_aws.dashboard.body import BodyError
from local_aws.dashboard.live import Live
from tests.dashboard.browser import Page
from tests.dashboard.test_page import graph, series, snapshot


class Test:
    """What a running test has: data that grow with each question."""

    __test__ = False

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    def take(self, selection: Mapping[str, str]) -> dict[str, Any]:
        if selection.get("t") == "wrong":
            raise BodyError("no such test")
        self.asked.append(dict(selection))
        return snapshot(graph("Users", series("users", *range(len(self.asked) + 1)), view="singleValue"))


@pytest.fixture
def running() -> Test:
    return Test()


@pytest.fixture
def live(running: Test) -> Iterator[Live]:
    with Live(running.take).running() as live:
        yield live


def get(live: Live, path: str, **headers: str) -> tuple[int, str]:
    try:
        request = Request(live.url + path, headers=headers)  # noqa: S310  # a loopback address
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_the_page_is_there_with_the_data_of_now(live: Live, running: Test) -> None:
    status, html = get(live, "")
    assert status == 200
    assert '"live":true' in html
    assert running.asked == [{}]


def test_data_are_those_of_the_selection(live: Live, running: Test) -> None:
    status, text = get(live, "data?t=shop&p=")
    assert (status, json.loads(text)["live"]) == (200, True)
    assert running.asked == [{"t": "shop"}]


def test_what_fails_is_said(live: Live) -> None:
    assert get(live, "data?t=wrong") == (503, '{"message": "no such test"}')


def test_other_sites_and_other_paths_get_nothing(live: Live, running: Test) -> None:
    assert get(live, "", Host="evil.example")[0] == 403
    assert get(live, "data/../../etc/passwd")[0] == 404
    assert get(live, "data?" + "x" * 10_000)[0] == 404
    assert running.asked == []


def test_the_end_waits_for_an_open_page_which_then_needs_the_server_no_more(running: Test, tab: Page) -> None:
    tab.resize(1000, 700)
    with Live(running.take).running() as live:
        tab.open(live.url)
        tab.until("document.getElementById('state').textContent === '● Live'")
        first = tab.widgets()[0]["text"]
        tab.until(f"document.querySelector('main').innerText !== {json.dumps(first)}")
        live.finish(
            snapshot(graph("Users", series("users", 77), view="singleValue")), "Ended. It is in a file"
        )
    tab.until("document.getElementById('state').textContent === 'Ended. It is in a file'")
    assert "77" in tab.widgets()[0]["text"]
    assert tab.run("document.querySelectorAll('option').length") == 2
    assert tab.problems == []
    assert {url.split("?")[0] for url in tab.requests if url != "data:,"} == {live.url, f"{live.url}data"}


def test_a_page_that_loses_the_server_says_so(running: Test, tab: Page) -> None:
    with Live(running.take).running() as live:
        tab.open(live.url)
    tab.until("document.getElementById('state').textContent.startsWith('No news: ')")
    assert tab.widgets()[0]["marks"] == 1


def test_nobody_is_waited_for_when_no_page_is_open(live: Live) -> None:
    live.finish(snapshot(graph("Users", series("users", 1))), "Ended")
    assert json.loads(get(live, "data")[1])["ended"] == "Ended"
    assert '"live":false' in get(live, "")[1]
