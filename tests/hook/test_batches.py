"""Columns and batches, without Locust: what goes in comes out, within bounds."""

from __future__ import annotations

import gzip
import json
import random
import sys
import tracemalloc
from collections import Counter
from importlib.util import find_spec
from math import isfinite, nan
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from locust_hook.recording import columns as bounds
from locust_hook.recording.columns import OTHER, Columns
from locust_hook.recording.encode import MAX_INT, PIECE, compress, encode
from tests.hook.golden import (
    DATA,
    GOLDEN,
    START_MS,
    Inputs,
    Request,
    Response,
    bad,
    expected,
    expected_endpoint,
    shown,
    write,
)
from tests.hook.reader import Batch, read


@pytest.fixture(params=["python", "c"], autouse=True)
def listener(request: pytest.FixtureRequest) -> None:
    """Each test with both listeners."""
    global fast
    fast = request.param == "c"
    assert not fast or find_spec("locust_hook.recording._fast") is not None, (
        "the listener in C is not built: pip install --editable ."
    )


fast = False


def started(max_endpoints: int, error_text: Any = repr, now: Any = None) -> Columns:
    """Columns in a run."""
    columns = Columns(max_endpoints, error_text, now, fast=fast)
    columns.begin(max_endpoints, [])
    return columns


@pytest.mark.parametrize("make", GOLDEN, ids=lambda make: make.__name__)
def test_golden_batches_are_what_the_hook_writes(make: Any) -> None:
    inputs = make()
    golden = (DATA / f"{inputs.name}.ndjson.gz").read_bytes()
    assert as_read(write(inputs, fast=fast)) == as_read(golden)
    if not fast:
        assert gzip.decompress(write(inputs)) == gzip.decompress(golden)
    assert json.loads((DATA / f"{inputs.name}.expected.json").read_text()) == expected(inputs)


def as_read(content: bytes) -> Batch:
    """A batch with its requests in an order of their own: both listeners group them differently."""
    batch = read(content)
    batch.rows.sort(key=repr)
    batch.records = 0
    return batch


@pytest.mark.parametrize("make", GOLDEN, ids=lambda make: make.__name__)
def test_golden_batches_hold_what_was_put_in(make: Any) -> None:
    inputs = make()
    facts = expected(inputs)
    batch = read((DATA / f"{inputs.name}.ndjson.gz").read_bytes())
    assert batch.header.items() >= facts["header"].items()
    assert endpoints_of(batch) == facts["endpoints"]
    assert batch.users == facts["users"]
    assert batch.events == facts["events"]
    found = sorted((found["message"], found["count"]) for found in batch.exceptions)
    assert found == sorted((fact["message"], fact["count"]) for fact in facts["exceptions"])


def test_the_zstd_twin_has_the_same_lines() -> None:
    twin = zstandard.ZstdDecompressor().decompress((DATA / "typical.ndjson.zst").read_bytes())
    assert twin == gzip.decompress((DATA / "typical.ndjson.gz").read_bytes())


def test_bad_batches_are_up_to_date() -> None:
    found = {path.name for path in (DATA / "bad").iterdir()}
    assert found == bad().keys()
    for name, content in bad().items():
        if name != "truncated.ndjson.gz":  # its length depends on the version of zlib
            committed = (DATA / "bad" / name).read_bytes()
            unpack = gzip.decompress if content[:2] == b"\x1f\x8b" else bytes
            assert unpack(committed) == unpack(content)


