"""GetMetricData: metrics, expressions over them, and what SEARCH finds.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple, NoReturn

from local_aws.cloudwatch.reading import (
    LISTED_FOR,
    STATISTICS,
    by_period,
    check_period,
    check_statistic,
    from_token,
    key_of,
    seconds_range,
    statistic,
    to_time,
    to_token,
)
from local_aws.cloudwatch.store import MetricKey, MetricStore
from local_aws.errors import AwsError
from local_aws.metric_maths import labels
from local_aws.metric_maths.expression import evaluate
from local_aws.metric_maths.functions import Scope
from local_aws.metric_maths.search import compile_search
from local_aws.metric_maths.values import Array, MathsError, Metric, Series

MAX_QUERIES = 500
MAX_DATAPOINTS = 100_800
# Search expressions on a graph, and time series that it displays.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html
MAX_SEARCHES = 100
MAX_FOUND = 500
# A graph's period, where neither the search nor its query gives one.
DEFAULT_PERIOD = 300

_ID = re.compile(r"[a-z][a-zA-Z0-9_]{0,254}")
_ZONE = re.compile(r"([+-])(\d{2})(\d{2})")
_TOO_MANY = {"Code": "MaxMetricsExceeded", "Value": "Maximum number of allowed metrics exceeded"}


def get_metric_data(store: MetricStore, parameters: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Answer GetMetricData; data points are aligned to multiples of the period.

    Whatever is wrong with a request, other than its token, is a ValidationError.
    """
    try:
        return _answer(store, parameters, now)
    except AwsError as error:
        if error.code in ("InvalidParameterValue", "MissingParameter"):
            _refuse(error.message)
        raise


