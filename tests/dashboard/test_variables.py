"""Variables: what can be chosen, and what a choice changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_aws.dashboard.body import BodyError, Choice, Variable, Widget, parse
from local_aws.dashboard.variables import apply, default_selection, selections


def variable(
    name: str, *values: str, kind: str = "pattern", target: str = "x", default: str | None = None
) -> Variable:
    choices = tuple(Choice(value, value) for value in values)
    return Variable(name, kind, target, name, "select", default, choices, None, None, True)


def applied(kind: str, target: str, value: str, **properties: Any) -> dict[str, Any]:
    source = {"type": "metric", "width": 6, "properties": properties}
    (widget,) = parse(json.dumps({"widgets": [source]})).widgets
    result = apply(widget, [variable("v", kind=kind, target=target)], {"v": value})
    return dict(result.properties)


def test_a_pattern_is_replaced_in_all_texts() -> None:
    changed = applied(
        "pattern",
        "choose-[a-z]+",
        r"\1 shop",
        title="of choose-me",
        metrics=[["Locust", "Users", "Test", "choose-a"], [{"expression": "SEARCH('Test=\"choose-b\"')"}]],
        period=60,
    )
    assert changed == {
        "title": r"of \1 shop",
        "metrics": [
            ["Locust", "Users", "Test", r"\1 shop", {}],
            [{"expression": r"""SEARCH('Test="\1 shop"')"""}],
        ],
        "period": 60,
    }


def test_a_pattern_replaces_a_number_that_it_matches_as_a_whole() -> None:
    assert applied("pattern", "60", "10", period=60, height=160) == {"period": 10, "height": 160}


def test_a_property_is_replaced_everywhere_but_in_single_metrics() -> None:
    changed = applied(
        "property",
        "period",
        "10",
        period=60,
        deeper=[{"period": 5}],
        stacked=True,
        metrics=[["A", "b", "period", "old", {"period": 1}]],
    )
    assert changed == {
        "period": 10,
        "deeper": [{"period": 10}],
        "stacked": True,
        # The last one is a dimension of that name, and then an option of this metric alone.
        "metrics": [["A", "b", "period", "10", {"period": 1}]],
    }


def test_nothing_chosen_changes_nothing() -> None:
    widget = Widget("text", 0, 0, 6, 6, {"markdown": "x"})
    assert apply(widget, [variable("v")], {"v": ""}) == widget


def test_what_is_chosen_at_first() -> None:
    found = [variable("a", "1", "2", default="__FIRST"), variable("b", "", "3")]
    found.append(variable("c", "4", default="4"))
    assert default_selection(found) == {"a": "1", "b": "", "c": "4"}
    assert default_selection(found, {"a": "2", "b": "", "c": ""}) == {"a": "2", "b": "", "c": "4"}
    assert default_selection([variable("a", default="__FIRST")]) == {"a": ""}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"a": "3"}, "variable a: expected one of 1, 2, found '3'"),
        ({"z": "3"}, "expected variables of the dashboard (a), found z"),
    ],
)
def test_what_cannot_be_chosen_is_said(wanted: dict[str, str], message: str) -> None:
    with pytest.raises(BodyError) as error:
        default_selection([variable("a", "1", "2", default="1")], wanted)
    assert str(error.value) == message


@given(st.lists(st.integers(1, 5), max_size=4), st.integers(1, 50))
def test_selections_differ_ever_more_from_the_first(sizes: list[int], most: int) -> None:
    found = [
        variable(f"v{at}", *(str(value) for value in range(size)), default="0")
        for at, size in enumerate(sizes)
    ]
    first = default_selection(found)
    made = selections(found, first, most)
    product = 1
    for size in sizes:
        product *= size
    assert len(made) == min(most, product)
    assert len({tuple(selection.items()) for selection in made}) == len(made)
    differing = [sum(selection[name] != value for name, value in first.items()) for selection in made]
    assert differing == sorted(differing)
    assert made[0] == first
