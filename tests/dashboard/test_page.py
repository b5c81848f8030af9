"""The page: what it may do, what it makes of the data, whatever they hold, and what one can do with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_aws.dashboard import page, text
from local_aws.dashboard.body import BodyError, Widget
from tests.dashboard import browser
from tests.dashboard.browser import Page

BEGIN = 1_795_000_000
EVIL = "</script><script>document.title='x'</script><img src=x onerror=\"document.title='x'\">'\"&amp;<!--"


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


MARKDOWN = Widget("text", 0, 0, 6, 6, {"markdown": f"# Hello\n\n{EVIL} ![x](https://example.com/x.png)"})
SCALE = {"left": {"label": EVIL, "min": 0, "max": 100}}
LINES = [[EVIL, "2"], ["/", "10"]]
EVERYTHING = [
    graph(f"Lines {EVIL}", series(f"a {EVIL}", 1, 2, 3), series("b", 4, 5, 6)),
    graph("Areas", series("200", 1, 2), series("404", 3, 4), stacked=True),
    graph("One point", series("x", 0)),
    graph("Two axes", series("l", 1, 2), series("r", 10, 20, axis="right"), axes=SCALE),
    graph(EVIL, series(EVIL, 1234.5, 42), view="singleValue"),
    graph("Bars", series(EVIL, 3), series("y", 7), view="bar"),
    graph("Pie", series(EVIL, 3), series("y", 7), view="pie"),
    graph("Gauge", series("x", 40), view="gauge", axes=SCALE),
    graph("Summary", series(EVIL, 1, 2, 3), view="table"),
    {
        "title": "Log",
        "view": "logTable",
        "columns": ["name", EVIL],
        "names": ["name"],
        "rows": [[EVIL, "2"], ["/", "10"]],
        "notes": [],
    },
    {"title": "Text", **text.show(MARKDOWN)},
    {"title": "Wrong", "view": "error", "message": EVIL, "notes": [EVIL]},
    graph("Nothing"),
]
MARKS = [2, 2, 1, 2, 1, 2, 2, 1, 1, 2, 1, 0, 0]
"""What can be seen of each of them: two lines, two areas, a dot …"""

CHARTS_FIT = """[...document.querySelectorAll(".chart")].every((chart) => {
  const { width, height } = chart.querySelector(".main-svg").getBoundingClientRect();
  return Math.abs(width - chart.clientWidth) <= 1 && Math.abs(height - chart.clientHeight) <= 1;
})"""
"""Whether all charts fill their places, and no more."""


@pytest.fixture(scope="module")
def everything(tab: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of all that there is."""
    with browser.running() as page:
        page.resize(1440, 900)
        page.prefer("light")
        yield show(page, tmp_path_factory.mktemp("page"), snapshot(*EVERYTHING))


def show(tab: Page, folder: Path, data: dict[str, Any]) -> Page:
    file = folder / "dashboard.html"
    file.write_text(page.make(data), encoding="utf-8")
    tab.open(file.as_uri())
    return tab


@settings(max_examples=50)
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


def test_every_view_draws_what_it_has(everything: Page) -> None:
    shown = everything.widgets()
    assert [widget["state"] for widget in shown] == ["data"] * 11 + ["error", "empty"]
    assert [widget["marks"] for widget in shown] == MARKS
    assert EVIL in shown[-2]["text"]
    assert shown[-1]["text"].endswith("No data in this time")


def test_hostile_data_are_shown_as_the_text_that_they_are(everything: Page) -> None:
    assert everything.run("document.title") == f"Locust {EVIL}"
    assert everything.run("document.querySelectorAll('img, main script, main iframe').length") == 0
    assert EVIL in everything.run("document.querySelector('h1').textContent")
    assert everything.problems == []
    assert [url for url in everything.requests if not url.startswith(("file:", "data:"))] == []


def test_another_choice_shows_other_contents(tab: Page, tmp_path: Path) -> None:
    tab.resize(1440, 900)
    first, second = graph("First", series("a", 1, 2)), graph("Second", series("b", 3), series("c", 4))
    show(tab, tmp_path, snapshot(first, second, other=[1]))
    tab.run(
        "{ const select = document.querySelector('select'); select.selectedIndex = 1;"
        " select.dispatchEvent(new Event('change')); }"
    )
    tab.settle()
    assert [(widget["title"], widget["marks"]) for widget in tab.widgets()] == [("Second", 2)]
    assert tab.run("document.querySelector('select').value") == EVIL


