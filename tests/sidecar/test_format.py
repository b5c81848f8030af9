"""The sidecar's batches: the golden one, and that what is in it adds up."""

from __future__ import annotations

import gzip
import json

from tests.sidecar.golden import DATA, play
from tests.sidecar.reader import read, sums


def test_the_golden_batch_says_what_was_counted() -> None:
    batch = read((DATA / "snapshot.ndjson.gz").read_bytes())
    expected = json.loads((DATA / "snapshot.expected.json").read_text())
    assert {name: batch.header[name] for name in expected["header"]} == expected["header"]
    found = sums([batch])
    assert [[*key] for key in sorted(found)] == [[e["method"], e["name"]] for e in expected["endpoints"]]
    for endpoint in expected["endpoints"]:
        total = found[endpoint["method"], endpoint["name"]]
        for name in ("requests", "failures", "response_times", "response_bytes"):
            assert getattr(total, name) == endpoint[name], name
        if times := endpoint["response_time_us"]:
            assert (total.min_us, total.max_us) == (times["min"], times["max"])
            assert abs(total.sum_us - times["sum"]) <= 10
        else:
            assert total.min_us is None
    assert len(batch.snapshots) == expected["snapshots"]
    assert batch.snapshots[0]["from_ms"] == expected["first_from_ms"]
    assert batch.snapshots[-1]["at_ms"] == expected["last_at_ms"]
    errors = sum(error["count"] for snapshot in batch.snapshots for error in snapshot["errors"])
    assert errors == expected["errors"]
    assert sum(exception["count"] for exception in batch.exceptions) == expected["exceptions"]
    last = batch.snapshots[-1]
    assert sorted(worker["id"] for worker in last["workers"]) == expected["workers"]
    assert last["total"]["current_percentiles_ms"] == expected["last_current_percentiles_ms"]
    assert batch.users[-1]["total"] == expected["last_users"]


def test_the_golden_files_are_current() -> None:
    content, expected = play()
    assert gzip.decompress((DATA / "snapshot.ndjson.gz").read_bytes()) == gzip.decompress(content)
    assert json.loads((DATA / "snapshot.expected.json").read_text()) == expected
