"""Golden batches: made by the hook from fixed inputs, with what a reader has to find in them.

`python -m tests.hook.golden` writes `tests/data/` anew. What is expected is worked out from the inputs alone,
without the hook's code.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from locust_hook.recording.columns import Columns
from locust_hook.recording.encode import Header, compress, encode

DATA = Path(__file__).parents[1] / "data"
START_MS = 1_795_259_340_000
"""2026-11-21T11:09:00Z."""


@dataclass
class Request:
    """What Locust's request event says; times and response times in milliseconds."""

    at_ms: float
    method: str
    name: str
    response_time: Any
    length: Any
    status: int | None = 200
    exception: Any = None


@dataclass
class Inputs:
    """Everything that goes into one golden batch."""

    name: str
    requests: list[Request] = field(default_factory=list)
    users: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    exceptions: list[tuple[int, Exception]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    test: str = ""
    seq: int = 0

    @property
    def header(self) -> Header:
        """The header; the interval is ten seconds, the third of its run."""
        return Header(
            test=self.test or self.name,
            run="20261121T110840Z-4f3a",
            source="ip-10-0-0-7-worker-5f3c9a1e",
            seq=self.seq,
            run_started_ms=START_MS - 20_000,
            from_ms=START_MS,
            to_ms=START_MS + 10_000,
            host="https://shop.example",
            locust="2.47.0",
            hook="0.1.0",
            labels=self.labels,
        )


class Response:
    """As much of an HTTP response as the hook looks at."""

    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


def shown(error: Any) -> str:
    """An error as Locust shows it."""
    return error if isinstance(error, str) else repr(error)


def write(inputs: Inputs, *, fast: bool = False) -> bytes:
    """The batch that the hook makes of the inputs, with its listener in Python, or the one in C."""
    clock: Iterator[float] = iter([request.at_ms / 1000 for request in inputs.requests])
    columns = Columns(500, shown, clock.__next__, fast=fast)
    columns.begin(500, [])
    on_request = columns.on_request
    for request in inputs.requests:
        on_request(
            request_type=request.method,
            name=request.name,
            response_time=request.response_time,
            response_length=request.length,
            response=None if request.status is None else Response(request.status),
            context={},
            exception=request.exception,
            start_time=0.0,
            url="https://shop.example/",
        )
    for at_ms, by_class in inputs.users:
        columns.users(at_ms, sum(by_class.values()), by_class)
    for at_ms, kind, detail in inputs.events:
        columns.event(at_ms, kind, detail)
    for at_ms, exception in inputs.exceptions:
        columns.exception(at_ms, exception, None)
    return compress(encode(inputs.header, columns.take(), columns))


MAX = 2**53 - 1


def expected(inputs: Inputs) -> dict[str, Any]:
    """What a reader has to find."""
    endpoints: dict[tuple[str, str], list[Request]] = {}
    for request in inputs.requests:
        endpoints.setdefault((request.method, request.name), []).append(request)
    exceptions = Counter(f"{type(error).__name__}: {error}" for _, error in inputs.exceptions)
    return {
        "header": {
            "test": inputs.header.test,
            "run": inputs.header.run,
            "source": inputs.header.source,
            "seq": inputs.header.seq,
            "run_started_ms": START_MS - 20_000,
            "from_ms": START_MS,
            "to_ms": START_MS + 10_000,
            "labels": inputs.labels,
        },
        "requests": len(inputs.requests),
        "endpoints": [expected_endpoint(*key, requests) for key, requests in sorted(endpoints.items())],
        "users": [
            {"at_ms": at_ms, "total": sum(by_class.values()), "by_class": by_class}
            for at_ms, by_class in inputs.users
        ],
        "events": [{"at_ms": at, "kind": kind, "detail": detail} for at, kind, detail in inputs.events],
        "exceptions": [{"message": message, "count": count} for message, count in sorted(exceptions.items())],
    }


def expected_endpoint(method: str, name: str, requests: list[Request]) -> dict[str, Any]:
    """What a reader has to find for one endpoint."""
    times = [
        round(request.response_time * 1000)
        for request in requests
        if request.response_time is not None and request.response_time == request.response_time
    ]
    sizes = [max(-MAX, min(MAX, request.length)) for request in requests if request.length is not None]
    statuses = Counter("none" if request.status in (None, 0) else str(request.status) for request in requests)
    errors = Counter(shown(request.exception) for request in requests if request.exception is not None)
    at_ms = sorted(int(request.at_ms) for request in requests)
    return {
        "method": method,
        "name": name,
        "requests": len(requests),
        "failures": sum(errors.values()),
        "response_time_us": {
            "count": len(times),
            "nulls": len(requests) - len(times),
            "sum": sum(times),
            "min": min(times, default=None),
            "max": max(times, default=None),
        },
        "response_bytes": {"count": len(sizes), "sum": sum(sizes)},
        "statuses": dict(sorted(statuses.items())),
        "errors": dict(sorted(errors.items())),
        "first_at_ms": at_ms[0],
        "last_at_ms": at_ms[-1],
    }


def typical() -> Inputs:
    """Twenty endpoints, some thousand requests, one in a hundred failed."""
    rng = random.Random(1)  # noqa: S311  # repeatable, not secret
    inputs = Inputs("typical", test="checkout", seq=2, labels={"commit": "4f3a9c1", "stage": "test"})
    sizes = {number: rng.choices(range(200, 20_000), k=4) for number in range(20)}
    at_ms = float(START_MS)
    while (at_ms := at_ms + rng.expovariate(0.4)) < START_MS + 10_000:
        number = rng.randrange(20)
        request = Request(
            at_ms,
            "GET" if number % 3 else "POST",
            f"/shop/{number}",
            rng.lognormvariate(3.5, 0.8),
            rng.choice(sizes[number]),
        )
        if rng.random() < 0.01:
            request.status = rng.choice([404, 500, 503])
            request.exception = ValueError(f"{request.status} for url: {request.name}")
        inputs.requests.append(request)
    inputs.users = [(START_MS + 1000 * second, {"Buyer": 10, "Visitor": 40}) for second in range(1, 11)]
    return inputs


def oddities() -> Inputs:
    """Whatever Locust lets a user pass."""
    at = START_MS
    plain = Request(at + 1, "GET", "/plain", 12.3456, 100)
    return Inputs(
        "oddities",
        [
            plain,
            Request(at - 2_500.5, "GET", "/plain", 7, 100),
            Request(at + 9_999.9, "GET", "/plain", 0.0004, 0),
            Request(at + 5_000, "GET", "/plain", None, 100),
            Request(at + 5_001, "GET", "/plain", float("nan"), 100),
            Request(at + 5_002, "GET", "/plain", 3_600_000.25, None),
            Request(at + 5_003, "GET", "/plain", -1.5, -1),
            Request(at + 5_004, "GET", "/plain", 1, 10**30),
            Request(at + 5_005, "GET", "/plain", 1, -(10**30)),
            Request(at + 5_006, "POST", "/plain", 2.5, 5),
            Request(at + 5_007, "GET", "/plain", 2.5, 5, status=304),
            Request(at + 5_008, "GET", "/plain", 2.5, 5, status=0),
            Request(at + 10, "", "", 1.0, 1),
            Request(at + 11, "GET", "/größe/漢字/🦗", 1.0, 1),
            Request(at + 12, "GET", "/long/" + "x" * 1_494, 1.0, 1),
            Request(at + 13, "GET", 'with "quotes", \\ and\nlines', 1.0, 1),
            Request(at + 14, "gRPC", "/shop.Cart/Add", 4.25, 0, status=None),
            Request(at + 15, "GET", "/down", 1.0, 0, status=0, exception=ConnectionError("refused")),
            Request(at + 16, "GET", "/down", 2.0, 0, status=0, exception=ConnectionError("refused")),
            Request(at + 17, "GET", "/wrong", 3.0, 9, exception="no cart in the answer: ünexpected"),
            Request(at + 18, "GET", "/down", None, 0, status=503, exception=TimeoutError("10 s")),
        ],
        users=[(at + 1000, {"Été": 3, "Visitor": 4}), (at + 2000, {"Été": 0, "Visitor": 7})],
        events=[
            (at, "test_start", {"num_users": 7, "shape": None, "user_classes": ["Été", "Visitor"]}),
            (at + 1500, "spawning_complete", {"user_count": 7}),
            (at + 3000, "worker_connect", {"client_id": "ip-10-0-0-7_5f3c9a1e"}),
            (at + 9000, "test_stop", {}),
        ],
        exceptions=[
            (at + 4000, ValueError("boo")),
            (at + 4100, ValueError("boo")),
            (at + 4200, KeyError("x")),
        ],
        labels={"größe": "groß", "empty": ""},
    )


def idle() -> Inputs:
    """A master's batch: users and events, no request."""
    return Inputs(
        "idle",
        users=[(START_MS + 1000, {"Visitor": 7}), (START_MS + 2000, {"Visitor": 8})],
        events=[(START_MS + 500, "reset_stats", {})],
    )


GOLDEN: tuple[Callable[[], Inputs], ...] = (typical, oddities, idle)


def bad() -> dict[str, bytes]:
    """File name → contents of batches that a reader has to refuse."""
    content = write(idle())
    lines = gzip.decompress(content).splitlines(keepends=True)
    requests = {
        "method": "GET",
        "name": "/",
        "status": 200,
        "error": None,
        "at_ms": [1, 2],
        "response_time_us": [1],
        "response_bytes": [1, 2],
    }
    header = json.loads(lines[0])

    def made(changed: list[bytes]) -> bytes:
        return gzip.compress(b"".join(changed), mtime=0)

    def line(value: Any) -> bytes:
        return json.dumps(value, separators=(",", ":")).encode() + b"\n"

    return {
        "not-gzip.ndjson.gz": b"".join(lines),
        "truncated.ndjson.gz": content[: len(content) // 2],
        "missing-end.ndjson.gz": made(lines[:-1]),
        "wrong-end.ndjson.gz": made([*lines[:-1], line({"end": {"records": 4, "requests": 0}})]),
        "broken-json.ndjson.gz": made([*lines[:2], lines[2][:20] + b"\n", *lines[3:]]),
        "unequal-columns.ndjson.gz": made(
            [lines[0], line({"requests": requests}), line({"end": {"records": 1, "requests": 2}})]
        ),
        "unknown-version.ndjson.gz": made([line({**header, "version": 2}), *lines[1:]]),
        "empty.ndjson.gz": b"",
        "missing-field.ndjson.gz": made(
            [line({name: value for name, value in header.items() if name != "run"}), *lines[1:]]
        ),
    }


def main() -> None:
    """Writes all files."""
    (DATA / "bad").mkdir(parents=True, exist_ok=True)
    for make in GOLDEN:
        inputs = make()
        content = write(inputs)
        (DATA / f"{inputs.name}.ndjson.gz").write_bytes(content)
        facts = json.dumps(expected(inputs), ensure_ascii=False, indent=1)
        (DATA / f"{inputs.name}.expected.json").write_text(facts + "\n", encoding="utf-8")
    twin = zstandard.compress(gzip.decompress((DATA / "typical.ndjson.gz").read_bytes()))
    (DATA / "typical.ndjson.zst").write_bytes(twin)
    for name, content in bad().items():
        (DATA / "bad" / name).write_bytes(content)


if __name__ == "__main__":
    main()
