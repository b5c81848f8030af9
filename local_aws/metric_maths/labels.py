"""What a time series is called: by what tells it apart from the others, or by a label with placeholders.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/graph-dynamic-labels.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone

from local_aws.metric_maths.values import MathsError, Metric, Series

# "You can add as many as six dynamic values to a label."
MAX_PLACEHOLDERS = 6

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_PROPERTY = re.compile(r"PROP\('([^']*)'\)")


def distinguish(metrics: Sequence[Metric]) -> list[str]:
    """A label for each metric: namespace, dimension values and metric name, as far as they differ."""
    names = sorted({name for metric in metrics for name, _ in metric.dimensions})
    rows = [
        [metric.namespace, *[dict(metric.dimensions).get(name, "") for name in names], metric.name]
        for metric in metrics
    ]
    differing = [at for at, column in enumerate(zip(*rows, strict=True)) if len(set(column)) > 1]
    return [" ".join(row[at] for at in differing if row[at]) or row[-1] for row in rows]


def render(template: str, series: Series, default: str, now: datetime, zone: timezone) -> str:
    """A label with its placeholders filled in; `${LABEL}` is `default`. Raises `MathsError`.

    A value of a series without data points is `--`.
    """
    placeholders = _PLACEHOLDER.findall(template)
    if len(placeholders) > MAX_PLACEHOLDERS:
        raise MathsError(
            f"a label can have {MAX_PLACEHOLDERS} dynamic values, found {len(placeholders)} in {template!r}"
        )
    if placeholders.count("LABEL") > 1:
        raise MathsError(f"a label can have ${{LABEL}} once, found it more often in {template!r}")

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name == "LABEL":
            return default
        if found := _PROPERTY.fullmatch(name):
            return _property(found[1], series)
        if name not in _LIVE:
            raise MathsError(f"unknown dynamic value ${{{name}}} in the label {template!r}")
        points = sorted(series.points.items())
        return _LIVE[name](points, now, zone) if points else "--"

    return _PLACEHOLDER.sub(fill, template)


def is_dynamic(template: str) -> bool:
    """Whether a label has placeholders."""
    return _PLACEHOLDER.search(template) is not None


def _property(name: str, series: Series) -> str:
    metric = series.metric
    match name:
        case "Period":
            return str(series.period)
        case "Namespace" | "MetricName" | "Stat" if metric:
            return {"Namespace": metric.namespace, "MetricName": metric.name, "Stat": metric.stat}[name]
        case _ if name.startswith("Dim.") and metric:
            return dict(metric.dimensions).get(name.removeprefix("Dim."), "")
        case "Namespace" | "MetricName" | "Stat":
            return ""  # of an expression over several metrics
        case _ if name.startswith("Dim."):
            return ""
    raise MathsError(f"unknown property {name!r} in a label")


_Points = Sequence[tuple[int, float]]
_Live = Callable[[_Points, datetime, timezone], str]


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _span(seconds: float) -> str:
    return str(timedelta(seconds=abs(round(seconds))))


def _value(choose: Callable[[_Points], float]) -> _Live:
    return lambda points, now, zone: _number(choose(points))


def _time(choose: Callable[[_Points], tuple[int, float]]) -> _Live:
    return lambda points, now, zone: f"{datetime.fromtimestamp(choose(points)[0], zone):%Y-%m-%d %H:%M:%S}"


def _since(choose: Callable[[_Points], tuple[int, float]]) -> _Live:
    return lambda points, now, zone: _span(now.timestamp() - choose(points)[0])


def _first(points: _Points) -> tuple[int, float]:
    return points[0]


def _last(points: _Points) -> tuple[int, float]:
    return points[-1]


def _highest(points: _Points) -> tuple[int, float]:
    return max(points, key=lambda point: point[1])


def _lowest(points: _Points) -> tuple[int, float]:
    return min(points, key=lambda point: point[1])


_LIVE: Mapping[str, _Live] = {
    "AVG": _value(lambda points: sum(value for _, value in points) / len(points)),
    "SUM": _value(lambda points: sum(value for _, value in points)),
    "DATAPOINT_COUNT": _value(len),
    "FIRST_LAST_RANGE": _value(lambda points: abs(_last(points)[1] - _first(points)[1])),
    "MIN_MAX_RANGE": _value(lambda points: _highest(points)[1] - _lowest(points)[1]),
    "FIRST_LAST_TIME_RANGE": lambda points, now, zone: _span(_last(points)[0] - _first(points)[0]),
    "MIN_MAX_TIME_RANGE": lambda points, now, zone: _span(_highest(points)[0] - _lowest(points)[0]),
    **{
        f"{name}{suffix}": live
        for name, choose in (("FIRST", _first), ("LAST", _last), ("MAX", _highest), ("MIN", _lowest))
        for suffix, live in (
            ("", _value(lambda points, choose=choose: choose(points)[1])),  # type: ignore[misc]
            ("_TIME", _time(choose)),
            ("_TIME_RELATIVE", _since(choose)),
        )
    },
}