def test_a_legend_switches_a_series_and_a_double_click_leaves_it_alone(everything: Page) -> None:
    def click(place: int, kind: str) -> int:
        """The lines that are drawn then."""
        button = f"document.querySelectorAll('.legend button')[{place}]"
        everything.run(f"{button}.dispatchEvent(new Event('{kind}'))")
        everything.settle()
        marks: int = everything.widgets()[0]["marks"]
        return marks

    assert [click(1, "click"), click(1, "click")] == [1, 2]
    assert [click(0, "dblclick"), click(0, "dblclick")] == [1, 2]


def test_pointing_at_a_chart_tells_all_values_of_that_time(everything: Page) -> None:
    left, top, width, height = everything.run(
        "(({ x, y, width, height }) => [x, y, width, height])"
        "(document.querySelector('.nsewdrag').getBoundingClientRect())"
    )
    # The second of points at 0, 5 and 10 of 60 seconds.
    everything.point(left + width * 5 / 60, top + height / 2)
    everything.settle()
    tip = everything.run("document.getElementById('tip').innerText").split("\n")
    assert tip == ["2026-11-18 11:06:45 UTC", "b", "5", f"a {EVIL}", "2"]


def test_a_table_is_sorted_by_the_column_that_is_clicked(everything: Page) -> None:
    column = (
        "[...document.querySelectorAll('[data-view=logTable] td:last-child')].map((cell) => cell.textContent)"
    )
    assert everything.run(column) == ["2", "10"]
    everything.run("document.querySelectorAll('[data-view=logTable] th button')[1].click()")
    assert everything.run(column) == ["10", "2"]
    everything.run("document.querySelectorAll('[data-view=logTable] th button')[1].click()")
    assert everything.run(column) == ["2", "10"]


def log_table(columns: list[str], *rows: list[str], names: tuple[str, ...] = ()) -> dict[str, Any]:
    content = {"view": "logTable", "columns": columns, "rows": list(rows), "names": list(names)}
    return {"title": "Log", "notes": [], **content}


def test_numbers_are_formatted_and_names_that_look_like_them_are_not(tab: Page, tmp_path: Path) -> None:
    tab.resize(1440, 900)
    table = log_table(
        ["run", "requests", "ms"], ["20261121", "20261121", "1234.5"], ["1e3", "", "2"], names=("run",)
    )
    summary = graph("Summary", series("20261121", 20261121), view="table", table={"summaryColumns": ["MAX"]})
    show(tab, tmp_path, snapshot(table, summary))
    cells = tab.run(
        "[...document.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((c) => c.textContent))"
    )
    assert cells == [["20261121", "20.26M", "1,235"], ["1e3", "", "2"], ["20261121", "20.26M", "20.26M"]]
    assert tab.run("document.querySelectorAll('.number').length") == 2 * 3 + 2 * 2


@pytest.mark.parametrize(
    ("title", "labels", "legend"),
    [
        ("Queue", ["Queue"], []),
        ("Queue", ["waiting"], ["waiting"]),
        ("", ["waiting"], ["waiting"]),
        ("Queue", ["waiting", "Queue"], ["waiting", "Queue"]),
    ],
)
def test_a_series_is_named_unless_the_title_does(
    title: str, labels: list[str], legend: list[str], tab: Page, tmp_path: Path
) -> None:
    tab.resize(1440, 900)
    show(tab, tmp_path, snapshot(graph(title, *(series(label, 1, 2) for label in labels))))
    assert tab.run("[...document.querySelectorAll('.legend button')].map((b) => b.innerText)") == legend


def test_charts_say_in_words_what_they_show(tab: Page, tmp_path: Path) -> None:
    tab.resize(1440, 900)
    many = [series(f"s{n}", n) for n in range(13)]
    views = [graph("Pie", series("x", 1), series("y", 2), view="pie"), graph("", *many)]
    show(tab, tmp_path, snapshot(graph("Lines", series("a", 1, 1234.5), series("b", 2)), *views))
    said = tab.run("[...document.querySelectorAll('.chart[role=img]')].map((chart) => chart.ariaLabel)")
    assert said[:2] == ["Lines: a 1,235, b 2", "Pie: x 1, y 2"]
    assert said[2].startswith("Chart: s0 0, s1 1, ")
    assert said[2].endswith(", s9 9, and 3 more")
    assert tab.run("document.querySelectorAll('.chart').length") == 3


def test_the_dashboard_s_name_is_the_only_first_heading(tab: Page, tmp_path: Path) -> None:
    headings = Widget("text", 0, 0, 6, 6, {"markdown": "# One\n\n## Two\n\n###### Six\n\nOther\n==="})
    show(tab, tmp_path, snapshot({"title": "", **text.show(headings)}))
    found = "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((h) => [h.tagName, h.textContent])"
    shown = [["H2", "One"], ["H3", "Two"], ["H6", "Six"], ["H2", "Other"]]
    assert tab.run(found) == [["H1", f"Locust {EVIL}"], *shown]


