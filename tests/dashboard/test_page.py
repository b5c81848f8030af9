"""The page: what it may do, what it makes of the data, whatever they hold, and what one can do with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_aws.dashboard import page, text
from local_aws.dashboard.body import BodyError, Widget
from tests.dashboard.browser import Page

BEGIN = 1_795_000_000
EVIL = "</script><script>document.title='stolen'</script><img src=x onerror=\"document.title='stolen'\">'\"&amp;<!--"


def series(label: str, *values: float, axis: str = "left") -> dict[str, Any]:
    times = [BEGIN + 5 * at for at in range(len(values))]
    return {"label": label, "color": None, "axis": axis, "times": times, "values": list(values)}


def graph(title: str, *lines: dict[str, Any], view: str = "timeSeries", **more: Any) -> dict[str, Any]:
    marks: dict[str, list[Any]] = {"horizontal": [], "vertical": []}
    default = {
        "stacked": False,
        "sparkline": True,
        "legend": "bottom",
        "axes": {},
        "annotations": marks,
        "table": {},
    }
    return {"title": title, "view": view, "series": list(lines), "notes": [], **default, **more}


def snapshot(*contents: dict[str, Any], other: list[int] | None = None) -> dict[str, Any]:
    """A snapshot with one variable, of which the second value shows the `other` contents."""
    count = len(other) if other else len(contents)
    choices = [{"value": name, "label": name} for name in ("shop", EVIL)]
    return {
        "name": f"Locust {EVIL}",
        "from": BEGIN,
        "to": BEGIN + 60,
        "variables": [
            {"id": "t", "label": f"Test {EVIL}", "inputType": "select", "visible": True, "choices": choices}
        ],
        "widgets": [{"x": 8 * (at % 3), "y": 6 * (at // 3), "width": 8, "height": 6} for at in range(count)],
        "selections": [
            {"values": {"t": "shop"}, "contents": list(range(count))},
            {"values": {"t": EVIL}, "contents": other or list(range(count))},
        ],
        "contents": list(contents),
    }


EVERYTHING = [
    graph(f"Lines {EVIL}", series(f"a {EVIL}", 1, 2, 3), series("b", 4, 5, 6)),
    graph("Areas", series("200", 1, 2), series("404", 3, 4), stacked=True),
    graph("One point", series("x", 0)),
    graph("Two axes", series("l", 1, 2), series("r", 10, 20, axis="right"), axes={"left": {"label": EVIL, "min": 0}}),
    graph(EVIL, series(EVIL, 1234.5, 42), view="singleValue"),
    graph("Bars", series(EVIL, 3), series("y", 7), view="bar"),
    graph("Pie", series(EVIL, 3), series("y", 7), view="pie"),
    graph("Gauge", series("x", 40), view="gauge", axes={"left": {"min": 0, "max": 100}}),
    graph("Summary", series(EVIL, 1, 2, 3), view="table"),
    {"title": "Log", "view": "logTable", "columns": ["name", EVIL], "rows": [[EVIL, "2"], ["/", "10"]], "notes": [EVIL]},
    {"title": "", **text.show(Widget("text", 0, 0, 6, 6, {"markdown": f"# Hello\n\n{EVIL} ![x](https://example.com/x.png)"}))},
    {"title": "Wrong", "view": "error", "message": EVIL, "notes": []},
    graph("Nothing", view="timeSeries"),
]  # fmt: skip


@pytest.fixture
def opened(tab: Page, tmp_path: Path) -> Page:
    """The page of all that there is, on a desktop."""
    tab.resize(1440, 900)
    tab.prefer("light")
    return show(tab, tmp_path, snapshot(*EVERYTHING))


def show(tab: Page, folder: Path, data: dict[str, Any]) -> Page:
    file = folder / "dashboard.html"
    file.write_text(page.make(data), encoding="utf-8")
    tab.open(file.as_uri())
    return tab


@given(st.recursive(st.text() | st.floats(allow_nan=False, allow_infinity=False), st.lists))
def test_data_can_neither_end_their_element_nor_begin_a_comment(data: Any) -> None:
    encoded = page.encode([data, EVIL])
    assert not re.search("[<>&]", encoded)
    assert json.loads(encoded) == [data, EVIL]


def test_the_page_may_fetch_nothing_and_runs_no_code_but_its_own() -> None:
    html = page.make(snapshot())
    assert "connect-src &#x27;none&#x27;" in html
    assert "connect-src &#x27;self&#x27;" in page.make(snapshot(), live=True)
    assert "unsafe-eval" not in html
    assert not re.search(r"script-src[^;]*unsafe", html)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html.partition("<script>")[0])


@pytest.mark.parametrize(
    "markdown", ["[x](javascript:alert(1))", "<b onclick=x>", "![x](https://example.com/x.png)"]
)
def test_markdown_can_do_nothing_but_be_read(markdown: str) -> None:
    html = text.show(Widget("text", 0, 0, 6, 6, {"markdown": markdown}))["html"]
    assert not re.search(r"<(b|img|script)|href=.javascript", html)


def test_a_text_without_markdown_is_said() -> None:
    with pytest.raises(BodyError, match="markdown: expected a text, found None"):
        text.show(Widget("text", 0, 0, 6, 6, {}))


def test_every_view_draws_what_it_has(opened: Page) -> None:
    shown = {widget["title"]: widget for widget in opened.widgets()}
    assert {title: widget["state"] for title, widget in shown.items()} == {
        f"Lines {EVIL}": "data", "Areas": "data", "One point": "data", "Two axes": "data", EVIL: "data", "Bars": "data",
        "Pie": "data", "Gauge": "data", "Summary": "data", "Log": "data", "": "data", "Wrong": "error", "Nothing": "empty",
    }  # fmt: skip
    marks = {title: widget["marks"] for title, widget in shown.items() if widget["state"] == "data"}
    assert marks == {
        f"Lines {EVIL}": 2, "Areas": 2, "One point": 1, "Two axes": 2, EVIL: 1, "Bars": 2,
        "Pie": 2, "Gauge": 1, "Summary": 1, "Log": 2, "": 1,
    }  # fmt: skip
    assert shown["Nothing"]["text"].endswith("No data in this time")
    assert EVIL in shown["Wrong"]["text"]


def test_hostile_data_are_shown_as_the_text_that_they_are(opened: Page) -> None:
    assert opened.run("document.title") == f"Locust {EVIL}"
    assert opened.run("document.querySelectorAll('img, main script, main iframe').length") == 0
    assert EVIL in opened.run("document.querySelector('h1').textContent")
    assert opened.problems == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []


def test_another_choice_shows_other_contents(tab: Page, tmp_path: Path) -> None:
    first, second = graph("First", series("a", 1, 2)), graph("Second", series("b", 3), series("c", 4))
    show(tab, tmp_path, snapshot(first, second, other=[1]))
    tab.run(
        "{const s = document.querySelector('select'); s.selectedIndex = 1; s.dispatchEvent(new Event('change'))}"
    )
    tab.settle()
    assert [(widget["title"], widget["marks"]) for widget in tab.widgets()] == [("Second", 2)]
    assert tab.run("document.querySelector('select').value") == EVIL


def test_a_legend_switches_a_series_and_a_double_click_leaves_it_alone(opened: Page) -> None:
    click = (
        "document.querySelectorAll('.legend button')[%d].dispatchEvent(new MouseEvent('%s', {bubbles: true}))"
    )
    opened.run(click % (1, "click"))
    assert opened.widgets()[0]["marks"] == 1
    opened.run(click % (1, "click"))
    assert opened.widgets()[0]["marks"] == 2
    opened.run(click % (0, "dblclick"))
    assert opened.run(
        "[...document.querySelectorAll('.legend button')].slice(0, 2).map((b) => b.ariaPressed)"
    ) == ["true", "false"]


def test_pointing_at_a_chart_tells_all_values_of_that_time(opened: Page) -> None:
    box = opened.run(
        "(({x, y, width, height}) => [x, y, width, height])(document.querySelector('.nsewdrag').getBoundingClientRect())"
    )
    # The second of points at 0, 5 and 10 of 60 seconds.
    opened.point(box[0] + box[2] * 5 / 60, box[1] + box[3] / 2)
    opened.settle()
    tip = opened.run("document.getElementById('tip').innerText")
    assert tip.split("\n")[0] == "2026-11-18 11:06:45 UTC"
    assert tip.split("\n")[1:] == ["b", "5", f"a {EVIL}", "2"]


def test_a_table_is_sorted_by_the_column_that_is_clicked(opened: Page) -> None:
    column = (
        "[...document.querySelectorAll('[data-view=logTable] td:last-child')].map((cell) => cell.textContent)"
    )
    assert opened.run(column) == ["2", "10"]
    opened.run("document.querySelectorAll('[data-view=logTable] th button')[1].click()")
    assert opened.run(column) == ["10", "2"]
    opened.run("document.querySelectorAll('[data-view=logTable] th button')[1].click()")
    assert opened.run(column) == ["2", "10"]


def test_light_and_dark_follow_the_system_and_the_switch(opened: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = opened.run(background)
    opened.prefer("dark")
    opened.settle()
    dark = opened.run(background)
    assert light != dark
    opened.run("document.getElementById('theme').click()")  # from auto to light
    assert opened.run(background) == light


@pytest.mark.parametrize("width", [390, 760, 1440])
def test_nothing_is_wider_than_the_screen(tab: Page, tmp_path: Path, width: int) -> None:
    tab.resize(width, 844, phone=width < 600)
    show(tab, tmp_path, snapshot(*EVERYTHING))
    assert tab.run("document.documentElement.scrollWidth") == width
    outside = "[...document.querySelectorAll('.widget .main-svg')].filter((svg) => svg.getBoundingClientRect().right > innerWidth).length"
    assert tab.run(outside) == 0


def test_a_screen_that_becomes_narrow_has_its_charts_drawn_anew(opened: Page) -> None:
    opened.resize(500, 900)
    opened.settle()
    opened.settle()
    sizes = "[...document.querySelectorAll('.chart')].map((c) => c.querySelector('.main-svg').clientWidth <= c.clientWidth)"
    assert set(opened.run(sizes)) == {True}
