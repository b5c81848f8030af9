"""A dashboard's source: what it may be, and what is said when it is something else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_aws.dashboard.body import BodyError, Choice, expand, parse


def widget(**members: Any) -> dict[str, Any]:
    return {"type": "text", "properties": {"markdown": "x"}, **members}


def body(**members: Any) -> str:
    return json.dumps({"widgets": [], **members})


def test_widgets_without_a_place_stand_side_by_side_and_then_below() -> None:
    sizes = [{"width": 12, "height": 2}, {"width": 12, "height": 4}, {}, {"x": 3, "y": 40}]
    placed = parse(body(widgets=[widget(**size) for size in sizes])).widgets
    assert [(one.x, one.y, one.width, one.height) for one in placed] == [
        (0, 0, 12, 2),
        (12, 0, 12, 4),
        (0, 4, 6, 6),
        (3, 40, 6, 6),
    ]


ROWS = [
    ([["A", "b", "D", "1"], [".", "c", ".", "2"]], [["A", "b", "D", "1", {}], ["A", "c", "D", "2", {}]]),
    (
        [["A", "b", "D", "1", {"stat": "Sum"}], ["...", "2"]],
        [["A", "b", "D", "1", {"stat": "Sum"}], ["A", "b", "D", "2", {}]],
    ),
    (
        [["A", "b", "D", "1"], ["...", {"id": "x"}]],
        [["A", "b", "D", "1", {}], ["A", "b", "D", "1", {"id": "x"}]],
    ),
    (
        [["A", "b"], [{"expression": "m1 * 2"}], [".", "c"]],
        [["A", "b", {}], [{"expression": "m1 * 2"}], ["A", "c", {}]],
    ),
    (
        [["A", "b", "D", "1", "E", "2"], [".", "c", "...", "3"]],
        [["A", "b", "D", "1", "E", "2", {}], ["A", "c", "D", "1", "E", "3", {}]],
    ),
]


@pytest.mark.parametrize(("short", "long"), ROWS)
def test_abbreviated_rows_are_written_out(short: list[Any], long: list[Any]) -> None:
    assert expand(short, "metrics") == long


@given(
    st.lists(
        st.lists(st.sampled_from(["a", "b"]), min_size=2, max_size=6).filter(lambda row: len(row) % 2 == 0)
    )
)
def test_abbreviating_what_is_the_same_changes_nothing(rows: list[list[str]]) -> None:
    short: list[list[str]] = []
    for before, row in zip([[], *rows], rows, strict=False):
        short.append(["." if before[at : at + 1] == [name] else name for at, name in enumerate(row)])
    assert [row[:-1] for row in expand(short, "metrics")] == rows


def test_a_variable_is_read_with_its_choices() -> None:
    source: dict[str, Any] = {"id": "p", "type": "property", "property": "period", "inputType": "radio"}
    source["defaultValue"] = "10"
    source["values"] = [{"value": "1", "label": "fine"}, {"value": "10"}]
    (variable,) = parse(body(variables=[source])).variables
    assert (variable.target, variable.default, variable.label) == ("period", "10", "p")
    assert variable.choices == (Choice("1", "fine"), Choice("10", "10"))


@pytest.mark.parametrize(
    ("start", "seconds"),
    [
        ("-PT3H", 10_800),
        ("-P1DT30M", 88_200),
        ("-P2W", 1_209_600),
        ("2026-01-01T00:00:00Z", None),
        (None, None),
    ],
)
def test_how_long_it_shows(start: str | None, seconds: int | None) -> None:
    assert parse(body(start=start)).seconds == seconds


VARIABLE = {"id": "v", "type": "pattern", "pattern": "x", "inputType": "select"}
WRONG = [
    ("{", "expected a dashboard's body in JSON"),
    ("[]", "body: expected a JSON object, found []"),
    (body(widgets={}), "body.widgets: expected an array of at most 500 members, found {}"),
    (body(widgets=[widget()] * 501), "found 501 members"),
    (body(widgets=[widget(type=None)]), "widgets[0].type: expected a text, found null"),
    (body(widgets=[widget(width=25)]), "widgets[0].width: expected a whole number from 1 to 24, found 25"),
    (body(widgets=[widget(x=20, y=0)]), "widgets[0]: expected x + width of at most 24, found 20 + 6"),
    (body(widgets=[widget(x=True, y=0)]), "widgets[0].x: expected a whole number from 0 to 23, found true"),
    (body(widgets=[widget(properties=[])]), "widgets[0].properties: expected a JSON object, found []"),
    (body(widgets=[widget(properties={"metrics": [["A"]]})]), "metrics[0]: expected a namespace, a metric"),
    (body(widgets=[widget(properties={"metrics": [["A", "b", "D"]]})]), "found 3 names"),
    (body(widgets=[widget(properties={"metrics": [["A", 1]]})]), "expected texts and then one object"),
    (body(widgets=[widget(properties={"metrics": [["A", "."]]})]), "expected a row before"),
    (
        body(widgets=[widget(properties={"metrics": ["A"]})]),
        'expected an array of names and options, found "A"',
    ),
    (body(variables=[VARIABLE, VARIABLE]), "variables: expected each id once, found v, v"),
    (
        body(variables=[{**VARIABLE, "type": "x"}]),
        "variables[0].type: expected property or pattern, found 'x'",
    ),
    (body(variables=[{**VARIABLE, "pattern": "("}]), "variables[0].pattern: expected a regular expression"),
    (
        body(variables=[{**VARIABLE, "inputType": "x"}]),
        "variables[0].inputType: expected one of input, radio",
    ),
    (body(variables=[{**VARIABLE, "search": "x"}]), "expected search and populateFrom together"),
    (
        body(variables=[{**VARIABLE, "values": [{"value": 10}]}]),
        "variables[0].values[0].value: expected a text, found 10",
    ),
    (
        body(variables=[{**VARIABLE, "defaultValue": 10}]),
        "variables[0].defaultValue: expected a text, found 10",
    ),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_wrong_is_said_with_its_place(text: str, message: str) -> None:
    with pytest.raises(BodyError) as error:
        parse(text)
    assert message in str(error.value)
