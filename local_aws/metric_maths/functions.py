"""Functions of metric maths, in one table.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html#metric-math-syntax-functions-list
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from local_aws.metric_maths.values import (
    Array,
    MathsError,
    Series,
    Text,
    Value,
    Word,
    each,
    moments,
    unsupported,
)

# Points that FILL and TIME_SERIES may make of one series: what a GetMetricData request returns at most.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
MAX_POINTS = 100_800


@dataclass(frozen=True)
class Scope:
    """What an expression is evaluated in.

    The time range is [start, end) in seconds since the epoch; `period` (seconds) is that of a series made
    from a scalar. `metrics` are the request's metrics by Id, in its order; `reference` gives the value of any
    Id; `search` the time series that match (search expression, statistic, period or None).
    """

    start: int
    end: int
    period: int
    metrics: Mapping[str, Series]
    reference: Callable[[str], Value]
    search: Callable[[str, str, int | None], Array]

    def grid(self, period: int) -> range:
        """The seconds at which a period begins."""
        grid = range(self.start - self.start % period, self.end, period)
        if len(grid) > MAX_POINTS:
            raise MathsError(f"a time series of {len(grid)} data points exceeds the limit of {MAX_POINTS:,}")
        return grid


def _array(name: str, arguments: Sequence[Value], at: int = 0) -> Array:
    value = arguments[at]
    if not isinstance(value, list):
        raise unsupported(name, arguments)
    return value


def _scalar(name: str, arguments: Sequence[Value], at: int) -> float:
    value = arguments[at]
    if not isinstance(value, float):
        raise unsupported(name, arguments)
    return value


def _count(name: str, arguments: Sequence[Value], at: int) -> int:
    value = _scalar(name, arguments, at)
    if not (value >= 0 and value.is_integer()):
        raise MathsError(f"{name}: expected a whole number of 0 and more, found {value:g}")
    return int(value)


_Function = Callable[[str, Scope, Sequence[Value]], Value]
_Reduction = Callable[[Sequence[float]], float]


def _reduction(reduce: _Reduction, *, missing_is_0: bool = False) -> _Function:
    """A time series becomes a scalar; an array becomes a time series, point by point."""

    def function(name: str, scope: Scope, arguments: Sequence[Value]) -> Value:
        match arguments[0]:
            case Series(points=points):
                return float(reduce(list(points.values())))
            case list() as array:
                period = min((series.period for series in array), default=scope.period)
                found = []
                for at in moments(array):
                    values = [series.points[at] for series in array if at in series.points]
                    padding = [0.0] * (len(array) - len(values)) if missing_is_0 else []
                    found.append((at, float(reduce(values + padding))))
                return Series({}, period).with_points(found)
        raise unsupported(name, arguments)

    return function


def _or_none(reduce: Callable[[Sequence[float]], float]) -> _Reduction:
    """There is no average of nothing: not a number, which drops every point that it is used for."""
    return lambda values: reduce(values) if values else math.nan


_average = _or_none(lambda values: math.fsum(values) / len(values))
REDUCTIONS: Mapping[str, _Reduction] = {
    "AVG": _average,
    "MAX": _or_none(max),
    "MIN": _or_none(min),
    "SUM": math.fsum,
}


def _pointwise(convert: Callable[[float], float]) -> _Function:
    def of_series(series: Series) -> Series:
        return series.with_points((at, convert(value)) for at, value in series.points.items())

    return lambda name, scope, arguments: each(arguments[0], of_series, name)


def _logarithm(log: Callable[[float], float]) -> _Function:
    return _pointwise(lambda value: log(value) if value > 0 else math.nan)


def _stepwise(step: Callable[[float, float], float]) -> _Function:
    """`step` of (difference in value, difference in seconds) to the data point before."""

    def of_series(series: Series) -> Series:
        points = sorted(series.points.items())
        pairs = itertools.pairwise(points)
        return series.with_points((at, step(new - old, at - before)) for (before, old), (at, new) in pairs)

    return lambda name, scope, arguments: each(arguments[0], of_series, name)


def _calendar(part: Callable[[datetime], float]) -> _Function:
    def function(name: str, scope: Scope, arguments: Sequence[Value]) -> Value:
        match arguments[0]:
            case Series() as series:
                grid = scope.grid(series.period)
                times = ((at, datetime.fromtimestamp(at, timezone.utc)) for at in grid)
                return series.with_points((at, part(time)) for at, time in times)
        raise unsupported(name, arguments)

    return function


def _running_sum(name: str, scope: Scope, arguments: Sequence[Value]) -> Value:
    def of_series(series: Series) -> Series:
        total, sums = 0.0, []
        for at, value in sorted(series.points.items()):
            total += value
            sums.append((at, total))
        return series.with_points(sums)

    return each(arguments[0], of_series, name)


def _fill(name: str, scope: Scope, arguments: Sequence[Value]) -> Value:
    filler = arguments[1]

    def of_series(series: Series) -> Series:
        grid = scope.grid(series.period)
        match filler:
            case float():
                missing: Iterable[tuple[int, float]] = ((at, filler) for at in grid)
            case Series():
                missing = ((at, filler.points[at]) for at in grid if at in filler.points)
            case Word("REPEAT"):
                missing = _repeated(series, grid)
            case Word("LINEAR"):
                missing = _interpolated(series, grid)
            case _:
                raise unsupported(name, arguments)
        return series.with_points(sorted({**dict(missing), **series.points}.items()))

    return each(arguments[0], of_series, name)


def _repeated(series: Series, grid: Iterable[int]) -> Iterable[tuple[int, float]]:
    newest = math.nan
    for at in grid:
        newest = series.points.get(at, newest)
        yield at, newest


def _interpolated(series: Series, grid: range) -> Iterable[tuple[int, float]]:
    points = sorted(series.points.items())
    for (before, old), (after, new) in itertools.pairwise(points):
        for at in range(before + grid.step, after, grid.step):
            yield at, old + (new - old) * (at - before) / (after - before)


def _if(name: str, scope: Scope, arguments: Sequence[Value]) -> Value:
    condition, *branches = arguments
    if not all(isinstance(branch, float | Series) for branch in branches):
        raise unsupported(name, arguments)
    match condition:
        case float():
            chosen = branches[0] if condition else branches[1] if len(branches) == 2 else None
            return Series({}, scope.period) if chosen is None else chosen
        case Series(points=points):
            period = min([condition.period, *[b.period for b in branches if isinstance(b, Series)]])
            constant = isinstance(branches[0], float)
            found = []
            for at, value in points.items():
                branch = branches[0] if value else branches[1] if len(branches) == 2 else None
                if isinstance(branch, float):
                    found.append((at, branch))
                elif isinstance(branch, Series) and (at in branch.points or not constant):
                    # Of two metrics, what is missing in the chosen one counts as 0.
                    found.append((at, branch.points.get(at, 0.0)))
            return Series({}, period).with_points(found)
    raise unsupported(name, arguments)


def _sort(name: str, scope: Scope, arguments: Sequence[Value]) -> Value:
    array = _array(name, arguments)
    by, order = arguments[1], arguments[2]
    if not isinstance(by, Word) or by not in REDUCTIONS or order not in (Word("ASC"), Word("DESC")):
        raise MathsError(f"SORT: expected AVG, MIN, MAX or SUM, then ASC or DESC, found {by}, {order}")
    sign = 1 if order == "ASC" else -1

    def rank(series: Series) -> tuple[bool, float]:
        value = REDUCTIONS[by](list(series.points.values())) if series.points else 0.0
        return (not series.points, sign * value)

    limit = _count(name, arguments, 3) if len(arguments) > 3 else None
    return sorted(array, key=rank)[:limit]


def _slice(name: str, scope: Scope, arguments: Sequence[Value]) -> Value:
    bounds = [_count(name, arguments, at) for at in range(1, len(arguments))]
    return _array(name, arguments)[bounds[0] : bounds[1] if len(bounds) == 2 else None]


def _at_end(end: int) -> _Function:
    def function(name: str, scope: Scope, arguments: Sequence[Value]) -> Value:
        array = _array(name, arguments)
        return array[end] if array else Series({}, scope.period)

    return function


def _time_series(name: str, scope: Scope, arguments: Sequence[Value]) -> Value:
    value = _scalar(name, arguments, 0)
    return Series({}, scope.period).with_points((at, value) for at in scope.grid(scope.period))


def _period(name: str, scope: Scope, arguments: Sequence[Value]) -> Value:
    series = arguments[0]
    if not isinstance(series, Series) or not any(series is metric for metric in scope.metrics.values()):
        raise MathsError("PERIOD: expected the Id of a metric, found something else")
    return float(series.period)


def _metrics(name: str, scope: Scope, arguments: Sequence[Value]) -> Value:
    part = arguments[0] if arguments else Text("")
    if not isinstance(part, Text):
        raise unsupported(name, arguments)
    return [series for identifier, series in scope.metrics.items() if part in identifier]


def _search(name: str, scope: Scope, arguments: Sequence[Value]) -> Value:
    query, stat = arguments[:2]
    period = _count(name, arguments, 2) if len(arguments) > 2 else None
    if not isinstance(query, Text) or not isinstance(stat, Text):
        raise unsupported(name, arguments)
    return scope.search(query, stat, period)


# Name: the least and the most arguments, and what it does.
FUNCTIONS: Mapping[str, tuple[int, int, _Function]] = {
    "ABS": (1, 1, _pointwise(abs)),
    "AVG": (1, 1, _reduction(_average, missing_is_0=True)),
    "CEIL": (1, 1, _pointwise(lambda value: float(math.ceil(value)))),
    "DATAPOINT_COUNT": (1, 1, _reduction(len)),
    "DATE": (1, 1, _calendar(lambda moment: moment.day)),
    "DAY": (1, 1, _calendar(lambda moment: moment.isoweekday())),
    "DIFF": (1, 1, _stepwise(lambda value, seconds: value)),
    "DIFF_TIME": (1, 1, _stepwise(lambda value, seconds: seconds)),
    "EPOCH": (1, 1, _calendar(lambda moment: moment.timestamp())),
    "FILL": (2, 2, _fill),
    "FIRST": (1, 1, _at_end(0)),
    "FLOOR": (1, 1, _pointwise(lambda value: float(math.floor(value)))),
    "HOUR": (1, 1, _calendar(lambda moment: moment.hour)),
    "IF": (2, 3, _if),
    "LAST": (1, 1, _at_end(-1)),
    "LOG": (1, 1, _logarithm(math.log)),
    "LOG10": (1, 1, _logarithm(math.log10)),
    "MAX": (1, 1, _reduction(REDUCTIONS["MAX"])),
    "METRICS": (0, 1, _metrics),
    "METRIC_COUNT": (1, 1, lambda name, scope, arguments: float(len(_array(name, arguments)))),
    "MIN": (1, 1, _reduction(REDUCTIONS["MIN"])),
    "MINUTE": (1, 1, _calendar(lambda moment: moment.minute)),
    "MONTH": (1, 1, _calendar(lambda moment: moment.month)),
    "PERIOD": (1, 1, _period),
    "RATE": (1, 1, _stepwise(lambda value, seconds: value / seconds)),
    "REMOVE_EMPTY": (1, 1, lambda name, _, arguments: [s for s in _array(name, arguments) if s.points]),
    "RUNNING_SUM": (1, 1, _running_sum),
    "SEARCH": (2, 3, _search),
    "SLICE": (2, 3, _slice),
    "SORT": (3, 4, _sort),
    "STDDEV": (1, 1, _reduction(_or_none(statistics.pstdev))),
    "SUM": (1, 1, _reduction(math.fsum)),
    "TIME_SERIES": (1, 1, _time_series),
    "YEAR": (1, 1, _calendar(lambda moment: moment.year)),
}
# They read what local AWS does not have.
ELSEWHERE = frozenset(
    {"ANOMALY_DETECTION_BAND", "DB_PERF_INSIGHTS", "INSIGHT_RULE_METRIC", "LAMBDA", "SERVICE_QUOTA"}
)
