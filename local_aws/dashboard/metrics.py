"""Metric widgets: their metrics and expressions become one GetMetricData call, its answer series to draw."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from local_aws.dashboard.body import BodyError, Widget
from local_aws.dashboard.clients import moment, seconds

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

VIEWS = ("timeSeries", "singleValue", "bar", "pie", "gauge", "table")
PERIODS = (1, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400)
"""Periods, in seconds, that are chosen from.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricStat.html"""
KEPT = (
    (timedelta(hours=3), 60),
    (timedelta(days=15), 300),
    (timedelta(days=63), 3600),
)
"""Up to which age CloudWatch keeps points, and the period of those kept longer; of the same source."""
MAX_POINTS = 1440
"""Points of a series; longer times are drawn with a longer period."""
MAX_SERIES = 500
"""Series of a widget: as many as a search finds at most.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html"""
DEFAULT_STATISTIC = "Average"


@dataclass
class Series:
    """One line: what it is called, how it is drawn, and its points, oldest first."""

    label: str
    color: str | None
    axis: str
    times: list[int] = field(default_factory=list)
    """Seconds since the epoch."""
    values: list[float] = field(default_factory=list)


def show(widget: Widget, client: CloudWatchClient, start: datetime, end: datetime) -> dict[str, Any]:
    """What a metric widget shows, as the page takes it."""
    properties = widget.properties
    view = properties.get("view", "timeSeries")
    if view not in VIEWS:
        raise BodyError(f"view: expected one of {', '.join(VIEWS)}, found {view!r}")
    whole = bool(properties.get("setPeriodToTimeRange")) and view != "timeSeries"
    finest = finest_period(start, end, datetime.now(timezone.utc))
    if whole:
        start, end, finest = covering(start, end)
    queries, notes = make_queries(properties, finest)
    if whole:
        notes = []
    series, messages = ask(client, queries, styles(properties), start, end) if queries else ([], [])
    if len(series) > MAX_SERIES:
        notes.append(f"The first {MAX_SERIES} of {len(series)} series")
    return {
        "view": view,
        "series": [vars(one) for one in series[:MAX_SERIES]],
        "notes": notes + messages,
        "stacked": properties.get("stacked") is True,
        "sparkline": properties.get("sparkline") is True,
        "legend": (properties.get("legend") or {}).get("position", "bottom"),
        "axes": properties.get("yAxis") or {},
        "annotations": marks(properties.get("annotations") or {}),
        "table": properties.get("table") or {},
    }


def finest_period(start: datetime, end: datetime, now: datetime) -> int:
    """The shortest period, in seconds, that CloudWatch still has and that needs at most `MAX_POINTS`."""
    least = (end - start).total_seconds() / MAX_POINTS
    kept = max((period for age, period in KEPT if now - start > age), default=1)
    return next((period for period in PERIODS if period >= max(least, kept)), PERIODS[-1])


def covering(start: datetime, end: datetime) -> tuple[datetime, datetime, int]:
    """The shortest period, in seconds, that holds the whole time, with its begin and end.

    Periods begin at multiples of their length; a value for the whole time needs one that holds all of it.
    """
    first, last = seconds(start), math.ceil(end.timestamp()) - 1
    period = 60
    while first // period != last // period:
        period += 60
    begin = first - first % period
    return moment(begin), moment(begin + period), period


def make_queries(properties: Mapping[str, Any], finest: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The widget's rows as GetMetricData takes them, and a note when their periods had to be made longer.

    `finest` is the shortest period that can be, and that of rows which say none.
    """
    notes = []
    rows = [_Row.of(row, properties) for row in properties.get("metrics") or []]
    taken = {row.options["id"] for row in rows if "id" in row.options}
    queries = []
    for number, row in enumerate(rows):
        options = row.options
        identifier = options.get("id")
        if identifier is None:
            identifier = next(name for name in _names(number) if name not in taken)
            taken.add(identifier)
        wanted = options.get("period", properties.get("period", finest))
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
            raise BodyError(f"period: expected a number of seconds, found {wanted!r}")
        period = max(wanted, finest)
        if period > wanted:
            notes = [f"Each point stands for {finest:,} s"]
        query: dict[str, Any] = {"Id": identifier, "ReturnData": options.get("visible") is not False}
        label = options.get("label", row.label(rows))
        if label is not None:
            query["Label"] = label
        if "expression" in options:
            query |= {"Expression": options["expression"], "Period": period}
        else:
            namespace, name, *pairs = row.names
            query["MetricStat"] = {
                "Metric": {
                    "Namespace": namespace,
                    "MetricName": name,
                    "Dimensions": [
                        {"Name": key, "Value": value}
                        for key, value in zip(pairs[::2], pairs[1::2], strict=True)
                    ],
                },
                "Stat": row.statistic,
                "Period": period,
            }
        queries.append(query)
    return queries, notes


