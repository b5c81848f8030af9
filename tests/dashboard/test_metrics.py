"""Metric widgets: what they ask, and what they make of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_aws.dashboard.body import BodyError, Widget, expand
from local_aws.dashboard.metrics import MAX_SERIES, covering, finest_period, make_queries, show

START = datetime(2026, 11, 21, 10, 0, 30, tzinfo=timezone.utc)
END = START + timedelta(minutes=1)


class CloudWatch:
    """Answers with what it is given, page by page, and keeps what it was asked."""

    def __init__(self, *pages: dict[str, Any]) -> None:
        self.pages = pages
        self.asked: dict[str, Any] = {}

    def get_paginator(self, _: str) -> CloudWatch:
        return self

    def paginate(self, **parameters: Any) -> Iterator[dict[str, Any]]:
        self.asked = parameters
        return iter(self.pages)


def result(identifier: str, label: str, *values: float, after: int = 0) -> dict[str, Any]:
    times = [START + timedelta(seconds=after + at) for at in range(len(values))]
    return {"Id": identifier, "Label": label, "Timestamps": times, "Values": list(values)}


def shown(cloudwatch: CloudWatch, **properties: Any) -> dict[str, Any]:
    properties["metrics"] = expand(properties["metrics"], "metrics")
    return show(Widget("metric", 0, 0, 6, 6, properties), cloudwatch, START, END)  # type: ignore[arg-type]


def queries(**properties: Any) -> list[dict[str, Any]]:
    properties["metrics"] = expand(properties["metrics"], "metrics")
    return make_queries(properties, 1)[0]


def test_a_metric_is_asked_with_its_statistic_and_period() -> None:
    asked = queries(
        stat="Sum", metrics=[["A", "b", "D", "1", {"period": 5, "visible": False, "id": "b", "label": "B"}]]
    )
    metric = {"Namespace": "A", "MetricName": "b", "Dimensions": [{"Name": "D", "Value": "1"}]}
    stat = {"Metric": metric, "Stat": "Sum", "Period": 5}
    assert asked == [{"Id": "b", "ReturnData": False, "Label": "B", "MetricStat": stat}]


def test_an_expression_keeps_its_label_even_if_that_is_empty() -> None:
    asked = queries(metrics=[[{"expression": "SEARCH('x', 'Sum')", "label": ""}], [{"expression": "m1 * 2"}]])
    assert asked[0] == {
        "Id": "m1",
        "ReturnData": True,
        "Label": "",
        "Expression": "SEARCH('x', 'Sum')",
        "Period": 1,
    }
    assert "Label" not in asked[1]


def test_ids_are_made_where_none_is_given_and_never_twice() -> None:
    rows = [["A", "b"], ["A", "c", {"id": "m1"}], ["A", "d"], ["A", "e", {"id": "m3_1"}]]
    assert [query["Id"] for query in queries(metrics=rows)] == ["m1_1", "m1", "m3", "m3_1"]


def test_rows_are_named_by_what_tells_them_apart() -> None:
    rows = [["A", "b", "D", "1", "E", "x"], ["A", "b", "D", "2", "E", "x"], ["A", "c", "D", "1", "E", "x"]]
    assert [query["Label"] for query in queries(metrics=rows)] == ["1 b", "2 b", "c"]
    rows = [["A", "b", {"stat": "p50"}], ["A", "b", {"stat": "p99"}]]  # type: ignore[list-item]
    assert [query["Label"] for query in queries(metrics=rows)] == ["b p50", "b p99"]


def test_series_come_in_the_order_of_the_rows_whatever_the_pages() -> None:
    cloudwatch = CloudWatch(
        {"MetricDataResults": [result("e", "GET /", 1), result("m", "users", 7), result("e", "none")]},
        {"MetricDataResults": [result("e", "GET /", 2, after=1), result("e", "PUT /", 3)]},
    )
    metrics = [
        ["A", "b", {"id": "m", "color": "#123456"}],
        [{"expression": "x", "id": "e", "yAxis": "right"}],
    ]
    series = shown(cloudwatch, metrics=metrics)["series"]
    assert [(one["label"], one["values"], one["color"], one["axis"]) for one in series] == [
        ("users", [7], "#123456", "left"),
        ("GET /", [1, 2], None, "right"),
        ("PUT /", [3], None, "right"),
    ]
    assert series[1]["times"] == [int(START.timestamp()), int(START.timestamp()) + 1]
    assert cloudwatch.asked["ScanBy"] == "TimestampAscending"


def test_what_cloudwatch_says_stands_beside_the_series_once() -> None:
    message = {"Code": "MaxMetricsExceeded", "Value": "The first 100"}
    answer = {"MetricDataResults": [{**result("m1", "x", 1), "Messages": [message]}], "Messages": [message]}
    assert shown(CloudWatch(answer), metrics=[["A", "b"]])["notes"] == ["MaxMetricsExceeded: The first 100"]


def test_too_many_series_are_cut_and_said() -> None:
    answer = {"MetricDataResults": [result("m1", f"{number}", 1) for number in range(MAX_SERIES + 1)]}
    content = shown(CloudWatch(answer), metrics=[[{"expression": "x"}]])
    assert len(content["series"]) == MAX_SERIES
    assert content["notes"] == ["The first 500 of 501 series"]


def test_a_value_of_the_whole_time_has_one_period_that_covers_it() -> None:
    cloudwatch = CloudWatch({"MetricDataResults": [result("m1", "x", 1)]})
    rows = [["A", "b", {"period": 5}]]
    assert shown(cloudwatch, metrics=rows, view="singleValue", setPeriodToTimeRange=True)["notes"] == []
    assert cloudwatch.asked["StartTime"] <= START
    assert cloudwatch.asked["EndTime"] >= END
    period = cloudwatch.asked["MetricDataQueries"][0]["MetricStat"]["Period"]
    assert timedelta(seconds=period) == cloudwatch.asked["EndTime"] - cloudwatch.asked["StartTime"]


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(timezone.utc)),
    st.integers(1, 100_000),
)
def test_a_covering_period_begins_at_a_multiple_of_itself(start: datetime, seconds: int) -> None:
    end = start + timedelta(seconds=seconds)
    first, last, period = covering(start, end)
    assert first <= start < end <= last
    assert first.timestamp() % period == 0
    assert period % 60 == 0
    assert last - first == timedelta(seconds=period)


@pytest.mark.parametrize(
    ("minutes", "days_ago", "period"),
    [
        (10, 0, 1),
        (60, 0, 5),
        (180, 0, 10),
        (10, 1, 60),
        (10, 20, 300),
        (10, 70, 3600),
        (60 * 24 * 14, 0, 900),
    ],
)
def test_the_finest_period_is_one_that_cloudwatch_has_and_that_can_be_drawn(
    minutes: int, days_ago: int, period: int
) -> None:
    end = START + timedelta(minutes=minutes)
    assert finest_period(START, end, end + timedelta(days=days_ago)) == period


def test_periods_are_made_longer_where_they_must_and_that_is_said() -> None:
    rows = [["A", "b", {"period": 1}], ["A", "c", {"period": 300}], ["A", "d", {}], [{"expression": "x"}]]
    made, notes = make_queries({"metrics": rows, "period": 30}, 60)
    assert [query.get("Period") or query["MetricStat"]["Period"] for query in made] == [60, 300, 60, 60]
    assert notes == ["Each point stands for 60 s"]
    made, notes = make_queries({"metrics": rows[2:]}, 60)
    assert [query.get("Period") or query["MetricStat"]["Period"] for query in made] == [60, 60]
    assert notes == []


def test_annotations_are_read_as_lines_and_bands() -> None:
    lines = [{"value": 5, "label": "limit"}, [{"value": 1}, {"value": 2}], {"value": 9, "visible": False}]
    source = {"horizontal": lines, "vertical": [{"value": "2026-11-21T10:00:30Z", "color": "#123456"}]}
    marks = shown(CloudWatch({"MetricDataResults": []}), metrics=[["A", "b"]], annotations=source)[
        "annotations"
    ]
    assert [(mark["from"], mark["to"], mark["label"]) for mark in marks["horizontal"]] == [
        (5, None, "limit"),
        (1, 2, ""),
    ]
    assert [(mark["from"], mark["color"]) for mark in marks["vertical"]] == [(START.timestamp(), "#123456")]


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"view": "radar"}, "view: expected one of timeSeries, singleValue, bar"),
        ({"period": "60"}, "period: expected a number of seconds, found '60'"),
        (
            {"annotations": {"horizontal": [{"label": "x"}]}},
            "annotations.horizontal: expected objects with a value",
        ),
        (
            {"annotations": {"vertical": [{"value": "soon"}]}},
            "annotations.vertical: expected a time (ISO 8601)",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said(properties: dict[str, Any], message: str) -> None:
    with pytest.raises(BodyError) as error:
        shown(CloudWatch({"MetricDataResults": []}), metrics=[["A", "b"]], **properties)
    assert message in str(error.value)
