"""Reads a dashboard's body: its metrics, searches and log queries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]
Widget = dict[str, Any]

_SCHEMA = re.compile(r"\{(?P<namespace>[^,}]+)(?P<dimensions>(?:,\w+)*)\}")
_KEYWORDS = {"SOURCE", "filter", "fields", "stats", "sort", "limit", "by", "as", "desc", "and", "like", "in"}
_FUNCTIONS = {"coalesce", "sum", "max", "ispresent"}
_WORD = re.compile(r"(?<![\w@.])[A-Za-z_]\w*")


@dataclass(frozen=True)
class Reference:
    """A metric that a dashboard shows: namespace, name, and the names of its dimensions."""

    namespace: str
    metric: str
    dimensions: tuple[str, ...]


def entries(widget: Widget) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """The parts of each entry of a widget's `metrics`: namespace, name and dimensions; and its options."""
    for entry in widget["properties"].get("metrics", []):
        *metric, options = entry if isinstance(entry[-1], dict) else [*entry, {}]
        yield metric, options


def references(widget: Widget) -> Iterator[Reference]:
    """The metrics that a widget shows, those that it searches for included."""
    for metric, options in entries(widget):
        if metric:
            namespace, name, *dimensions = metric
            yield Reference(namespace, name, tuple(dimensions[::2]))
        elif "SEARCH" in options["expression"]:
            yield from searched(options["expression"])


def searched(expression: str) -> Iterator[Reference]:
    """The metrics that the searches in an expression, or a variable's `search`, name."""
    for found in _SCHEMA.finditer(expression):
        rest = expression[found.end() :].split("{")[0]
        metrics = re.findall(r'MetricName="([^"]+)"', rest)
        assert metrics
        dimensions = tuple(found["dimensions"].strip(",").split(",")) if found["dimensions"] else ()
        yield from (Reference(found["namespace"].strip('"'), metric, dimensions) for metric in metrics)


def log_fields(query: str) -> tuple[set[str], set[str]]:
    """The types of log events that a query of Logs Insights filters by, and the fields that it reads."""
    ((one, several),) = re.findall(r"filter type (?:= '(\w+)'|in \[([^]]+)\])", query)
    fields: set[str] = set()
    known = _KEYWORDS | _FUNCTIONS
    for command in re.sub(r"'[^']*'|/[^/]*/", "", query).split("|"):
        # What a command names with `as` is there for the commands after it.
        bare = re.sub(r"\bas \w+", "", command)
        fields |= set(re.findall(r"`(\w+)`", bare)) | (set(_WORD.findall(re.sub(r"`\w+`", "", bare))) - known)
        known |= set(re.findall(r"\bas (\w+)", command))
    return {one} if one else set(re.findall(r"\w+", several)), fields


def overlapping(widgets: list[Widget]) -> list[tuple[Widget, Widget]]:
    """Pairs of widgets that cover each other on the grid."""

    def apart(one: Widget, other: Widget) -> bool:
        return any(
            first[at] + first[size] <= second[at]
            for at, size in (("x", "width"), ("y", "height"))
            for first, second in ((one, other), (other, one))
        )

    return [
        (one, other)
        for number, one in enumerate(widgets)
        for other in widgets[:number]
        if not apart(one, other)
    ]
