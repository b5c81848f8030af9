"""Reading metrics back: statistics, percentiles, periods, paging, by the real boto3 and in CBOR."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from local_aws import LocalAws
from local_aws.cloudwatch.limits import check_put
from local_aws.cloudwatch.store import MetricStore

from .wire import CREDENTIAL, call

NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=timezone.utc)
START, END = NOW - timedelta(minutes=10), NOW + timedelta(minutes=10)


def put(aws: LocalAws, name: str, **datum: Any) -> None:
    aws.client("cloudwatch").put_metric_data(Namespace="Test", MetricData=[{"MetricName": name, **datum}])


def stat(name: str, statistic: str, period: int = 60, identifier: str = "q", **more: Any) -> dict[str, Any]:
    metric = {"Namespace": "Test", "MetricName": name, "Dimensions": more.pop("Dimensions", [])}
    return {"Id": identifier, "MetricStat": {"Metric": metric, "Period": period, "Stat": statistic, **more}}


def read(aws: LocalAws, *queries: dict[str, Any], **options: Any) -> list[tuple[list[datetime], list[float]]]:
    options = {"StartTime": START, "EndTime": END, "ScanBy": "TimestampAscending", **options}
    answer = aws.client("cloudwatch").get_metric_data(MetricDataQueries=list(queries), **options)
    return [(result["Timestamps"], result["Values"]) for result in answer["MetricDataResults"]]


def test_statistics_of_merged_datums(aws: LocalAws) -> None:
    aws.clock.set(NOW)
    put(aws, "T", Values=[1, 2, 4], Counts=[10, 1, 1], Timestamp=NOW)
    put(aws, "T", Values=[2, 100], Timestamp=NOW + timedelta(seconds=1))
    statistics = [
        "SampleCount",
        "Sum",
        "Average",
        "Minimum",
        "Maximum",
        "p0",
        "p50",
        "p90",
        "p95",
        "p99.9",
        "p100",
    ]
    results = read(aws, *[stat("T", name, 60, f"q{at}") for at, name in enumerate(statistics)])
    minute = NOW.replace(second=0)
    assert {tuple(moments) for moments, _ in results} == {(minute,)}
    found = {name: series[0] for name, (_, series) in zip(statistics, results, strict=True)}
    assert found == {
        "SampleCount": 14,
        "Sum": 118,
        "Average": 118 / 14,
        "Minimum": 1,
        "Maximum": 100,
        "p0": 1,
        "p50": 1,
        "p90": 4,
        "p95": 100,
        "p99.9": 100,
        "p100": 100,
    }


@given(st.dictionaries(st.integers(-5, 5), st.integers(1, 9), min_size=1), st.floats(0.01, 100))
def test_percentiles_are_the_nearest_rank(counts: dict[int, int], percent: float) -> None:
    """Against the definition, on the list of all samples."""
    store = MetricStore()
    datum = {"MetricName": "T", "Values": list(counts), "Counts": list(counts.values())}
    store.put(*check_put({"Namespace": "Test", "MetricData": [datum]}, NOW))
    samples = sorted(value for value, count in counts.items() for _ in range(count))
    found = store.distribution("Test", "T").percentile(percent)
    assert found in samples
    at_or_below = sum(sample <= found for sample in samples) / len(samples)
    below = sum(sample < found for sample in samples) / len(samples)
    assert below - 1e-9 <= percent / 100 <= at_or_below + 1e-9


def test_statistic_sets_have_no_percentiles_unless_all_values_are_equal(aws: LocalAws) -> None:
    aws.clock.set(NOW)
    put(aws, "Set", StatisticValues={"SampleCount": 2, "Sum": 3, "Minimum": 1, "Maximum": 2})
    put(aws, "Equal", StatisticValues={"SampleCount": 2, "Sum": 4, "Minimum": 2, "Maximum": 2})
    results = read(aws, stat("Set", "p50"), stat("Set", "Average", 60, "b"), stat("Equal", "p50", 60, "c"))
    assert [series for _, series in results] == [[], [1.5], [2]]


def test_seconds_are_kept_only_at_high_resolution(aws: LocalAws) -> None:
    aws.clock.set(NOW)
    for second in range(3):
        put(aws, "High", Value=second, StorageResolution=1, Timestamp=NOW + timedelta(seconds=second))
        put(aws, "Low", Value=second, Timestamp=NOW + timedelta(seconds=second))
    high, low, minute = read(
        aws, stat("High", "Sum", 1), stat("Low", "Sum", 1, "b"), stat("Low", "Sum", 60, "c")
    )
    assert high == ([NOW + timedelta(seconds=second) for second in range(3)], [0, 1, 2])
    assert low == ([], [])
    assert minute == ([NOW.replace(second=0)], [3])


def test_old_seconds_can_only_be_read_by_the_minute(aws: LocalAws) -> None:
    aws.clock.set(NOW)
    put(aws, "Old", Value=1, StorageResolution=1)
    assert read(aws, stat("Old", "Sum", 1)) == [([NOW], [1])]
    aws.clock.advance(timedelta(hours=3, seconds=1))
    assert read(aws, stat("Old", "Sum", 1), stat("Old", "Sum", 60, "b")) == [
        ([], []),
        ([NOW.replace(second=0)], [1]),
    ]
    aws.clock.advance(timedelta(days=15))
    first_of_five = NOW.replace(minute=0, second=0)
    five = read(aws, stat("Old", "Sum", 60), stat("Old", "Sum", 300, "b"))
    assert five == [([], []), ([first_of_five], [1])]


def test_dimensions_and_units_make_metrics_apart(aws: LocalAws) -> None:
    aws.clock.set(NOW)
    one, two = [{"Name": "A", "Value": "1"}], [{"Name": "A", "Value": "1"}, {"Name": "B", "Value": "2"}]
    put(aws, "D", Value=1, Dimensions=one, Unit="Seconds")
    put(aws, "D", Value=10, Dimensions=one, Unit="Count")
    put(aws, "D", Value=100, Dimensions=two[::-1])
    results = read(
        aws,
        stat("D", "Sum", Dimensions=one),
        stat("D", "Sum", 60, "b", Dimensions=one, Unit="Count"),
        stat("D", "Sum", 60, "c", Dimensions=one, Unit="Bytes"),
        stat("D", "Sum", 60, "d", Dimensions=two),
        stat("D", "Sum", 60, "e"),
    )
    assert [series for _, series in results] == [[11], [10], [], [100], []]


def test_get_metric_statistics_begins_at_the_start_time(aws: LocalAws) -> None:
    aws.clock.set(NOW)
    put(aws, "S", Value=1, Unit="Count", Timestamp=NOW - timedelta(minutes=4))
    put(aws, "S", Value=2, Unit="Count", Timestamp=NOW)
    options: dict[str, Any] = {"Namespace": "Test", "MetricName": "S", "StartTime": START, "EndTime": END}
    client = aws.client("cloudwatch")
    plain = client.get_metric_statistics(**options, Period=300, Statistics=["Sum", "Maximum"])
    begin = START.replace(second=0)
    assert [(p["Timestamp"], p["Sum"], p["Maximum"], p["Unit"]) for p in plain["Datapoints"]] == [
        (begin + timedelta(minutes=5), 1, 1, "Count"),
        (begin + timedelta(minutes=10), 2, 2, "Count"),
    ]
    extended = client.get_metric_statistics(**options, Period=3600, ExtendedStatistics=["p50", "p99"])
    assert extended["Datapoints"][0]["ExtendedStatistics"] == {"p50": 1, "p99": 2}
    with pytest.raises(ClientError, match=r"InvalidParameterCombination.*limit of 1,440"):
        client.get_metric_statistics(
            **{**options, "StartTime": START - timedelta(days=3)}, Period=60, Statistics=["Sum"]
        )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (stat("T", "Sum", 7), "Period"),
        (stat("T", "Median"), "Median"),
        (stat("T", "p101"), "p101"),
        (stat("T", "Sum", 60, "Upper"), "Id"),
        ({"Id": "m"}, "exactly one of MetricStat and Expression"),
        ({**stat("T", "Sum", 60, "m"), "Expression": "m"}, "exactly one of MetricStat and Expression"),
    ],
)
def test_queries_that_cannot_be_answered_are_refused(
    aws: LocalAws, query: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=message):
        read(aws, query)


def test_metric_data_comes_in_pages(aws: LocalAws) -> None:
    aws.clock.set(NOW)
    for second in range(5):
        put(aws, "P", Value=second, StorageResolution=1, Timestamp=NOW + timedelta(seconds=second))
    pages = (
        aws.client("cloudwatch")
        .get_paginator("get_metric_data")
        .paginate(
            MetricDataQueries=[stat("P", "Sum", 1, "a"), stat("P", "Maximum", 1, "b")],
            StartTime=START,
            EndTime=END,
            MaxDatapoints=3,
        )
    )
    collected: dict[str, list[float]] = {"a": [], "b": []}
    statuses = []
    for page in pages:
        statuses.append([result["StatusCode"] for result in page["MetricDataResults"]])
        assert sum(len(result["Values"]) for result in page["MetricDataResults"]) <= 3
        for result in page["MetricDataResults"]:
            collected[result["Id"]] += result["Values"]
    assert collected == {"a": [4, 3, 2, 1, 0], "b": [4, 3, 2, 1, 0]}
    partial = "PartialData"
    assert statuses == [[partial, partial], ["Complete", partial], ["Complete", partial], ["Complete"] * 2]


def test_list_metrics_filters_and_pages(aws: LocalAws) -> None:
    aws.clock.set(NOW)
    client = aws.client("cloudwatch")
    data = [
        {"MetricName": "L", "Value": 1, "Dimensions": [{"Name": "N", "Value": str(n)}]} for n in range(700)
    ]
    client.put_metric_data(Namespace="List", MetricData=data)
    put(aws, "L", Value=1)
    pages = list(client.get_paginator("list_metrics").paginate(Namespace="List"))
    assert [len(page["Metrics"]) for page in pages] == [500, 200]
    one = client.list_metrics(MetricName="L", Dimensions=[{"Name": "N", "Value": "7"}])["Metrics"]
    assert one == [{"Namespace": "List", "MetricName": "L", "Dimensions": [{"Name": "N", "Value": "7"}]}]
    assert len(client.list_metrics(Dimensions=[{"Name": "N"}])["Metrics"]) == 500
    assert client.list_metrics(Dimensions=[{"Name": "M"}])["Metrics"] == []
    aws.clock.advance(timedelta(hours=3, seconds=1))
    assert client.list_metrics(Namespace="Test", RecentlyActive="PT3H")["Metrics"] == []
    assert len(client.list_metrics(Namespace="Test")["Metrics"]) == 1
    aws.clock.advance(timedelta(weeks=2))
    assert client.list_metrics(Namespace="Test")["Metrics"] == []
    with pytest.raises(ClientError, match="InvalidNextToken"):
        client.list_metrics(NextToken="?")


def test_cbor_answers_with_times_and_forwards_the_rest_to_moto(aws: LocalAws) -> None:
    aws.clock.set(NOW)
    put(aws, "C", Value=1)
    answer = call(
        aws,
        "cbor",
        "GetMetricData",
        {"StartTime": START, "EndTime": END, "MetricDataQueries": [stat("C", "Sum")]},
    )
    assert answer.headers["smithy-protocol"] == "rpc-v2-cbor"
    (result,) = answer.body["MetricDataResults"]
    assert (result["Timestamps"], result["Values"]) == ([NOW.replace(second=0)], [1.0])
    assert call(aws, "cbor", "PutDashboard", {"DashboardName": "d", "DashboardBody": "{}"}).status == 200
    entries = call(aws, "cbor", "ListDashboards", {}).body["DashboardEntries"]
    assert isinstance(next(e for e in entries if e["DashboardName"] == "d")["LastModified"], datetime)
    missing = call(aws, "cbor", "GetDashboard", {"DashboardName": "none"})
    assert (missing.status, missing.code) == (404, "ResourceNotFound")
    assert call(aws, "cbor", "NoSuchThing", {}).status == 404


def test_the_older_protocol_is_refused_where_moto_would_know_nothing(aws: LocalAws) -> None:
    def answer(operation: str) -> tuple[int, str]:
        form = {"Action": operation, "Version": "2010-08-01"}
        request = urllib.request.Request(  # noqa: S310
            aws.endpoint_url,
            urllib.parse.urlencode(form).encode(),
            {"Authorization": CREDENTIAL, "Content-Type": "application/x-www-form-urlencoded"},
        )
        try:
            with urllib.request.urlopen(request) as response:  # noqa: S310
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    status, text = answer("ListMetrics")
    assert status == 400
    assert "ListMetrics: use CBOR or JSON" in text
    assert answer("ListDashboards")[0] == 200
