"""What expressions compute with: scalars, time series, arrays of time series, and words as arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace


class MathsError(Exception):
    """An expression that CloudWatch would refuse, or that is not evaluated here."""


@dataclass(frozen=True)
class Metric:
    """The metric and statistic that a time series was read from; `dimensions` as (name, value)."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    stat: str


@dataclass(frozen=True)
class Series:
    """Data points by the second (since the epoch) at which their period begins, oldest first.

    `period` is in seconds; `label` and `metric` tell where it came from, as far as that is one metric.
    """

    points: Mapping[int, float]
    period: int
    label: str = ""
    metric: Metric | None = None

    def with_points(self, points: Iterable[tuple[int, float]]) -> Series:
        """The same series with other data points; those that are no finite numbers are dropped."""
        return replace(self, points={at: value for at, value in points if math.isfinite(value)})


class Text(str):
    """A quoted string."""

    __slots__ = ()


class Word(str):
    """A keyword, such as REPEAT or DESC."""

    __slots__ = ()


Array = list[Series]
Value = float | Series | Array | Text | Word


def kind(value: Value) -> str:
    """A value's type, as error messages call it."""
    match value:
        case Series():
            return "TimeSeries"
        case list():
            return "Array[TimeSeries]"
        case Text():
            return "String"
        case Word():
            return f"keyword {value}"
    return "Scalar"


def unsupported(operation: str, arguments: Iterable[Value]) -> MathsError:
    """The error about arguments of the wrong type."""
    kinds = ", ".join(kind(argument) for argument in arguments)
    return MathsError(f"Unsupported operand type(s) for {operation}: '[{kinds}]'")


def moments(series: Iterable[Series]) -> list[int]:
    """All seconds at which any of the series has a data point, oldest first."""
    return sorted({at for one in series for at in one.points})


def combine(left: Series, right: Series, operation: Callable[[float, float], float]) -> Series:
    """Point by point, where either has one: a missing value counts as 0."""
    found = (
        (at, operation(left.points.get(at, 0.0), right.points.get(at, 0.0))) for at in moments((left, right))
    )
    return Series({}, min(left.period, right.period)).with_points(found)


def each(value: Value, operation: Callable[[Series], Series], name: str) -> Value:
    """`operation` on a time series, or on each one of an array."""
    match value:
        case Series():
            return operation(value)
        case list():
            return [operation(series) for series in value]
    raise unsupported(name, [value])
