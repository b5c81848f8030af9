"""The dashboard that the template deploys, in a browser, while the demo runs and when it has ended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.dashboard import browser
from tests.dashboard.browser import Page

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "target" / "demo" / "dashboard.png"
START_SECONDS = 60
"""How long the demo may take until it opens the browser."""
DESKTOP, PHONE = 1440, 390
LEAST_CONTROL = 24
"""CSS pixels. https://www.w3.org/TR/WCAG22/#target-size-minimum"""

pytestmark = pytest.mark.timeout(300)


@dataclass
class Demo:
    """A run of the demo that has ended: its page as a file, and the tab that was open all the time."""

    file: Path
    tab: Page
    was_live: bool
    output: str

    @property
    def first_contents(self) -> list[dict[str, Any]]:
        """What each widget shows under the first selection, as the file has it."""
        match = re.search(r'<script type="application/json" id="data">(.*?)</script>', self.file.read_text())
        assert match
        data = json.loads(match[1])
        return [data["contents"][number] for number in data["selections"][0]["contents"]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, relay_binary: Path) -> Iterator[Demo]:
    """Runs the demo as `make demo OPEN=1` does, with a browser that is told what to open."""
    browser.need()
    folder = tmp_path_factory.mktemp("demo")
    told = folder / "told"
    command = folder / "browser"
    command.write_text(f'#!/bin/sh\nprintf %s "$1" > "{told}.part" && mv "{told}.part" "{told}"\n')
    command.chmod(0o755)
    options = ["--run-time", "8", "--users", "40", "--flush-seconds", "1", "--open"]
    places = ["--output", str(folder), "--relay", str(relay_binary)]
    with (
        browser.running() as tab,
        open(folder / "output", "w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "examples.demo", *options, *places],
            cwd=ROOT,
            env={**os.environ, "BROWSER": f"{command} %s"},
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            limit = time.monotonic() + START_SECONDS
            while not told.exists():
                assert process.poll() is None, (folder / "output").read_text()
                assert time.monotonic() < limit, f"the browser was not opened in {START_SECONDS} s"
                time.sleep(0.05)
            tab.resize(DESKTOP, 900)
            tab.prefer("light")
            tab.open(told.read_text())
            was_live = "● Live" in tab.run("document.getElementById('state').textContent")
            process.wait(timeout=120)
        finally:
            process.terminate()
        text = (folder / "output").read_text()
        assert process.returncode == 0, text
        yield Demo(folder / "dashboard.html", tab, was_live, text)


def assert_shows_everything(demo: Demo) -> None:
    """Every widget shows data: drawn lines and dots, numbers, rows, as many as there are."""
    expected = []
    for content in demo.first_contents:
        marks = {"timeSeries": "series", "singleValue": "series", "logTable": "rows"}.get(content["view"])
        expected.append((content["title"], "data", len(content[marks]) if marks else 1))
    widgets = demo.tab.widgets()
    assert {(widget["title"], widget["state"], widget["marks"]) for widget in widgets} == set(expected)
    assert len(widgets) == len(expected) > 20
    assert all(widget["marks"] for widget in widgets), [w["title"] for w in widgets if not w["marks"]]


def test_the_page_that_was_open_shows_the_whole_test_when_it_has_ended(demo: Demo) -> None:
    assert demo.was_live
    demo.tab.until("document.getElementById('state').textContent.startsWith('Ended. This page is in ')")
    assert_shows_everything(demo)
    assert demo.tab.problems == []
    assert {re.sub(r"^http://127\.0\.0\.1:\d+/(data\?.*)?$", "own", url) for url in demo.tab.requests} <= {
        "own",
        "data:,",
    }


def test_the_file_shows_every_widget_and_needs_nothing_else(demo: Demo) -> None:
    assert f"The dashboard is in {os.path.relpath(demo.file, ROOT)}." in demo.output
    demo.tab.resize(DESKTOP, 900)
    demo.tab.open(demo.file.as_uri())
    assert_shows_everything(demo)
    assert demo.tab.problems == []
    assert [url for url in demo.tab.requests if not url.startswith(("file:", "data:"))] == []
    demo.tab.picture(PICTURE)
    assert PICTURE.stat().st_size > 100_000


def test_every_endpoint_and_every_message_is_there(demo: Demo) -> None:
    contents = {content["title"]: content for content in demo.first_contents}
    endpoints = {series["label"] for series in contents["Response time by endpoint, p95"]["series"]}
    assert endpoints >= {"GET /", "GET /item/[id]", "GET /search", "POST /cart", "POST /checkout"}
    statuses = {series["label"] for series in contents["Responses per second by status"]["series"]}
    assert statuses >= {"200", "404"}
    assert any("BIRTHDAY" in cell for row in contents["Exceptions in the locustfile"]["rows"] for cell in row)


def test_a_phone_shows_it_in_one_column(demo: Demo) -> None:
    demo.tab.resize(PHONE, 844, phone=True)
    demo.tab.open(demo.file.as_uri())
    assert demo.tab.run("document.documentElement.scrollWidth") == PHONE
    assert_shows_everything(demo)
    heights = demo.tab.run(
        "[...document.querySelectorAll('button, select')].map((one) => one.getBoundingClientRect().height)"
    )
    assert min(heights) >= LEAST_CONTROL
    assert demo.tab.run("document.querySelectorAll('h1').length") == 1
    assert demo.tab.run("[...document.querySelectorAll('.chart')].every((chart) => chart.ariaLabel)")
    assert demo.tab.problems == []


def test_another_period_shows_other_points(demo: Demo) -> None:
    demo.tab.resize(DESKTOP, 900)
    demo.tab.open(demo.file.as_uri())
    points = "document.querySelectorAll('[data-view=timeSeries] .point').length"
    fine = demo.tab.run(points)
    demo.tab.run(
        "{ const select = document.getElementById('variable-period'); select.value = '10';"
        " select.dispatchEvent(new Event('change')); }"
    )
    demo.tab.settle()
    assert 0 < demo.tab.run(points) < fine
    assert all(widget["marks"] for widget in demo.tab.widgets())
