"""What stats calls on the rows of a group.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Stats.html#CWL_QuerySyntax-stats-functions

An aggregate gets the values that are there, each with its row's time (milliseconds, None if unknown), in
the order of the rows; a missing result (None) is no result.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from local_aws.insights.values import QueryError, number, sort_key, text

Found = Sequence[tuple[Any, int | None]]


def _values(found: Found) -> list[Any]:
    return [value for value, _ in found]


def _numbers(found: Found) -> list[float]:
    return [as_number for value, _ in found if (as_number := number(value)) is not None]


def _of_numbers(reduce: Callable[[list[float]], float]) -> Callable[[Found], Any]:
    def aggregate(found: Found) -> float | None:
        numbers = _numbers(found)
        try:
            return reduce(numbers) if numbers else None
        except OverflowError:
            return None

    return aggregate


def _of_values(reduce: Callable[[list[Any]], Any]) -> Callable[[Found], Any]:
    return lambda found: reduce(_values(found)) if found else None


def _first(values: list[Any]) -> Any:
    return min(values, key=sort_key)


def _last(values: list[Any]) -> Any:
    return max(values, key=sort_key)


def _distinct(found: Found) -> dict[str, Any]:
    return {text(value): value for value, _ in found}


def _times(found: Found) -> list[tuple[int, Any]]:
    times = [(time, value) for value, time in found if time is not None]
    if len(times) < len(found):
        raise QueryError("earliest and latest need @timestamp, which is gone after an earlier stats")
    return times


def _earliest(found: Found) -> Any:
    return min(_times(found), key=lambda item: item[0], default=(0, None))[1]


def _latest(found: Found) -> Any:
    return max(_times(found), key=lambda item: item[0], default=(0, None))[1]


def percentile(numbers: Sequence[float], percent: float) -> float:
    """The smallest number with at least `percent` % of all at or below it."""
    ordered = sorted(numbers)
    rank = math.ceil(percent / 100 * len(ordered) * (1 - 1e-12))
    return ordered[min(max(rank, 1), len(ordered)) - 1]


AGGREGATES: Mapping[str, Callable[[Found], Any]] = {
    "avg": _of_numbers(lambda numbers: math.fsum(numbers) / len(numbers)),
    "count": len,
    "count_distinct": lambda found: len(_distinct(found)),
    "countdistinct": lambda found: len(_distinct(found)),
    "earliest": _earliest,
    "latest": _latest,
    "max": _of_values(_last),
    "min": _of_values(_first),
    "sortsfirst": _of_values(_first),
    "sortslast": _of_values(_last),
    "stddev": _of_numbers(statistics.pstdev),
    "sum": _of_numbers(math.fsum),
    "values": lambda found: list(_distinct(found).values()),
    "variance": _of_numbers(statistics.pvariance),
}
# With an argument of its own, beside the field.
PERCENTILE = "pct"
