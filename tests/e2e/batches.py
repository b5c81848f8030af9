"""Batches written and read without the hook: by the format's description alone."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

Record = dict[str, Any]


def now_ms() -> int:
    """The current time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass
class Batch:
    """A batch to write. `from_ms` is 10 s ago unless said otherwise."""

    test: str
    records: list[Record] = field(default_factory=list)
    run: str = "20261121T102900Z-4f3a"
    source: str = "host-local"
    seq: int = 0
    from_ms: int = field(default_factory=lambda: now_ms() - 10_000)

    @property
    def key(self) -> str:
        """Where the hook would put it."""
        return f"batches/{self.test}/{self.run}/{self.source}/{self.seq:06}.ndjson.gz"

    @property
    def header(self) -> Record:
        """The first line."""
        return {
            "format": "locust-stats-batch",
            "version": 1,
            "test": self.test,
            "run": self.run,
            "source": self.source,
            "seq": self.seq,
            "run_started_ms": self.from_ms,
            "from_ms": self.from_ms,
            "to_ms": self.from_ms + 10_000,
            "host": "http://shop.example",
            "locust": "2.47.0",
            "hook": "0.1.0",
            "labels": {},
        }

    def lines(self) -> list[Record]:
        """All lines, the header and the end line included."""
        requests = sum(len(record["requests"]["at_ms"]) for record in self.records if "requests" in record)
        end = {"end": {"records": len(self.records), "requests": requests}}
        return [self.header, *self.records, end]

    def content(self) -> bytes:
        """The object's bytes."""
        return gzip.compress(text(self.lines()), compresslevel=1)


def text(lines: Sequence[Record]) -> bytes:
    """Lines as newline-delimited JSON."""
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def requests(
    method: str,
    name: str,
    times_us: Sequence[int | None],
    *,
    at_ms: Sequence[int] | None = None,
    sizes: Sequence[int | None] | None = None,
    status: int | None = 200,
    error: str | None = None,
) -> Record:
    """A group of requests; `at_ms` as the column is written, by default one millisecond apart."""
    return {
        "requests": {
            "method": method,
            "name": name,
            "status": status,
            "error": error,
            "at_ms": [1] * len(times_us) if at_ms is None else list(at_ms),
            "response_time_us": list(times_us),
            "response_bytes": [100] * len(times_us) if sizes is None else list(sizes),
        }
    }


def read(content: bytes) -> tuple[Record, list[Record]]:
    """Header and records of a batch; checks that it is whole."""
    header, *records, end = (json.loads(line) for line in gzip.decompress(content).splitlines())
    assert header["format"] == "locust-stats-batch"
    count = sum(len(record["requests"]["at_ms"]) for record in records if "requests" in record)
    assert end == {"end": {"records": len(records), "requests": count}}
    return header, records


@dataclass(frozen=True)
class Request:
    """One request of a batch."""

    method: str
    name: str
    status: int | None
    error: str | None
    at_ms: int
    time_us: int | None
    size: int | None


def each_request(header: Record, records: Sequence[Record]) -> Iterator[Request]:
    """Every single request of a batch."""
    for record in records:
        group = record.get("requests")
        if group is None:
            continue
        moments = accumulate(group["at_ms"])
        for at_ms, time_us, size in zip(
            moments, group["response_time_us"], group["response_bytes"], strict=True
        ):
            yield Request(
                group["method"], group["name"], group["status"], group["error"],
                header["from_ms"] + at_ms, time_us, size,
            )  # fmt: skip


def moved_to_now(content: bytes) -> bytes:
    """The same batch, gzip or plain, as if its interval ended just now; names and numbers stay."""
    lines = [json.loads(line) for line in gzip.decompress(content).splitlines()]
    shift = now_ms() - lines[0]["to_ms"]
    for field_name in ("run_started_ms", "from_ms", "to_ms"):
        lines[0][field_name] += shift
    for line in lines[1:]:
        for kind in ("users", "event", "exception"):
            if kind in line:
                line[kind]["at_ms"] += shift
    return gzip.compress(text(lines), compresslevel=1)


def bomb(batch: Batch, megabytes: int) -> bytes:
    """A batch of some kilobytes that grows to so many megabytes: records of a kind that no reader knows."""
    compressor = zlib.compressobj(9, wbits=31)
    line = json.dumps({"padding": "x" * 999_985}).encode() + b"\n"
    parts = [compressor.compress(text([batch.header]))]
    parts += [compressor.compress(line) for _ in range(megabytes)]
    parts.append(compressor.compress(text([{"end": {"records": megabytes, "requests": 0}}])))
    return b"".join([*parts, compressor.flush()])
