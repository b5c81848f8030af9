"""The state of metric alarms, worked out from the metrics when somebody asks.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html

Periods are aligned to multiples of their length; CloudWatch moves longer ones on by the minute.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from local_aws.cloudwatch.metric_data import get_metric_data
from local_aws.cloudwatch.reading import to_time
from local_aws.cloudwatch.store import MetricStore
from local_aws.errors import AwsError

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]

# Data points fetched beyond the evaluation periods: 5 for 3 in the documentation's examples.
EXTRA_POINTS = 2
# How far back, in periods, the state is followed: what was longer ago than that has no say.
FOLLOWED_PERIODS = 1000

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


def evaluated(alarm: Mapping[str, Any], store: MetricStore, now: datetime) -> dict[str, Any]:
    """A described alarm with the state that it has now."""
    try:
        state, reason = _follow(alarm, store, now)
    except AwsError as error:
        state, reason = "INSUFFICIENT_DATA", f"Unable to evaluate: {error.message}"
    return {**alarm, "StateValue": state, "StateReason": reason}


def _follow(alarm: Mapping[str, Any], store: MetricStore, now: datetime) -> tuple[State, str]:
    """The state after each period has been evaluated in turn, as some of them keep the state as it is."""
    compare = _COMPARISONS.get(alarm["ComparisonOperator"])
    if compare is None or alarm.get("Threshold") is None:
        return "INSUFFICIENT_DATA", f"local AWS does not evaluate {alarm['ComparisonOperator']}"
    needed = int(alarm["EvaluationPeriods"])
    to_alarm = int(alarm.get("DatapointsToAlarm") or needed)
    treatment = alarm.get("TreatMissingData") or "missing"
    queries, period = _queries(alarm)
    fetched = needed + EXTRA_POINTS
    end = int(now.timestamp()) // period * period
    first = end - (FOLLOWED_PERIODS + fetched) * period
    answer = get_metric_data(
        store, {"MetricDataQueries": queries, "StartTime": to_time(first), "EndTime": to_time(end)}, now
    )
    breaching = {
        int(moment.timestamp()): compare(value, float(alarm["Threshold"]))
        for result in answer["MetricDataResults"]  # alarms are on one time series
        for moment, value in zip(result["Timestamps"], result["Values"], strict=True)
    }
    state: State = "INSUFFICIENT_DATA"
    window: list[bool | None] = []
    for at in range(min(breaching, default=end), end + period, period):
        window = [breaching.get(at - back * period) for back in range(fetched, 0, -1)]
        state = next_state(window, needed, to_alarm, treatment, state)
    shown = "".join("-" if point is None else "X" if point else "0" for point in window)
    return state, (
        f"{to_alarm} of {needed} data points decide, over the threshold {alarm['Threshold']:g}"
        f" ({alarm['ComparisonOperator']}); newest last, X breaching, - missing: {shown}"
    )


def _queries(alarm: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """GetMetricData's queries, one of which returns data, and the period in seconds."""
    if metrics := alarm.get("Metrics"):
        periods = [query["MetricStat"]["Period"] for query in metrics if query.get("MetricStat")]
        periods += [query["Period"] for query in metrics if query.get("Period")]
        return list(metrics), int(max(periods, default=60))
    metric = {name: alarm.get(name) for name in ("Namespace", "MetricName", "Dimensions")}
    stat = {
        "Metric": metric,
        "Period": alarm["Period"],
        "Stat": alarm.get("Statistic") or alarm.get("ExtendedStatistic"),
        "Unit": alarm.get("Unit"),
    }
    return [{"Id": "metric", "MetricStat": stat}], int(alarm["Period"])


def next_state(
    window: Sequence[bool | None], needed: int, to_alarm: int, treatment: str, state: State
) -> State:
    """The state after the data points in `window` (oldest first; None: missing) have been evaluated.

    `to_alarm` of `needed` breaching ones make an alarm; `state` is the one before.
    """
    existing = [point for point in window if point is not None]
    if len(existing) >= needed:
        return "ALARM" if sum(existing[-needed:]) >= to_alarm else "OK"
    filled = needed - len(existing) if treatment == "breaching" else 0
    if sum(existing) + filled >= to_alarm:
        return "ALARM"
    if treatment in ("breaching", "notBreaching") or False in existing:
        return "OK"
    if treatment == "ignore":
        return state
    if not existing:
        return "INSUFFICIENT_DATA"
    # All that exist are breaching: an alarm once the oldest of them is old enough.
    oldest = len(window) - list(window).index(True)
    return "ALARM" if oldest >= to_alarm else state
