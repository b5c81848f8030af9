"""The values that can be selected, and what a selection changes.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_dashboard_variables.html
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from local_aws.dashboard.body import Body, BodyError, Choice, Variable, Widget
from local_aws.dashboard.metrics import finest_period

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

FIRST = "__FIRST"
"""Default value that stands for the first of the values found."""
MAX_CHOICES = 500
"""Values of a variable that the page offers: as many as a search finds.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html"""

Selection = Mapping[str, str]
"""The value of each variable by its id; "" where none is chosen."""


def find_choices(body: Body, client: CloudWatchClient, start: datetime, end: datetime) -> Body:
    """The same dashboard with the choices of all variables in place of their searches."""
    return replace(
        body,
        variables=tuple(
            replace(
                variable,
                choices=_not_chosen(variable) + variable.choices + _search(variable, client, start, end),
            )
            for variable in body.variables
        ),
    )


def _not_chosen(variable: Variable) -> tuple[Choice, ...]:
    """Without a default, nothing is chosen at first, and nothing is replaced."""
    return (Choice("", "—"),) if variable.default is None and variable.input_type != "input" else ()


def _search(
    variable: Variable, client: CloudWatchClient, start: datetime, end: datetime
) -> tuple[Choice, ...]:
    """The dimension's values, sorted, those without data between `start` and `end` left out."""
    if variable.search is None:
        return ()
    period = max(60, finest_period(start, end, datetime.now(timezone.utc)))
    query = {
        "Id": "search",
        "Expression": f"SEARCH('{variable.search}', 'SampleCount', {period})",
        "Label": f"${{PROP('Dim.{variable.populate_from}')}}",
    }
    pages = client.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[query],  # type: ignore[list-item]
        StartTime=start,
        EndTime=end,
    )
    found = {
        result["Label"] for page in pages for result in page["MetricDataResults"] if result["Timestamps"]
    }
    known = {choice.value for choice in variable.choices}
    return tuple(Choice(value, value) for value in sorted(found - known)[:MAX_CHOICES])


def default_selection(variables: Sequence[Variable], wanted: Selection | None = None) -> dict[str, str]:
    """What is selected at first: what is wanted, else each variable's default, else nothing."""
    wanted = {name: value for name, value in (wanted or {}).items() if value}
    selection = {}
    for variable in variables:
        values = [choice.value for choice in variable.choices]
        value = wanted.pop(variable.id, None)
        if value is None:
            value = variable.default or ""
            if value == FIRST:
                value = values[0] if values else ""
        elif variable.input_type != "input" and value not in values:
            raise BodyError(
                f"variable {variable.id}: expected one of {', '.join(values) or 'no value'}, found {value!r}"
            )
        selection[variable.id] = value
    if wanted:
        names = ", ".join(variable.id for variable in variables) or "none"
        raise BodyError(f"expected variables of the dashboard ({names}), found {', '.join(wanted)}")
    return selection


def selections(variables: Sequence[Variable], first: Selection, most: int) -> list[dict[str, str]]:
    """At most so many selections, the first at the front, then those that differ from it the least."""
    choices = [
        [first[variable.id], *(c.value for c in variable.choices if c.value != first[variable.id])]
        for variable in variables
    ]
    ids = [variable.id for variable in variables]
    found: list[dict[str, str]] = []
    # By the number of variables that differ; never the whole product, which may be huge.
    for differing in range(len(ids) + 1):
        for which in itertools.combinations(range(len(ids)), differing):
            options = [values[1:] if at in which else values[:1] for at, values in enumerate(choices)]
            for values in itertools.product(*options):
                if len(found) == most:
                    return found
                found.append(dict(zip(ids, values, strict=True)))
    return found


def apply(widget: Widget, variables: Sequence[Variable], selection: Selection) -> Widget:
    """The widget as it is under a selection."""
    properties: Any = widget.properties
    for variable in variables:
        if selection[variable.id]:
            change = _replace_pattern if variable.type == "pattern" else _replace_property
            properties = change(properties, variable.target, selection[variable.id])
    return replace(widget, properties=properties)


def _replace_pattern(source: Any, pattern: str, value: str) -> Any:
    """All matches in all texts replaced; of numbers, those that match as a whole."""
    match source:
        case dict():
            return {name: _replace_pattern(member, pattern, value) for name, member in source.items()}
        case list():
            return [_replace_pattern(member, pattern, value) for member in source]
        case str():
            return re.sub(pattern, lambda _: value, source)
        case int() | float() if not isinstance(source, bool) and re.fullmatch(pattern, str(source)):
            return _like(source, value)
    return source


def _replace_property(source: Any, name: str, value: str) -> Any:
    """The value of all JSON properties and of all metrics' dimensions of this name replaced."""
    match source:
        case dict():
            return {
                key: _like(member, value)
                if key == name and not isinstance(member, dict | list)
                else _replace_property(member, name, value)
                for key, member in source.items()
            }
        case list() if _is_metric(source):
            # Namespace, metric, then names and values of dimensions by turns. The options of a single metric
            # are taken for its own; whether CloudWatch does so, it does not say.
            result = list(source)
            for at in range(2, len(source) - 1, 2):
                if source[at] == name and isinstance(source[at + 1], str):
                    result[at + 1] = value
            return result
        case list():
            return [_replace_property(member, name, value) for member in source]
    return source


def _is_metric(source: list[Any]) -> bool:
    return len(source) >= 2 and isinstance(source[0], str) and isinstance(source[1], str)


def _like(old: Any, value: str) -> Any:
    """The value as a number where a number stood."""
    if isinstance(old, bool) or not isinstance(old, int | float):
        return value
    try:
        return int(value)
    except ValueError:
        return value
