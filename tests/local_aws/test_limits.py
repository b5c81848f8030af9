"""PutMetricData's limits, each at its edge and one beyond, in both protocols."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import cbor2
import pytest

from local_aws import LocalAws
from local_aws.cloudwatch.limits import MAX_REQUEST_BYTES, UNITS, check_put
from local_aws.errors import AwsError

from .wire import Protocol, call

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)
EDGE = 2.0**360
BEYOND = 2.0**360 * 1.0000000000000002


def datum(**changes: Any) -> dict[str, Any]:
    """A legal datum with changes; a change to None leaves the member out."""
    merged = {"MetricName": "ResponseTime", "Value": 1.0, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def put(*datums: dict[str, Any], namespace: Any = "Locust") -> dict[str, Any]:
    return {"Namespace": namespace, "MetricData": list(datums)}


def values(count: int, **changes: Any) -> dict[str, Any]:
    return datum(Value=None, Values=[float(v) for v in range(count)], **changes)


def dimensions(*pairs: tuple[str, str]) -> dict[str, Any]:
    return datum(Dimensions=[{"Name": name, "Value": value} for name, value in pairs])


STATISTICS = {"SampleCount": 2.0, "Sum": 3.0, "Minimum": 1.0, "Maximum": 2.0}

LEGAL = {
    "1000 datums": put(*[datum()] * 1000),
    "150 values": put(values(150)),
    "150 values with counts": put(values(150, Counts=[2.0] * 150)),
    "value at the upper edge": put(datum(Value=EDGE)),
    "value at the lower edge": put(datum(Value=-EDGE)),
    "value zero": put(datum(Value=0.0)),
    "30 dimensions": put(dimensions(*[(f"D{number}", "v") for number in range(30)])),
    "longest dimension": put(dimensions(("n" * 255, "v" * 1024))),
    "longest metric name": put(datum(MetricName="m" * 255)),
    "longest namespace": put(datum(), namespace="n" * 255),
    "colon inside names": put(dimensions(("a:b", ":v")), namespace="a:b"),
    "printable ASCII": put(datum(MetricName=" ~!\"#$%&'()*+,-./;<=>?@[]^_`{|}")),
    "two weeks old": put(datum(Timestamp=NOW - timedelta(weeks=2))),
    "two hours ahead": put(datum(Timestamp=NOW + timedelta(hours=2))),
    "resolution 1": put(datum(StorageResolution=1)),
    "resolution 60": put(datum(StorageResolution=60)),
    "statistics": put(datum(Value=None, StatisticValues=STATISTICS)),
    "entity data": {"Namespace": "Locust", "EntityMetricData": [{"MetricData": [datum()]}] * 2},
    "all units": put(*[datum(Unit=unit) for unit in sorted(UNITS)]),
}

MEMBER = "MetricData.member.1"
VALUE, MISSING, CONFLICT = "InvalidParameterValue", "MissingParameter", "InvalidParameterCombination"
ILLEGAL: dict[str, tuple[dict[str, Any], str, str]] = {
    "no namespace": ({"MetricData": [datum()]}, MISSING, "Namespace"),
    "empty namespace": (put(datum(), namespace=""), MISSING, "Namespace"),
    "AWS namespace": (put(datum(), namespace="AWS/Locust"), VALUE, "Namespace"),
    "namespace with a colon first": (put(datum(), namespace=":n"), VALUE, "Namespace"),
    "namespace too long": (put(datum(), namespace="n" * 256), VALUE, "Namespace"),
    "namespace not ASCII": (put(datum(), namespace="Löcust"), VALUE, "Namespace"),
    "namespace with a control character": (put(datum(), namespace="a\tb"), VALUE, "Namespace"),
    "namespace of spaces": (put(datum(), namespace="  "), VALUE, "Namespace"),
    "no data": ({"Namespace": "Locust"}, MISSING, "MetricData"),
    "empty data": (put(), MISSING, "MetricData"),
    "1001 datums": (put(*[datum()] * 1001), VALUE, "MetricData"),
    "1001 datums with entities": (
        {"Namespace": "N", "MetricData": [datum()], "EntityMetricData": [{"MetricData": [datum()] * 1000}]},
        VALUE,
        "MetricData",
    ),
    "three entities": (
        {"Namespace": "N", "EntityMetricData": [{"MetricData": [datum()]}] * 3},
        VALUE,
        "EntityMetricData",
    ),
    "entity's datum": (
        {"Namespace": "N", "EntityMetricData": [{"MetricData": [datum(MetricName="")]}]},
        MISSING,
        "EntityMetricData.member.1.MetricData.member.1.MetricName",
    ),
    "no metric name": (put(datum(MetricName=None)), MISSING, f"{MEMBER}.MetricName"),
    "metric name too long": (put(datum(MetricName="m" * 256)), VALUE, f"{MEMBER}.MetricName"),
    "metric name not ASCII": (put(datum(MetricName="é")), VALUE, f"{MEMBER}.MetricName"),
    "metric name of spaces": (put(datum(MetricName=" ")), VALUE, f"{MEMBER}.MetricName"),
    "third datum": (put(datum(), datum(), datum(MetricName="\x7f")), VALUE, "MetricData.member.3.MetricName"),
    "no value": (put(datum(Value=None)), MISSING, f"{MEMBER}.Value"),
    "no values": (put(datum(Value=None, Values=[])), MISSING, f"{MEMBER}.Value"),
    "value and values": (put(values(1) | {"Value": 1.0}), CONFLICT, f"{MEMBER}.Value"),
    "value and statistics": (put(datum(StatisticValues=STATISTICS)), CONFLICT, f"{MEMBER}.StatisticValues"),
    "values and statistics": (
        put(values(1, StatisticValues=STATISTICS)),
        CONFLICT,
        f"{MEMBER}.StatisticValues",
    ),
    "value and counts": (put(datum(Counts=[1.0])), CONFLICT, f"{MEMBER}.Counts"),
    "151 values": (put(values(151)), VALUE, f"{MEMBER}.Values"),
    "counts too few": (put(values(3, Counts=[1.0, 1.0])), VALUE, f"{MEMBER}.Counts"),
    "counts too many": (put(values(1, Counts=[1.0, 1.0])), VALUE, f"{MEMBER}.Counts"),
    "count zero": (put(values(2, Counts=[1.0, 0.0])), VALUE, f"{MEMBER}.Counts.member.2"),
    "count negative": (put(values(1, Counts=[-1.0])), VALUE, f"{MEMBER}.Counts.member.1"),
    "count NaN": (put(values(1, Counts=[float("nan")])), VALUE, f"{MEMBER}.Counts.member.1"),
    "value NaN": (put(datum(Value=float("nan"))), VALUE, f"{MEMBER}.Value"),
    "value infinite": (put(datum(Value=float("inf"))), VALUE, f"{MEMBER}.Value"),
    "value infinitely negative": (put(datum(Value=float("-inf"))), VALUE, f"{MEMBER}.Value"),
    "value too large": (put(datum(Value=BEYOND)), VALUE, f"{MEMBER}.Value"),
    "value too small": (put(datum(Value=-BEYOND)), VALUE, f"{MEMBER}.Value"),
    "one of the values": (put(datum(Value=None, Values=[1.0, BEYOND])), VALUE, f"{MEMBER}.Values.member.2"),
    "31 dimensions": (put(dimensions(*[(f"D{n}", "v") for n in range(31)])), VALUE, f"{MEMBER}.Dimensions"),
    "dimension twice": (put(dimensions(("a", "1"), ("a", "2"))), VALUE, f"{MEMBER}.Dimensions"),
    "dimension name too long": (
        put(dimensions(("n" * 256, "v"))),
        VALUE,
        f"{MEMBER}.Dimensions.member.1.Name",
    ),
    "dimension name with a colon first": (
        put(dimensions((":n", "v"))),
        VALUE,
        f"{MEMBER}.Dimensions.member.1.Name",
    ),
    "dimension name not ASCII": (put(dimensions(("ü", "v"))), VALUE, f"{MEMBER}.Dimensions.member.1.Name"),
    "dimension name empty": (put(dimensions(("", "v"))), MISSING, f"{MEMBER}.Dimensions.member.1.Name"),
    "dimension value too long": (
        put(dimensions(("n", "v" * 1025))),
        VALUE,
        f"{MEMBER}.Dimensions.member.1.Value",
    ),
    "dimension value empty": (put(dimensions(("n", ""))), MISSING, f"{MEMBER}.Dimensions.member.1.Value"),
    "dimension value of spaces": (put(dimensions(("n", "  "))), VALUE, f"{MEMBER}.Dimensions.member.1.Value"),
    "dimension value not ASCII": (
        put(dimensions(("n", "/käse"))),
        VALUE,
        f"{MEMBER}.Dimensions.member.1.Value",
    ),
    "dimension value with a newline": (
        put(dimensions(("n", "a\nb"))),
        VALUE,
        f"{MEMBER}.Dimensions.member.1.Value",
    ),
    "unit unknown": (put(datum(Unit="ms")), VALUE, f"{MEMBER}.Unit"),
    "resolution 5": (put(datum(StorageResolution=5)), VALUE, f"{MEMBER}.StorageResolution"),
    "too old": (put(datum(Timestamp=NOW - timedelta(weeks=2, seconds=1))), VALUE, f"{MEMBER}.Timestamp"),
    "too new": (put(datum(Timestamp=NOW + timedelta(hours=2, seconds=1))), VALUE, f"{MEMBER}.Timestamp"),
    "statistics without a sum": (
        put(datum(Value=None, StatisticValues={"SampleCount": 1.0, "Minimum": 1.0, "Maximum": 1.0})),
        MISSING,
        f"{MEMBER}.StatisticValues.Sum",
    ),
    "statistics upside down": (
        put(datum(Value=None, StatisticValues={**STATISTICS, "Minimum": 5.0})),
        VALUE,
        f"{MEMBER}.StatisticValues.Maximum",
    ),
}


@pytest.mark.parametrize("case", LEGAL)
def test_what_is_legal_is_taken(case: str) -> None:
    parameters = LEGAL[case]
    namespace, datums = check_put(parameters, NOW)
    assert namespace == parameters["Namespace"]
    assert len(datums) == len(parameters.get("MetricData") or parameters.get("EntityMetricData") or [])


@pytest.mark.parametrize("case", ILLEGAL)
def test_what_is_illegal_is_refused_by_name(case: str) -> None:
    parameters, code, member = ILLEGAL[case]
    with pytest.raises(AwsError) as raised:
        check_put(parameters, NOW)
    assert (raised.value.status, raised.value.code) == (400, code)
    assert member in raised.value.message


@pytest.mark.parametrize("protocol", ["cbor", "json"])
def test_both_protocols_enforce_every_limit(aws: LocalAws, protocol: Protocol) -> None:
    for case, parameters in LEGAL.items():
        if case == "two weeks old":
            continue  # time goes on between setting the clock and the call
        aws.clock.set(NOW)
        answer = call(aws, protocol, "PutMetricData", parameters)
        assert (case, answer.status, answer.body) == (case, 200, {})
    aws.metrics.clear()
    for case, (parameters, code, member) in ILLEGAL.items():
        aws.clock.set(NOW)
        answer = call(aws, protocol, "PutMetricData", parameters, compress=True)
        assert (case, answer.status, answer.code) == (case, 400, code)
        assert member in answer.body["message"]
        assert answer.body["__type"].endswith("Exception")
    assert aws.metrics.keys() == []


@pytest.mark.parametrize("protocol", ["cbor", "json"])
@pytest.mark.parametrize("compress", [False, True])
def test_the_size_limit_holds_for_the_uncompressed_body(
    aws: LocalAws, protocol: Protocol, compress: bool
) -> None:
    parameters = put(*[values(150, MetricName=f"m{number}") for number in range(300)])
    padding = MAX_REQUEST_BYTES - size(protocol, parameters)
    # An unknown member fills the body to the byte.
    overhead = size(protocol, parameters | {"X": "x" * padding}) - MAX_REQUEST_BYTES
    fits = parameters | {"X": "x" * (padding - overhead)}
    assert size(protocol, fits) == MAX_REQUEST_BYTES
    assert call(aws, protocol, "PutMetricData", fits, compress=compress).status == 200
    beyond = parameters | {"X": "x" * (padding - overhead + 1)}
    answer = call(aws, protocol, "PutMetricData", beyond, compress=compress)
    assert (answer.status, answer.code) == (413, "RequestEntityTooLarge")


def size(protocol: Protocol, parameters: dict[str, Any]) -> int:
    return len(cbor2.dumps(parameters) if protocol == "cbor" else json.dumps(parameters))


@pytest.mark.parametrize(
    ("protocol", "body"), [("cbor", b"\xff"), ("json", b"{"), ("json", b"[]"), ("cbor", b"\x80")]
)
def test_a_body_that_cannot_be_read_is_an_error(aws: LocalAws, protocol: Protocol, body: bytes) -> None:
    answer = call(aws, protocol, "PutMetricData", {}, raw=body)
    assert (answer.status, answer.code) == (400, "SerializationException")


def test_a_full_request_is_checked_quickly(aws: LocalAws) -> None:
    parameters = put(*[values(150, MetricName=f"m{number}") for number in range(350)])
    call(aws, "cbor", "PutMetricData", parameters, compress=True)
    (record,) = aws.calls.of("cloudwatch", "PutMetricData")
    assert record.seconds < 2
