"""The dashboard's source, checked: JSON in, widgets and variables out.

The format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COLUMNS = 24
"""Columns of a dashboard's grid."""
MAX_HEIGHT = 1000
"""Rows that a widget may span."""
DEFAULT_SIZE = 6
"""Columns and rows of a widget that does not say."""
MAX_WIDGETS = 500
"""Widgets of a dashboard.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html"""
MAX_METRICS = 500
"""Metrics of a graph; of the same source."""
MAX_VARIABLES = 25
"""Variables of a dashboard, a bound of our own."""
INPUT_TYPES = ("input", "radio", "select")


_DURATION = re.compile(r"-P(?:(\d{1,4})W)?(?:(\d{1,4})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,4})M)?)?")
_UNITS = (7 * 86_400, 86_400, 3600, 60)


class BodyError(ValueError):
    """The dashboard's source is not what CloudWatch documents; the text says where."""


@dataclass(frozen=True)
class Widget:
    """One widget: where it stands on the grid, and its source as it was given."""

    type: str
    x: int
    y: int
    width: int
    height: int
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Choice:
    """A value that a variable can take, and how the page names it."""

    value: str
    label: str


@dataclass(frozen=True)
class Variable:
    """What the person who looks can select.

    `type` is `property`, and `target` the name of a JSON property or a dimension whose values are replaced;
    or it is `pattern`, and `target` a regular expression whose matches are. The choices are given, or they
    are the values that the dimension `populate_from` has among the metrics that `search` finds.
    """

    id: str
    type: str
    target: str
    label: str
    input_type: str
    default: str | None
    choices: tuple[Choice, ...]
    search: str | None
    populate_from: str | None
    visible: bool


@dataclass(frozen=True)
class Body:
    """A whole dashboard."""

    widgets: tuple[Widget, ...]
    variables: tuple[Variable, ...]
    seconds: int | None
    """How long a time it shows unless told otherwise; None when it does not say."""


def parse(text: str) -> Body:
    """Reads a dashboard's source; raises `BodyError`."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise BodyError(f"expected a dashboard's body in JSON, found {error}") from None
    source = _mapping(raw, "body")
    widgets = _list(source, "widgets", "body", MAX_WIDGETS)
    variables = _list(source, "variables", "body", MAX_VARIABLES)
    parsed = [_variable(variable, f"variables[{number}]") for number, variable in enumerate(variables)]
    ids = [variable.id for variable in parsed]
    if len(set(ids)) != len(ids):
        raise BodyError(f"variables: expected each id once, found {', '.join(ids)}")
    return Body(tuple(_place(widgets)), tuple(parsed), _start(source.get("start")))


def _start(value: Any) -> int | None:
    """The seconds of a relative begin, `-PT3H`; an absolute one (a time) says nothing of how long."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    return sum(int(number or 0) * unit for number, unit in zip(match.groups(), _UNITS, strict=True)) or None


def _place(widgets: list[Any]) -> list[Widget]:
    """Checks the widgets; those without a position go beside the one before, or below all."""
    placed: list[Widget] = []
    next_x, row_y, row_height = 0, 0, 0
    for number, raw in enumerate(widgets):
        path = f"widgets[{number}]"
        source = _mapping(raw, path)
        width = _integer(source, "width", path, DEFAULT_SIZE, 1, COLUMNS)
        height = _integer(source, "height", path, DEFAULT_SIZE, 1, MAX_HEIGHT)
        if "x" in source and "y" in source:
            x = _integer(source, "x", path, 0, 0, COLUMNS - 1)
            y = _integer(source, "y", path, 0, 0, MAX_WIDGETS * MAX_HEIGHT)
        else:
            if next_x + width > COLUMNS:
                next_x, row_y, row_height = 0, row_y + row_height, 0
            x, y = next_x, row_y
            next_x, row_height = next_x + width, max(row_height, height)
        if x + width > COLUMNS:
            raise BodyError(f"{path}: expected x + width of at most {COLUMNS}, found {x} + {width}")
        kind = _text(source, "type", path)
        properties = _mapping(source.get("properties", {}), f"{path}.properties")
        if "metrics" in properties:
            rows = _list(properties, "metrics", f"{path}.properties", MAX_METRICS)
            properties = {**properties, "metrics": expand(rows, f"{path}.properties.metrics")}
        placed.append(Widget(kind, x, y, width, height, properties))
    return placed