def endpoints_of(batch: Batch) -> list[dict[str, Any]]:
    """Facts of a batch's endpoints, in the form of the expected ones."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for row in batch.rows:
        groups.setdefault((row.method, row.name), []).append(row)
    facts = []
    for (method, name), rows in sorted(groups.items()):
        times = [row.response_time_us for row in rows if row.response_time_us is not None]
        sizes = [row.response_bytes for row in rows if row.response_bytes is not None]
        at_ms = [row.at_ms for row in rows]
        facts.append(
            {
                "method": method,
                "name": name,
                "requests": len(rows),
                "failures": sum(row.error is not None for row in rows),
                "response_time_us": {
                    "count": len(times),
                    "nulls": len(rows) - len(times),
                    "sum": sum(times),
                    "min": min(times, default=None),
                    "max": max(times, default=None),
                },
                "response_bytes": {"count": len(sizes), "sum": sum(sizes)},
                "statuses": dict(sorted(Counter(str(row.status or "none") for row in rows).items())),
                "errors": dict(sorted(Counter(row.error for row in rows if row.error is not None).items())),
                "first_at_ms": min(at_ms),
                "last_at_ms": max(at_ms),
            }
        )
    return facts


texts = st.one_of(st.sampled_from(["", "GET", "/", "(other)", 'ä\n"\\']), st.text(max_size=8))
response_times = st.one_of(
    st.none(), st.integers(0, 10**5), st.floats(0, 10**5), st.just(0.0005), st.floats(2e6, 1e7)
)
lengths = st.one_of(st.just(7), st.integers(0, 10**6), st.integers(-(2**70), 2**70))
requests = st.builds(
    Request,
    at_ms=st.integers(START_MS - 5_000, START_MS + 20_000),
    method=texts,
    name=texts,
    response_time=response_times,
    length=lengths,
    status=st.sampled_from([200, 200, 200, 204, 404, 0, None]),
    exception=st.sampled_from([None, None, ValueError("boo"), "wrong"]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests, max_size=40))
@example([Request(START_MS + i, "GET", "/", float(i), 1) for i in range(2 * PIECE + 1)])
@example([Request(START_MS, "GET", "/", float(i), i, 200 + i % 2) for i in range(PIECE + 2)])
def test_whatever_locust_reports_comes_out_again(given_requests: list[Request]) -> None:
    inputs = Inputs("any", given_requests)
    for request in inputs.requests:  # the format's text is Unicode without lone surrogates
        request.name = request.name.encode("utf-8", "replace").decode()
        request.method = request.method.encode("utf-8", "replace").decode()
        if request.name == OTHER:
            request.method = OTHER
    batch = read(write(inputs, fast=fast))
    groups: dict[tuple[str, str], list[Request]] = {}
    for request in inputs.requests:
        groups.setdefault((request.method, request.name), []).append(request)
    assert endpoints_of(batch) == [expected_endpoint(*key, group) for key, group in sorted(groups.items())]


def record(columns: Columns, request: Request) -> None:
    columns.on_request(
        request_type=request.method,
        name=request.name,
        response_time=request.response_time,
        response_length=request.length,
        response=None if request.status is None else Response(request.status),
        exception=request.exception,
    )


def batch_of(columns: Columns) -> Batch:
    return read(compress(encode(Inputs("any").header, columns.take(), columns)))


def by_name(batch: Batch) -> Counter[str]:
    return Counter(row.name for row in batch.rows)


def test_names_beyond_the_bound_fold_and_known_ones_stay() -> None:
    columns = started(3)
    for name in ("/a", "/b", "/c", "/d", "/a", "/e", "/c"):
        record(columns, Request(0, "GET", name, 1.0, 1))
    assert by_name(batch_of(columns)) == {"/a": 2, "/b": 1, "/c": 2, OTHER: 2}
    assert columns.folded
    for name in (
        "/d",
        "/a",
    ):  # what is known stays known, and what was folded stays folded, in the next batch
        record(columns, Request(0, "GET", name, 1.0, 1))
    batch = batch_of(columns)
    assert by_name(batch) == {"/a": 1, OTHER: 1}
    assert {row.method for row in batch.rows if row.name == OTHER} == {OTHER}


def test_methods_of_one_name_fold_too() -> None:
    columns = started(3)
    for number in range(10):
        record(columns, Request(0, f"M{number}", "/a", 1.0, 1))
    batch = batch_of(columns)
    assert Counter(row.method for row in batch.rows) == {"M0": 1, "M1": 1, "M2": 1, OTHER: 7}
    assert by_name(batch) == {"/a": 3, OTHER: 7}


def test_failures_fold_like_successes() -> None:
    columns = started(2, shown)
    for number in range(5):
        record(columns, Request(0, "GET", f"/{number}", 1.0, 1, 500, ValueError("boo")))
    assert by_name(batch_of(columns)) == {"/0": 1, "/1": 1, OTHER: 3}


def test_error_messages_fold_into_their_class() -> None:
    columns = started(10, shown)
    count = bounds.MAX_ERRORS + 50
    for number in range(count):
        record(columns, Request(0, "GET", "/", 1.0, 1, 500, ValueError(f"id {number}")))
    record(columns, Request(0, "GET", "/", 1.0, 1, 500, ValueError("id 0")))
    record(columns, Request(0, "GET", "/", 1.0, 1, 500, "a text of its own"))
    errors = Counter(row.error for row in batch_of(columns).rows)
    assert errors["ValueError(...)"] == 50
    assert errors["ValueError('id 0')"] == 2
    assert errors[OTHER] == 1
    assert sum(errors.values()) == count + 2


@pytest.mark.parametrize("kind", ["names", "methods", "errors", "error classes", "statuses", "exceptions"])
def test_floods_cost_bounded_memory_and_bounded_batches(kind: str) -> None:
    flood = 100_000 if kind in ("names", "errors") else 10_000
    columns = started(500, shown)
    tracemalloc.start()
    for number in range(flood):
        request = Request(0, "GET", "/", 1.0, 1)
        if kind == "names":
            request.name = f"/item/{number}"
        elif kind == "methods":
            request.method = f"METHOD-{number}"
        elif kind == "errors":
            request.exception = ValueError(f"no item {number} " + "x" * 100)
        elif kind == "error classes":
            request.exception = type(f"Error{number}", (Exception,), {})()
        elif kind == "statuses":
            request.status = number
        else:
            columns.exception(START_MS, ValueError(f"no item {number}"), None)
        record(columns, request)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    taken = columns.take()
    batch = read(compress(encode(Inputs("any").header, taken, columns)))
    assert len(batch.rows) == flood, "requests are counted to the last one"
    assert size - flood * bounds.REQUEST_BYTES < 4 * 2**20
    assert batch.records <= 3_000
    assert len(batch.exceptions) <= bounds.MAX_EXCEPTIONS + bounds.MAX_ERROR_CLASSES + 1
    if kind == "exceptions":
        assert sum(exception["count"] for exception in batch.exceptions) == flood


def test_long_texts_are_cut() -> None:
    columns = started(10, shown)
    record(columns, Request(0, "M" * 10_000, "/" * 10_000, 1.0, 1, 500, "e" * 10_000))
    columns.exception(START_MS, ValueError("m" * 10_000), None)
    batch = batch_of(columns)
    (row,) = batch.rows
    assert (len(row.method), len(row.name)) == (bounds.MAX_NAME, bounds.MAX_NAME)
    assert len(row.error or "") == bounds.MAX_ERROR
    assert len(batch.exceptions[0]["message"]) == bounds.MAX_ERROR


class Strange:
    """A response of a custom client."""


@pytest.mark.parametrize(
    ("response", "status"),
    [(None, None), (Strange(), None), (Response(0), None), (Response(99), None), (Response(1000), None)],
)
def test_what_is_no_http_status_is_none(response: Any, status: int | None) -> None:
    columns = started(10)
    columns.on_request(request_type="X", name="x", response_time=1, response_length=1, response=response)
    columns.on_request(
        request_type="X", name="x", response_time=1, response_length=1, response=response, odd=1
    )
    assert [row.status for row in batch_of(columns).rows] == [status, status]


@pytest.mark.parametrize("strange", [None, 7, ("a", "b"), ["a"]])
def test_names_that_are_no_strings(strange: Any) -> None:
    columns = started(10)
    columns.on_request(request_type=strange, name=strange, response_time=1, response_length=1)
    assert [(row.method, row.name) for row in batch_of(columns).rows] == [(str(strange), str(strange))]


@pytest.mark.parametrize("strange", [None, nan, float("inf"), "soon", object()])
def test_response_times_that_are_no_numbers_are_null(strange: Any) -> None:
    columns = started(10)
    columns.on_request(request_type="X", name="x", response_time=strange, response_length=strange)
    columns.on_request(request_type="X", name="x", response_time=1.25, response_length=3)
    assert [row.response_time_us for row in batch_of(columns).rows] == [None, 1250]


def test_huge_response_times_are_cut_to_what_json_keeps() -> None:
    columns = started(10)
    for value in (1e300, -1e300, 2.0**40):
        columns.on_request(request_type="X", name="x", response_time=value, response_length=1)
    assert [row.response_time_us for row in batch_of(columns).rows] == [MAX_INT, -MAX_INT, 2**40 * 1000]


def test_pop_last_takes_the_newest_requests_of_all_groups() -> None:
    rng = random.Random(2)  # noqa: S311  # repeatable, not secret
    clock = iter(range(1_000))
    columns = started(10, now=lambda: float(next(clock)))
    columns.end()
    on_request = columns.on_request
    names = [rng.choice(["/a", "/b"]) for _ in range(50)]
    for number, name in enumerate(names):
        error = ValueError() if rng.random() < 0.3 else None
        on_request(request_type="GET", name=name, response_time=number, response_length=0, exception=error)
    last = columns.pop_last(7)
    assert columns.requests == 43
    columns.begin(10, last)
    batch = batch_of(columns)
    assert sorted(row.response_time_us or 0 for row in batch.rows) == [1000 * n for n in range(43, 50)]
    assert by_name(batch) == Counter(names[43:])
    assert columns.pop_last(0) == []


def test_requests_after_the_end_of_a_run_can_be_those_of_the_next_one() -> None:
    columns = started(10)
    for number in range(5):
        record(columns, Request(0, "GET", "/", float(number), 1))
    columns.end()
    for number in range(5, 8):
        record(columns, Request(0, "GET", "/", float(number), 1))
    last = columns.pop_last(2)
    assert sorted(row.response_time_us or 0 for row in batch_of(columns).rows) == [1000 * n for n in range(6)]
    columns.begin(10, last)
    assert sorted(row.response_time_us or 0 for row in batch_of(columns).rows) == [6000, 7000]


def test_an_interval_does_not_show_up_in_the_next_one() -> None:
    columns = started(10)
    for _ in range(2):
        record(columns, Request(0, "GET", "/", 1.0, 1))
        columns.users(START_MS, 1, {"U": 1})
        columns.event(START_MS, "reset_stats", {})
        columns.exception(START_MS, ValueError(), None)
        taken = columns.take()
        assert (taken.requests, len(taken.users), len(taken.events), len(taken.exceptions)) == (1, 1, 1, 1)
    assert not columns.take()


def test_events_before_a_run_are_bounded() -> None:
    columns = started(10)
    for number in range(3 * bounds.MAX_EVENTS):
        columns.event(START_MS, "worker_connect", {"client_id": str(number)})
    events = columns.take().events
    assert len(events) == bounds.MAX_EVENTS
    assert events[-1]["detail"] == {"client_id": str(3 * bounds.MAX_EVENTS - 1)}


def test_a_buffered_request_takes_no_more_memory_than_reckoned() -> None:
    columns = started(10)
    response = Response(200)
    tracemalloc.start()
    for number in range(20_000):
        columns.on_request(
            request_type="GET",
            name="/",
            response_time=number * 1.5,
            response_length=1000 + number,
            response=response,
        )
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / 20_000 < (bounds.ROW_BYTES if fast else bounds.REQUEST_BYTES)
    assert columns.size >= size
    assert sys.getrefcount(response) < 10, "no response is kept"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=50))
def test_response_times_are_rounded_to_the_nearest_microsecond(values: list[float]) -> None:
    columns = started(10)
    for value in values:
        columns.on_request(request_type="X", name="x", response_time=value, response_length=1)
    found = [row.response_time_us for row in batch_of(columns).rows]
    assert found == [round(value * 1000) for value in values if isfinite(value)]


class Poison:
    """Raises from wherever it is looked at."""

    def __str__(self) -> str:
        raise RuntimeError("poison")

    @property
    def status_code(self) -> int:
        raise RuntimeError("poison")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("poison")

    __hash__ = None  # type: ignore[assignment]

    def __index__(self) -> int:
        return 7


def test_objects_that_raise_cost_nothing_but_what_they_hide() -> None:
    columns = started(9)
    for _ in range(3):
        record(columns, Request(0, "GET", "/a", 1.0, 1))
    poison = Poison()
    for method, name, response, length in (
        (poison, "/b", None, 1),
        ("GET", poison, None, 1),
        ("GET", "/a", poison, 1),
        ("GET", "/a", None, poison),
    ):
        columns.on_request(
            request_type=method, name=name, response_time=1.0, response_length=length, response=response
        )
    batch = batch_of(columns)
    assert by_name(batch) == {"/a": 5, "/b": 1, "<Poison>": 1}
    assert {row.method for row in batch.rows if row.name == "/b"} == {"<Poison>"}


def test_a_long_method_is_cut_in_the_same_way_each_time() -> None:
    columns = started(9)
    for _ in range(3):
        record(columns, Request(0, "M" * 9_000, "/a", 1.0, 1))
    assert {row.method for row in batch_of(columns).rows} == {"M" * bounds.MAX_NAME}
