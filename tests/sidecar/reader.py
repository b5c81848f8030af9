"""Reads the sidecar's batches by the format's description alone, so that tests do not trust the writer."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hook.reader import validator


@dataclass
class Batch:
    """A batch, as read."""

    header: dict[str, Any]
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    users: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    exceptions: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Sum:
    """One endpoint over all snapshots; times in microseconds."""

    requests: int = 0
    failures: int = 0
    response_times: int = 0
    sum_us: int = 0
    min_us: int | None = None
    max_us: int | None = None
    response_bytes: int = 0


def read(content: bytes) -> Batch:
    """Reads and checks a batch."""
    lines = [json.loads(line) for line in gzip.decompress(content).splitlines()]
    for line in lines:
        validator().validate(line)
    batch = Batch(lines[0])
    kinds = {
        "snapshot": batch.snapshots,
        "users": batch.users,
        "event": batch.events,
        "exception": batch.exceptions,
    }
    for line in lines[1:-1]:
        ((kind, value),) = line.items()
        kinds[kind].append(value)
    assert lines[-1] == {"end": {"records": len(lines) - 2, "requests": 0}}
    for snapshot in batch.snapshots:
        assert snapshot["from_ms"] <= snapshot["at_ms"]
        endpoints = [(entry["method"], entry["name"]) for entry in snapshot["endpoints"]]
        assert len(set(endpoints)) == len(endpoints), "each endpoint once"
    return batch


def read_runs(folder: Path) -> dict[str, list[Batch]]:
    """Run → its batches in their order; checks for gaps. Each sidecar process is a source of its own."""
    runs: dict[str, list[Batch]] = {}
    for path in sorted(folder.rglob("*.ndjson.gz")):
        batch = read(path.read_bytes())
        assert path.name == f"{batch.header['seq']:06}.ndjson.gz"
        runs.setdefault(batch.header["run"], []).append(batch)
    for batches in runs.values():
        batches.sort(key=lambda batch: (batch.header["to_ms"], batch.header["seq"]))
        seqs: dict[str, list[int]] = {}
        for batch in batches:
            seqs.setdefault(batch.header["source"], []).append(batch.header["seq"])
        for found in seqs.values():
            assert found == list(range(len(found)))
        for key in ("test", "run_started_ms", "host", "locust"):
            assert len({str(batch.header[key]) for batch in batches}) == 1, key
    return runs


def sums(batches: Iterable[Batch]) -> dict[tuple[str, str], Sum]:
    """(method, name) → what the snapshots add up to; checks each one's bounds."""
    found: dict[tuple[str, str], Sum] = {}
    for batch in batches:
        for snapshot in batch.snapshots:
            for entry in snapshot["endpoints"]:
                total = found.setdefault((entry["method"], entry["name"]), Sum())
                count, times = entry["response_times"], entry["response_time_us"]
                total.requests += entry["requests"]
                total.failures += entry["failures"]
                total.response_times += count
                total.response_bytes += entry["response_bytes"] or 0
                assert (times is None) == (count == 0)
                if times is not None:
                    assert times["min"] * count <= times["sum"] <= times["max"] * count
                    total.sum_us += times["sum"]
                    low, high = times["min"], times["max"]
                    total.min_us = low if total.min_us is None else min(low, total.min_us)
                    total.max_us = high if total.max_us is None else max(high, total.max_us)
    return found
