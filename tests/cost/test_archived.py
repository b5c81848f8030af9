"""A recorded run is counted by the hour; its batches can be put together to longer ones without a loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cost.archived import Archived, open_run
from cost.counts import count
from cost.load import CostError, Load
from cost.preview import relay
from tests.e2e.batches import each_request, read
from tests.replay.recorded import HOUR_MS, MINUTE_MS, Run

SETTINGS = {"RELAY_LOG_GROUP": "/locust"}
NOON_MS = 1_795_262_400_000
"""2026-11-21T12:00:00Z."""
RUN = Run("checkout", "20261121T114700Z-4f3a", NOON_MS - 13 * MINUTE_MS, length_ms=20 * MINUTE_MS)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    RUN.write(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "estimate"
    folder.mkdir()
    return folder


def opened(archive: Path, folder: Path) -> Archived:
    return open_run(str(archive), None, None, folder)


def files(load: Load) -> list[Path]:
    return [file for part in load.uploaded for file in part.files]


def contents(paths: Sequence[Path]) -> Counter[object]:
    """Everything in some batches but where one ends and the next begins."""
    found: Counter[object] = Counter()
    for path in paths:
        header, lines = read(path.read_bytes())
        found.update(each_request(header, lines))
        found.update(repr(line) for line in lines if "requests" not in line)
    return found


def test_a_run_is_counted_in_the_hours_of_the_clock(archive: Path, folder: Path, relay_binary: Path) -> None:
    run = opened(archive, folder)
    load = run.load(run.flush_seconds)
    assert (run.name, run.flush_seconds) == ("checkout / 20261121T114700Z-4f3a", 30)
    assert (load.seconds, load.hours, load.processes) == (1_200, 2, 3)
    # A batch is published when it has ended: the one that ends at noon counts in the next hour.
    assert [len(part.files) for part in load.uploaded] == [3 * 25, 3 * 15]
    counts = count(load, relay(relay_binary), SETTINGS)
    assert counts.batches == 120
    assert counts.requests == 80 * RUN.requests
    assert counts.metric_hours == pytest.approx((counts.metrics + 7) * 2)
    assert counts.uploaded_bytes == sum(file.stat().st_size for file in files(load))


@pytest.mark.parametrize("flush_seconds", [60, 90, 3_600])
def test_longer_batches_hold_the_same(
    flush_seconds: int, archive: Path, folder: Path, relay_binary: Path
) -> None:
    run = opened(archive, folder)
    short, long = run.load(30), run.load(flush_seconds)
    assert (long.seconds, long.processes) == (short.seconds, short.processes)
    assert len(files(long)) == 3 * -(-1_200 // flush_seconds)
    assert contents(files(long)) == contents(files(short))
    planner = relay(relay_binary)
    one, other = (count(load, planner, SETTINGS) for load in (short, long))
    assert (other.requests, other.log_calls < one.log_calls) == (one.requests, True)


def test_the_last_batches_of_a_run_are_shorter(tmp_path: Path, folder: Path) -> None:
    replace(RUN, length_ms=RUN.length_ms + 7_000).write(tmp_path / "odd")
    run = opened(tmp_path / "odd", folder)
    assert contents(files(run.load(90))) == contents(files(run.load(30)))


def test_batches_cannot_be_divided(archive: Path, folder: Path) -> None:
    with pytest.raises(CostError, match=r"at least the 30 s of the recorded batches, found 10"):
        opened(archive, folder).load(10)


def test_only_gzip_batches_can_be_put_together(tmp_path: Path, folder: Path) -> None:
    typical = Path(__file__).parents[1] / "data" / "typical.ndjson.zst"
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / typical.name).write_bytes(typical.read_bytes())
    run = opened(tmp_path / "archive", folder)
    assert len(files(run.load(run.flush_seconds))) == 1
    with pytest.raises(CostError, match="gzip"):
        run.load(run.flush_seconds + 1)


def test_one_run_must_be_named(archive: Path, folder: Path) -> None:
    RUN.at(NOON_MS - HOUR_MS, run="20261121T110000Z-0001").write(archive)
    with pytest.raises(CostError, match=r"(?s)found 2: .*--test checkout --run 20261121T110000Z-0001"):
        opened(archive, folder)
    named = open_run(str(archive), None, RUN.run, folder)
    assert named.name.endswith(RUN.run)
    with pytest.raises(CostError, match="found none"):
        open_run(str(archive), "other", None, folder)


def test_missing_batches_are_known(archive: Path, folder: Path) -> None:
    next(archive.rglob("000003.*")).unlink()
    assert opened(archive, folder).missing == 1


def test_batches_that_came_a_little_late_are_put_together_as_many(tmp_path: Path, folder: Path) -> None:
    replace(RUN, interval_ms=30_200, length_ms=9 * 30_200).write(tmp_path / "late")
    run = opened(tmp_path / "late", folder)
    assert run.flush_seconds == 30
    assert len(files(run.load(90))) == 3 * 3