def _answer(store: MetricStore, parameters: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    queries = parameters.get("MetricDataQueries") or []
    if not queries or len(queries) > MAX_QUERIES:
        _refuse(
            f"The collection MetricDataQueries must have 1 to {MAX_QUERIES} members, found {len(queries)}."
        )
    limit = int(parameters.get("MaxDatapoints") or MAX_DATAPOINTS)
    if not 1 <= limit <= MAX_DATAPOINTS:
        _refuse(
            f"The value {limit} for parameter MaxDatapoints is invalid: it must be 1 to {MAX_DATAPOINTS}."
        )
    newest_first = parameters.get("ScanBy", "TimestampDescending") != "TimestampAscending"
    request = _Request(store, parameters, now, queries)
    results = [
        _Result(identifier, series.label, sorted(series.points.items(), reverse=newest_first))
        for identifier, query in request.queries.items()
        if query.get("ReturnData", True)
        for series in request.series(identifier)
    ]
    page = _page(results, from_token(parameters.get("NextToken")), limit)
    page["Messages"] = [_TOO_MANY] if request.found_too_many else []
    return page


class _Result(NamedTuple):
    id: str
    label: str
    points: Sequence[tuple[int, float]]


def _page(results: Sequence[_Result], start: int, limit: int) -> dict[str, Any]:
    """The data points [start, start + limit) of all series laid end to end."""
    answers = []
    at = 0
    for result in results:
        part = result.points[max(start - at, 0) : max(start + limit - at, 0)]
        complete = at + len(result.points) <= start + limit
        at += len(result.points)
        answers.append(
            {
                "Id": result.id,
                "Label": result.label,
                "Timestamps": [to_time(second) for second, _ in part],
                "Values": [value for _, value in part],
                "StatusCode": "Complete" if complete else "PartialData",
            }
        )
    page: dict[str, Any] = {"MetricDataResults": answers}
    if at > start + limit:
        page["NextToken"] = to_token(start + limit)
    return page


class _Request:
    """One request's queries by Id, evaluated as they are needed."""

    def __init__(
        self,
        store: MetricStore,
        parameters: Mapping[str, Any],
        now: datetime,
        queries: Sequence[Mapping[str, Any]],
    ) -> None:
        self._store = store
        self._parameters = parameters
        self._now = now
        self._zone = _zone(parameters)
        self._searches = 0
        self.found_too_many = False
        self.queries: dict[str, Mapping[str, Any]] = {}
        metrics: dict[str, Series] = {}
        for number, query in enumerate(queries, 1):
            path = f"MetricDataQueries.member.{number}"
            identifier = str(query.get("Id", ""))
            if not _ID.fullmatch(identifier) or identifier in self.queries:
                _refuse(f"The value {identifier!r} for parameter {path}.Id is invalid or used twice.")
            if bool(query.get("MetricStat")) == bool(query.get("Expression")):
                _refuse(f"{path}: exactly one of MetricStat and Expression must be specified.")
            if "Period" in query:
                check_period(query["Period"], f"{path}.Period")
            self.queries[identifier] = query
            if stat := query.get("MetricStat"):
                metrics[identifier] = self._metric(stat, f"{path}.MetricStat")
        defaults = labels.distinguish([series.metric for series in metrics.values() if series.metric])
        self._metrics = {
            identifier: replace(series, label=self._label(identifier, series, default))
            for (identifier, series), default in zip(metrics.items(), defaults, strict=True)
        }
        self._values: dict[str, Series | Array] = dict(self._metrics)
        self._pending: list[str] = []

    def series(self, identifier: str) -> Array:
        """The time series of a query, each with its label: several for an array."""
        value = self._value(identifier)
        return [value] if isinstance(value, Series) else value

    def _named(self, identifier: str, value: Series | Array) -> Series | Array:
        """An expression's value with its labels: for an array, that of the expression and each one's own."""
        if isinstance(value, Series):
            return replace(value, label=self._label(identifier, value, identifier))
        template = self.queries[identifier].get("Label") or ""
        defaults = [series.label or identifier for series in value]
        if template and not labels.is_dynamic(template):
            names = [f"{template} {default}" for default in defaults]
        else:
            names = [
                self._label(identifier, series, default)
                for series, default in zip(value, defaults, strict=True)
            ]
        return [replace(series, label=name) for series, name in zip(value, names, strict=True)]

    def _label(self, identifier: str, series: Series, default: str) -> str:
        template = self.queries[identifier].get("Label")
        if not template:
            return default
        try:
            return labels.render(template, series, default, self._now, self._zone)
        except MathsError as error:
            _refuse(f"Error in the label of '{identifier}': {error}")

    def _value(self, identifier: str) -> Series | Array:
        """A query's value; an expression may refer to others, though not to itself."""
        if identifier in self._values:
            return self._values[identifier]
        if identifier not in self.queries:
            raise MathsError(f"'{identifier}' is not the Id of a query")
        if identifier in self._pending:
            raise MathsError(f"circular reference: {' -> '.join([*self._pending, identifier])}")
        self._pending.append(identifier)
        query = self.queries[identifier]
        try:
            self._values[identifier] = self._named(identifier, self._evaluate(query))
        except MathsError as error:
            _refuse(f"Error in expression '{identifier}': {error}")
        finally:
            self._pending.pop()
        return self._values[identifier]

    def _evaluate(self, query: Mapping[str, Any]) -> Series | Array:
        if re.match(r"\s*SELECT\b", query["Expression"], re.IGNORECASE):
            raise MathsError("local AWS does not evaluate Metrics Insights queries (SELECT)")
        periods = [series.period for series in self._metrics.values()]
        period = int(query.get("Period") or min(periods, default=DEFAULT_PERIOD))
        start, end = seconds_range(self._parameters, period)

        def search(text: str, stat: str, given: int | None) -> Array:
            return self._search(text, stat, given or query.get("Period") or DEFAULT_PERIOD)

        return evaluate(query["Expression"], Scope(start, end, period, self._metrics, self._value, search))

    def _search(self, text: str, stat: str, period: int) -> Array:
        """The metrics with data in the last two weeks that a search expression finds, sorted by name."""
        self._searches += 1
        if self._searches > MAX_SEARCHES:
            raise MathsError(f"expected at most {MAX_SEARCHES} search expressions in a request")
        matches = compile_search(text)
        oldest = (self._now - LISTED_FOR).timestamp()
        found = [key for key in self._store.keys() if matches(*key) and self._store.newest(key) >= oldest]  # noqa: SIM118  # no dict
        if len(found) > MAX_FOUND:
            self.found_too_many = True
            del found[MAX_FOUND:]
        array = [self._read(key, stat, period, None, "SEARCH") for key in found]
        names = labels.distinguish([series.metric for series in array if series.metric])
        return [replace(series, label=name) for series, name in zip(array, names, strict=True)]

    def _metric(self, query: Mapping[str, Any], path: str) -> Series:
        metric = query.get("Metric") or {}
        for name in ("Namespace", "MetricName"):
            if not metric.get(name):
                _refuse(f"The parameter {path}.Metric.{name} is required.")
        if "Stat" not in query or "Period" not in query:
            _refuse(f"The parameters {path}.Stat and {path}.Period are required.")
        return self._read(key_of(metric), query["Stat"], query["Period"], query.get("Unit"), path)

    def _read(self, key: MetricKey, stat: str, seconds: Any, unit: str | None, path: str) -> Series:
        """A metric's data points; units are merged unless one is asked for."""
        check_statistic(stat, percentile=stat not in STATISTICS)
        period = check_period(seconds, f"{path}.Period")
        start, end = seconds_range(self._parameters, period)
        found = by_period(self._store, key, period, start, end, self._now, unit=unit)
        points = {second: statistic(distribution, stat) for second, distribution in found.items()}
        known = {second: value for second, value in points.items() if value is not None}
        return Series(known, period, metric=Metric(*key, stat))


def _zone(parameters: Mapping[str, Any]) -> timezone:
    """The time zone of times in labels: +hhmm or -hhmm."""
    text = (parameters.get("LabelOptions") or {}).get("Timezone") or "+0000"
    found = _ZONE.fullmatch(text)
    if not found:
        _refuse(f"The value {text} for parameter LabelOptions.Timezone is invalid: it must be like +0130.")
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-offset if found[1] == "-" else offset)


def _refuse(message: str) -> NoReturn:
    raise AwsError(400, "ValidationError", message, "ValidationException")
