"""What one would write in Python instead of the relay: a batch in S3 → metrics in CloudWatch.

It publishes the relay's metrics of requests, with the same dimensions, per second. It does less than the
relay: no log events, no users, no statuses, no ledger (a retry counts twice), no check of the batch. Values
are not grouped.
"""

from __future__ import annotations

import gzip
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import cache
from itertools import islice
from typing import Any
from urllib.parse import unquote_plus

import boto3
import orjson

MAX_VALUES = 150
"""In one datum. https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html"""
MAX_DATA = 300
"""In one call: with all their values full, they stay below 1 MB."""


@cache
def s3() -> Any:
    """One client for all invocations."""
    return boto3.client("s3")


@cache
def cloudwatch() -> Any:
    """The same."""
    return boto3.client("cloudwatch")


def handler(event: dict[str, Any], _context: Any) -> None:
    """Lambda's entry."""
    for record in event["Records"]:
        bucket, key = record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"])
        body = s3().get_object(Bucket=bucket, Key=key)["Body"].read()
        for call in calls(body):
            cloudwatch().put_metric_data(**call)


def calls(body: bytes) -> Iterator[dict[str, Any]]:
    """A batch as calls of PutMetricData."""
    found = data(body)
    while part := list(islice(found, MAX_DATA)):
        yield {"Namespace": "Locust", "MetricData": part}


def data(body: bytes) -> Iterator[dict[str, Any]]:
    """A batch as metric data."""
    first, *lines = gzip.decompress(body).splitlines()
    header = orjson.loads(first)
    times: dict[Any, Counter[int]] = defaultdict(Counter)
    sizes: dict[Any, Counter[int]] = defaultdict(Counter)
    requests: Counter[Any] = Counter()
    failures: Counter[Any] = Counter()
    for line in lines:
        group = orjson.loads(line).get("requests")
        if group is None:
            continue
        at = header["from_ms"]
        by_second: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        columns = zip(group["at_ms"], group["response_time_us"], group["response_bytes"], strict=True)
        for difference, time, size in columns:
            at += difference
            second = by_second[at // 1000]
            second[0].append(time)
            second[1].append(size)
        for dimensions in (
            (("Test", header["test"]),),
            (("Test", header["test"]), ("Method", group["method"]), ("Name", group["name"])),
            (("Test", header["test"]), ("Run", header["run"])),
        ):
            for number, (of_times, of_sizes) in by_second.items():
                series = (dimensions, number)
                times[series].update(time for time in of_times if time is not None)
                sizes[series].update(size for size in of_sizes if size is not None)
                requests[series] += len(of_times)
                failures[series] += len(of_times) if group["error"] else 0
    for series, count in requests.items():
        yield datum("Requests", "Count", series, [count], [1])
        yield datum("Failures", "Count", series, [failures[series]], [1])
        yield from distribution("ResponseTime", "Milliseconds", series, times[series], 1000)
        yield from distribution("ResponseSize", "Bytes", series, sizes[series], 1)


def distribution(
    name: str, unit: str, series: Any, counts: Counter[int], divisor: int
) -> Iterator[dict[str, Any]]:
    """The values of one second, in as many data as they need."""
    entries = iter(counts.items())
    while part := list(islice(entries, MAX_VALUES)):
        yield datum(name, unit, series, [value / divisor for value, _ in part], [count for _, count in part])


def datum(name: str, unit: str, series: Any, values: list[float], counts: list[int]) -> dict[str, Any]:
    """One datum."""
    dimensions, second = series
    return {
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
        "Timestamp": datetime.fromtimestamp(second, timezone.utc),
        "Values": values,
        "Counts": counts,
        "Unit": unit,
        "StorageResolution": 1,
    }