def expand(rows: list[Any], path: str) -> list[list[Any]]:
    """The metrics of a widget with their abbreviations written out.

    "." stands for what the row before has at the same place, "..." for as many such as are missing. The last
    member of a row is always an object: its options.
    """
    expanded: list[list[Any]] = []
    before: list[str] = []
    for number, row in enumerate(rows):
        place = f"{path}[{number}]"
        if not isinstance(row, list) or not row:
            raise BodyError(f"{place}: expected an array of names and options, found {_shown(row)}")
        options = row[-1] if isinstance(row[-1], dict) else {}
        names = row[:-1] if isinstance(row[-1], dict) else row
        if not all(isinstance(name, str) for name in names):
            raise BodyError(f"{place}: expected texts and then one object, found {_shown(row)}")
        if "..." in names:
            at = names.index("...")
            rest = names[at + 1 :]
            names = names[:at] + before[at : len(before) - len(rest)] + rest
        if any(name == "." and at >= len(before) for at, name in enumerate(names)) or "..." in names:
            raise BodyError(f"{place}: expected a row before that has what is abbreviated here, found none")
        names = [before[at] if name == "." else name for at, name in enumerate(names)]
        if "expression" not in options and (len(names) < 2 or len(names) % 2):
            raise BodyError(
                f"{place}: expected a namespace, a metric and pairs of dimension and value,"
                f" found {len(names)} names: {_shown(names)}"
            )
        expanded.append([*names, options])
        before = names or before
    return expanded


def _variable(raw: Any, path: str) -> Variable:
    source = _mapping(raw, path)
    kind = _text(source, "type", path)
    if kind not in ("property", "pattern"):
        raise BodyError(f"{path}.type: expected property or pattern, found {kind!r}")
    target = _text(source, kind, path)
    if kind == "pattern":
        try:
            re.compile(target)
        except re.error as error:
            raise BodyError(
                f"{path}.pattern: expected a regular expression, found {target!r}: {error}"
            ) from None
    identifier = _text(source, "id", path)
    input_type = source.get("inputType", "input")
    if input_type not in INPUT_TYPES:
        raise BodyError(f"{path}.inputType: expected one of {', '.join(INPUT_TYPES)}, found {input_type!r}")
    choices = []
    for number, value in enumerate(_list(source, "values", path, MAX_WIDGETS)):
        place = f"{path}.values[{number}]"
        choice = _mapping(value, place)
        text = _text(choice, "value", place)
        choices.append(Choice(text, str(choice.get("label") or text)))
    default = source.get("defaultValue")
    search, populate_from = source.get("search"), source.get("populateFrom")
    if (search is None) != (populate_from is None):
        raise BodyError(f"{path}: expected search and populateFrom together, found one of them")
    return Variable(
        identifier,
        kind,
        target,
        str(source.get("label") or identifier),
        input_type,
        None if default is None else _text(source, "defaultValue", path),
        tuple(choices),
        None if search is None else str(search),
        None if populate_from is None else str(populate_from),
        source.get("visible") is not False,
    )


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BodyError(f"{path}: expected a JSON object, found {_shown(value)}")
    return value


def _list(source: Mapping[str, Any], name: str, path: str, most: int) -> list[Any]:
    value = source.get(name, [])
    if not isinstance(value, list) or len(value) > most:
        found = f"{len(value)} members" if isinstance(value, list) else _shown(value)
        raise BodyError(f"{path}.{name}: expected an array of at most {most} members, found {found}")
    return value


def _text(source: Mapping[str, Any], name: str, path: str) -> str:
    value = source.get(name)
    if not isinstance(value, str) or not value:
        raise BodyError(f"{path}.{name}: expected a text, found {_shown(value)}")
    return value


def _integer(source: Mapping[str, Any], name: str, path: str, default: int, least: int, most: int) -> int:
    value = source.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BodyError(
            f"{path}.{name}: expected a whole number from {least} to {most}, found {_shown(value)}"
        )
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
