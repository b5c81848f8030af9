"""Reads batches by the format's description alone, so that tests do not trust the writer."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA = Path(__file__).parents[2] / "docs" / "batch.schema.json"


@dataclass
class Row:
    """One request of a batch; `at_ms` since the epoch."""

    method: str
    name: str
    status: int | None
    error: str | None
    at_ms: int
    response_time_us: int | None
    response_bytes: int | None


@dataclass
class Batch:
    """A batch, as read."""

    header: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    users: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    exceptions: list[dict[str, Any]] = field(default_factory=list)
    records: int = 0


@cache
def validator() -> jsonschema.Draft202012Validator:
    """Checks a line against the schema."""
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def shortened(line: dict[str, Any]) -> dict[str, Any]:
    """The line with the first numbers of its columns: a schema is slow with thousands."""
    if "requests" not in line:
        return line
    return {
        "requests": {
            name: value[:20] if isinstance(value, list) else value for name, value in line["requests"].items()
        }
    }


def read(content: bytes) -> Batch:
    """Reads and checks a batch."""
    lines = [json.loads(line) for line in gzip.decompress(content).splitlines()]
    for line in lines:
        validator().validate(shortened(line))
    batch = Batch(lines[0], records=len(lines) - 2)
    for line in lines[1:-1]:
        ((kind, value),) = line.items()
        if kind == "requests":
            columns = [value[name] for name in ("at_ms", "response_time_us", "response_bytes")]
            assert len({len(column) for column in columns}) == 1, "columns of equal length"
            assert {type(number) for column in columns for number in column} <= {int, type(None)}
            key = [value[name] for name in ("method", "name", "status", "error")]
            at_ms = accumulate(columns[0], initial=batch.header["from_ms"])
            next(at_ms)
            batch.rows += [Row(*key, *row) for row in zip(at_ms, *columns[1:], strict=True)]
        else:
            {"users": batch.users, "event": batch.events, "exception": batch.exceptions}[kind].append(value)
    assert lines[-1] == {"end": {"records": len(lines) - 2, "requests": len(batch.rows)}}
    return batch


def read_folder(folder: Path) -> dict[tuple[str, str], list[Batch]]:
    """(run, source) → its batches in their order; checks keys against headers, and for gaps."""
    sources: dict[tuple[str, str], list[Batch]] = {}
    for path in sorted(folder.rglob("*.ndjson.gz")):
        batch = read(path.read_bytes())
        header = batch.header
        parts = path.relative_to(folder).parts[-5:]
        assert parts == (
            "batches",
            header["test"],
            header["run"],
            header["source"],
            f"{header['seq']:06}.ndjson.gz",
        )
        sources.setdefault((header["run"], header["source"]), []).append(batch)
    for batches in sources.values():
        assert [batch.header["seq"] for batch in batches] == list(range(len(batches)))
    return sources


def counts(batches: Iterable[Batch]) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(method, name) → requests, failures, requests without a response time; as Locust's statistics count."""
    requests: Counter[tuple[str, str]] = Counter()
    failures: Counter[tuple[str, str]] = Counter()
    without: Counter[tuple[str, str]] = Counter()
    for batch in batches:
        for row in batch.rows:
            endpoint = (row.method, row.name)
            requests[endpoint] += 1
            failures[endpoint] += row.error is not None
            without[endpoint] += row.response_time_us is None
    return {endpoint: (requests[endpoint], failures[endpoint], without[endpoint]) for endpoint in requests}
