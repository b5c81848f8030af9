"""Requests that are unlike any other: their names, times and sizes."""

from __future__ import annotations

from examples.reconcile import Endpoint, from_cloudwatch
from tests.e2e import batches
from tests.e2e.batches import Batch
from tests.e2e.conftest import Cloud

LONG = "/" + "x" * 1500


def published(cloud: Cloud, test: str) -> dict[Endpoint, int]:
    """Requests by endpoint, as CloudWatch shows them."""
    shown = from_cloudwatch(cloud.cloudwatch, "Locust", test, *cloud.recent())
    return {endpoint: numbers.requests for endpoint, numbers in shown.items()}


def hand_in(cloud: Cloud, test: str, *records: batches.Record) -> None:
    """Puts one batch, which must be relayed."""
    batch = Batch(test, list(records))
    cloud.put(batch.key, batch.content())
    assert cloud.failed_events() == []


def test_names_that_cloudwatch_does_not_take_are_published_readably(cloud: Cloud) -> None:
    names = ["", " ", "/größe", "日本", "tab\there", ":colon", "/plain"]
    hand_in(
        cloud, "names", *(batches.requests("GET", name, [1000] * (i + 1)) for i, name in enumerate(names))
    )
    assert published(cloud, "names") == {
        Endpoint("GET", "(empty)"): 1 + 2,
        Endpoint("GET", "/gr%C3%B6%C3%9Fe"): 3,
        Endpoint("GET", "%E6%97%A5%E6%9C%AC"): 4,
        Endpoint("GET", "tab%09here"): 5,
        Endpoint("GET", ":colon"): 6,
        Endpoint("GET", "/plain"): 7,
    }


def test_long_names_that_begin_alike_stay_different(cloud: Cloud) -> None:
    hand_in(
        cloud,
        "long",
        batches.requests("GET", f"{LONG}a", [1000]),
        batches.requests("GET", f"{LONG}b", [1000] * 2),
    )
    found = published(cloud, "long")
    assert sorted(found.values()) == [1, 2]
    assert {len(endpoint.name) for endpoint in found} == {1024}
    summaries = [event for event in cloud.log_events() if event["test"] == "long"]
    assert {event["name"] for event in summaries} == {f"{LONG}a", f"{LONG}b"}, (
        "log events hold the whole name"
    )


def test_of_thousands_of_names_the_busiest_keep_theirs_and_no_request_is_lost(cloud: Cloud) -> None:
    records = [batches.requests("GET", f"/item/{i}", [1000] * (2 if i < 150 else 1)) for i in range(3000)]
    hand_in(cloud, "many", *records)
    found = published(cloud, "many")
    assert len(found) == 200 + 1
    assert all(found[Endpoint("GET", f"/item/{i}")] == 2 for i in range(150))
    assert found[Endpoint("(other)", "(other)")] == 3150 - 150 * 2 - 50
    assert cloud.recently("Requests", "Sum", Test="many") == 3150
    assert cloud.recently("ResponseTime", "SampleCount", Test="many") == 3150


def test_requests_without_a_time_count_as_requests_only(cloud: Cloud) -> None:
    hand_in(cloud, "untimed", batches.requests("PUSH", "m", [None, 5000, None], status=None))
    assert cloud.recently("Requests", "Sum", Test="untimed") == 3
    assert cloud.recently("ResponseTime", "SampleCount", Test="untimed") == 1
    assert cloud.recently("ResponseTime", "Average", Test="untimed") == 5


def test_negative_and_huge_sizes_are_published_as_they_are(cloud: Cloud) -> None:
    sizes = [-1, 2**53 - 1, -(2**53 - 1), None, 0]
    hand_in(cloud, "sizes", batches.requests("GET", "/", [1000] * 5, sizes=sizes))
    assert cloud.recently("Requests", "Sum", Test="sizes") == 5
    assert cloud.recently("ResponseSize", "SampleCount", Test="sizes") == 4
    assert cloud.recently("ResponseSize", "Minimum", Test="sizes") == -(2**53 - 1)
    assert cloud.recently("ResponseSize", "Maximum", Test="sizes") == 2**53 - 1


def test_zero_and_very_long_times_are_published(cloud: Cloud) -> None:
    hand_in(cloud, "times", batches.requests("GET", "/", [0, 1, 3_600_000_000]))
    assert cloud.recently("ResponseTime", "Minimum", Test="times") == 0
    assert cloud.recently("ResponseTime", "Maximum", Test="times") == 3_600_000


def test_a_request_finished_before_the_batch_begins_keeps_its_time(cloud: Cloud) -> None:
    batch = Batch("early", [batches.requests("GET", "/", [1000] * 3, at_ms=[-2500, 5000, -1000])])
    cloud.put(batch.key, batch.content())
    assert cloud.failed_events() == []
    assert cloud.recently("Requests", "Sum", Test="early") == 3
    start, end = cloud.recent()
    response = cloud.cloudwatch.get_metric_statistics(
        Namespace="Locust", MetricName="Requests", Dimensions=[{"Name": "Test", "Value": "early"}],
        StartTime=start, EndTime=end, Period=1, Statistics=["Sum"],
    )  # fmt: skip
    seconds = sorted(int(point["Timestamp"].timestamp()) for point in response["Datapoints"])
    expected = {(batch.from_ms + offset) // 1000 for offset in (-2500, 2500, 1500)}
    assert seconds == sorted(expected)


def test_one_group_may_come_in_several_records(cloud: Cloud) -> None:
    part = batches.requests("GET", "/", [1000, 2000])
    hand_in(cloud, "split", part, part, part)
    assert cloud.recently("ResponseTime", "SampleCount", Test="split") == 6