def styles(properties: Mapping[str, Any]) -> list[tuple[str | None, str]]:
    """The color (None: the page chooses) and the axis, left or right, of each row."""
    return [
        (row[-1].get("color"), "right" if row[-1].get("yAxis") == "right" else "left")
        for row in properties.get("metrics") or []
    ]


def _names(number: int) -> Iterable[str]:
    yield f"m{number + 1}"
    suffix = 1
    while True:
        yield f"m{number + 1}_{suffix}"
        suffix += 1


@dataclass(frozen=True)
class _Row:
    names: list[str]
    options: Mapping[str, Any]
    statistic: str

    @staticmethod
    def of(row: list[Any], properties: Mapping[str, Any]) -> _Row:
        *names, options = row
        return _Row(names, options, options.get("stat") or properties.get("stat") or DEFAULT_STATISTIC)

    def label(self, rows: list[_Row]) -> str | None:
        """The metric's name, and what tells it apart from its like; an expression is left to CloudWatch."""
        if "expression" in self.options:
            return None
        like = [
            row
            for row in rows
            if row.names and row.names[1] == self.names[1] and not row.options.get("label")
        ]
        # Names and values of dimensions by turns: the values tell apart.
        parts = [
            value
            for at, value in enumerate(self.names)
            if at >= 3 and at % 2 and any(row.names[at : at + 1] != [value] for row in like)
        ]
        parts.append(self.names[1])
        if any(row.statistic != self.statistic for row in like):
            parts.append(self.statistic)
        return " ".join(parts)


def ask(
    client: CloudWatchClient,
    queries: list[dict[str, Any]],
    looks: list[tuple[str | None, str]],
    start: datetime,
    end: datetime,
) -> tuple[list[Series], list[str]]:
    """The series with points, in the order of the queries, and what CloudWatch has to say about them."""
    look = {query["Id"]: style for query, style in zip(queries, looks, strict=True)}
    found: dict[tuple[str, str], Series] = {}
    messages: list[str] = []
    pages = client.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries,  # type: ignore[arg-type]
        StartTime=start,
        EndTime=end,
        ScanBy="TimestampAscending",
    )
    for page in pages:
        messages += [_message(message) for message in page.get("Messages", [])]
        for result in page["MetricDataResults"]:
            identifier, label = result["Id"], result.get("Label", result["Id"])
            messages += [_message(message) for message in result.get("Messages", [])]
            series = found.setdefault((identifier, label), Series(label, *look[identifier]))
            series.times += [seconds(time) for time in result["Timestamps"]]
            series.values += result["Values"]
    order = list(look)
    ordered = sorted(found.items(), key=lambda item: order.index(item[0][0]))
    return [series for _, series in ordered if series.times], list(dict.fromkeys(messages))


def _message(message: Mapping[str, Any]) -> str:
    return f"{message.get('Code', '')}: {message.get('Value', '')}"


def marks(source: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Lines and bands over a graph: horizontal ones at values, vertical ones at times (seconds)."""
    result: dict[str, list[dict[str, Any]]] = {"horizontal": [], "vertical": []}
    for direction, found in result.items():
        for mark in source.get(direction) or []:
            # A band is a pair: from the first to the second.
            pair = mark if isinstance(mark, list) else [mark]
            if not all(isinstance(side, dict) and "value" in side for side in pair) or not pair:
                raise BodyError(f"annotations.{direction}: expected objects with a value, found {mark!r}")
            if pair[0].get("visible") is False:
                continue
            found.append(
                {
                    "from": _position(pair[0]["value"], direction),
                    "to": _position(pair[1]["value"], direction) if len(pair) > 1 else None,
                    "label": str(pair[0].get("label") or ""),
                    "color": pair[0].get("color"),
                    "fill": pair[0].get("fill"),
                    "axis": "right" if pair[0].get("yAxis") == "right" else "left",
                }
            )
    return result


def _position(value: Any, direction: str) -> float:
    if direction == "vertical":
        try:
            return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
        except ValueError:
            raise BodyError(f"annotations.vertical: expected a time (ISO 8601), found {value!r}") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BodyError(f"annotations.horizontal: expected a number, found {value!r}")
    return float(value)