def test_light_and_dark_follow_the_system_and_the_switch(everything: Page) -> None:
    def background() -> str:
        everything.settle()
        return str(everything.run("getComputedStyle(document.body).backgroundColor"))

    light = background()
    everything.prefer("dark")
    dark = background()
    assert light != dark
    switch = "document.getElementById('theme').click()"
    everything.run(switch)
    assert background() == light
    everything.run(switch)
    assert background() == dark
    everything.prefer("light")
    assert background() == dark
    everything.run(switch)
    assert background() == light


def test_nothing_is_wider_than_a_phone(tab: Page, tmp_path: Path) -> None:
    tab.resize(390, 844, phone=True)
    show(tab, tmp_path, snapshot(*EVERYTHING))
    assert tab.run("document.documentElement.scrollWidth") == 390
    tab.until(CHARTS_FIT)
    assert [widget["marks"] for widget in tab.widgets()[:4]] == [2, 2, 1, 2]


def test_fingers_can_hit_every_control(tab: Page, tmp_path: Path) -> None:
    tab.resize(390, 844, phone=True)
    show(tab, tmp_path, snapshot(*EVERYTHING))
    heights = tab.run(
        "[...document.querySelectorAll('button, select, label:has(input), .legend button')]"
        ".map((control) => control.getBoundingClientRect().height)"
    )
    assert len(heights) > 10
    assert min(heights) >= 24


@pytest.mark.parametrize("width", [390, 1440])
def test_a_tile_s_line_is_below_its_caption(width: int, tab: Page, tmp_path: Path) -> None:
    tab.resize(width, 844, phone=width < 760)
    title = "Response time of all endpoints of this test together, p95"
    tiles = [graph(title, series("of all requests, in milliseconds", 1, 2), view="singleValue")] * 2
    data = snapshot(*tiles)
    for at, place in enumerate(data["widgets"]):
        place.update(x=4 * at, width=4, height=4)
    show(tab, tmp_path, data)
    caption, line, height, tile = tab.run(
        "['.value span', '.spark', '.tile'].map((one) => document.querySelector(one).getBoundingClientRect())"
        ".reduce((all, { top, bottom, height }, at) =>"
        " [...all, ...(at ? at === 1 ? [top, height] : [bottom] : [bottom])], [])"
    )
    assert caption <= line
    assert height >= 8
    assert line + height <= tile


def test_a_table_wider_than_the_screen_fades_where_it_goes_on(tab: Page, tmp_path: Path) -> None:
    tab.resize(390, 844, phone=True)
    columns = ["name", *(f"column_{n}" for n in range(8))]
    wide = log_table(columns, ["/checkout", *["1"] * 8], names=("name",))
    show(tab, tmp_path, snapshot(wide, log_table(["a"], ["1"])))
    more = "[...document.querySelectorAll('.scroll')].map((scroll) => [...scroll.classList].sort().join(' '))"
    assert tab.run(more) == ["more-right scroll", "scroll"]
    scrolled = "document.querySelector('.scroll').scrollLeft"
    tab.run(f"{scrolled} = 50")
    tab.settle()
    assert tab.run(more) == ["more-left more-right scroll", "scroll"]
    tab.run(f"{scrolled} = 10000")
    tab.settle()
    assert tab.run(more) == ["more-left scroll", "scroll"]
    assert tab.run("document.documentElement.scrollWidth") == 390


def test_names_wrap_after_their_separators(tab: Page, tmp_path: Path) -> None:
    tab.resize(390, 844, phone=True)
    name = "/recommendations/premium/[id]"
    table = log_table(["name", *(f"c{n}" for n in range(9))], [name, *["12345"] * 9], names=("name",))
    show(tab, tmp_path, snapshot(table))
    lines = """((cell) => {
      const lines = new Map();
      for (const node of cell.childNodes) if (node.nodeType === Node.TEXT_NODE) {
        [...node.data].forEach((letter, at) => {
          const range = document.createRange();
          range.setStart(node, at); range.setEnd(node, at + 1);
          const { top } = range.getBoundingClientRect();
          lines.set(top, (lines.get(top) || "") + letter);
        });
      }
      return [...lines.values()];
    })(document.querySelector("td"))"""
    assert tab.run("document.querySelector('td').textContent") == name
    shown = tab.run(lines)
    assert len(shown) > 1
    assert all(line.endswith("/") for line in shown[:-1]), shown


def test_charts_follow_the_size_of_the_window(everything: Page) -> None:
    for width in (500, 1000, 1440):
        everything.resize(width, 900)
        everything.until(CHARTS_FIT)
        assert everything.run("document.documentElement.scrollWidth") == width
