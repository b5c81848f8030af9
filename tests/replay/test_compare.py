"""Two runs side by side: the numbers are numpy's, and limits are held."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_hook.commands.archive import Folder, by_run
from locust_hook.commands.compare import (
    AGGREGATED,
    PERCENTILES,
    Counted,
    Endpoint,
    Limit,
    Statistics,
    main,
    nearest_ranks,
    parse,
    read_run,
    regressions,
)
from tests.replay.conftest import Command, Replays
from tests.replay.recorded import MINUTE_MS, Run

FIRST = Run("checkout", "20261012T110015Z-4f3a", 1_791_802_815_000, requests=200)
SECOND = Run("checkout", "20261019T110015Z-0b0b", 1_792_407_615_000, requests=150, scale=1.2, seed=2)
WITHOUT = Run("idle", "r", 1_792_407_615_000, sources=("host-master",))


def by_numpy(run: Run) -> dict[Endpoint, Statistics]:
    """A run's statistics, from what went into it."""
    found = {}
    requests = [request for batch in run.batches() for request in batch.requests]
    for method, name in {(r.method, r.name) for r in requests} | {AGGREGATED}:
        mine = [r for r in requests if (method, name) in ((r.method, r.name), AGGREGATED)]
        times = np.array([round(r.response_time * 1000) for r in mine if r.response_time is not None])
        percentiles = np.percentile(times, PERCENTILES, method="inverted_cdf") / 1000
        failures = sum(r.exception is not None for r in mine)
        found[Endpoint(method, name)] = Statistics(
            len(mine), failures, float(times.mean()) / 1000, *map(float, percentiles)
        )
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    for run in (FIRST, SECOND, WITHOUT):
        run.write(folder)
    return folder


# The numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [FIRST, SECOND])
def test_statistics_are_numpy_s(folder: Path, run: Run) -> None:
    (items,) = by_run(Folder(folder).items(run=run.run))
    found = read_run(Folder(folder), items, 4)
    expected = by_numpy(run)
    assert found.keys() == expected.keys()
    for endpoint, statistics in expected.items():
        assert found[endpoint].mean == pytest.approx(statistics.mean, rel=1e-12)
        for name in ("requests", "failures", "p50", "p95", "p99"):
            assert getattr(found[endpoint], name) == getattr(statistics, name), (endpoint, name)


@given(st.lists(st.integers(-10, 10**7), min_size=1, max_size=300))
def test_percentiles_are_numpy_s(values: list[int]) -> None:
    expected = np.percentile(np.array(values), PERCENTILES, method="inverted_cdf")
    assert list(nearest_ranks(Counter(values), PERCENTILES)) == list(expected)


@pytest.mark.parametrize(
    ("values", "percentiles"),
    [([7], [7, 7, 7]), (range(1, 101), [50, 95, 99]), (range(1, 21), [10, 19, 20]), ([], [])],
)
def test_percentiles_by_hand(values: list[int], percentiles: list[int]) -> None:
    assert list(nearest_ranks(Counter(values), PERCENTILES)) == percentiles


def test_nothing_has_no_statistics() -> None:
    assert Counted().statistics() == Statistics(0, 0, None, None, None, None)
    assert Counted().statistics().failure_rate == 0


# The limits -------------------------------------------------------------------------------------------

BASE = Statistics(1000, 10, 100.0, 90.0, 200.0, 300.0)
ENDPOINT = Endpoint("GET", "/")


@pytest.mark.parametrize(
    ("limit", "second", "broken"),
    [
        ("p95=10%", Statistics(1000, 10, 100.0, 90.0, 220.0, 300.0), None),
        ("p95=10%", Statistics(1000, 10, 100.0, 90.0, 220.1, 300.0),
         "p95 200.000 ms → 220.100 ms, +10.1 %, more than 10 %"),
        ("p95=0", Statistics(1000, 10, 100.0, 90.0, 200.0, 999.0), None),
        ("p99=5%", Statistics(1000, 10, 100.0, 90.0, 200.0, 999.0),
         "p99 300.000 ms → 999.000 ms, +233.0 %, more than 5 %"),
        ("mean=1%", Statistics(1000, 10, 102.0, 90.0, 200.0, 300.0),
         "mean 100.000 ms → 102.000 ms, +2.0 %, more than 1 %"),
        ("p50=1%", Statistics(1000, 10, 100.0, 50.0, 200.0, 300.0), None),
        ("failures=1%", Statistics(1000, 20, 100.0, 90.0, 200.0, 300.0), None),
        ("failures=1%", Statistics(1000, 21, 100.0, 90.0, 200.0, 300.0),
         "failure rate 1 % → 2.1 %, +1.1 points, more than 1"),
        ("p95=10%", Statistics(1000, 1000, None, None, None, None), None),
    ],
)  # fmt: skip
def test_limits(limit: str, second: Statistics, broken: str | None) -> None:
    (parsed,) = parse(["a", "b", "--max-regression", limit]).max_regression
    expected = [f"GET /: {broken}"] if broken else []
    assert regressions({ENDPOINT: BASE}, {ENDPOINT: second}, [parsed], 1) == expected


def test_an_endpoint_that_is_gone_is_a_regression() -> None:
    limits = [Limit("p95", 1e6)]
    assert regressions({ENDPOINT: BASE}, {}, limits, 1) == ["GET /: 1,000 requests → none"]
    assert regressions({ENDPOINT: BASE}, {}, [], 1) == []
    assert regressions({}, {ENDPOINT: BASE}, limits, 1) == []


def test_small_endpoints_are_left_alone() -> None:
    slow = Statistics(1000, 0, 1e9, 1e9, 1e9, 1e9)
    few = Statistics(9, 0, 1e9, 1e9, 1e9, 1e9)
    limits = [Limit("p50", 0.0)]
    assert regressions({ENDPOINT: BASE}, {ENDPOINT: few}, limits, 10) == []
    assert regressions({ENDPOINT: few}, {}, limits, 10) == []
    assert regressions({ENDPOINT: BASE}, {ENDPOINT: slow}, limits, 10) != []


@pytest.mark.parametrize("text", ["p95", "p95=", "p95=-1%", "p90=1%", "p95=ten", "=1%", "failures=1%%"])
def test_what_is_no_limit(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(["a", "b", "--max-regression", text])
    assert exit_.value.code == 2
    assert "expected NAME=N% with a name of mean, p50, p95, p99, failures" in capsys.readouterr().err


# The command ------------------------------------------------------------------------------------------


def runs_in(folder: Path) -> list[str]:
    return [str(folder / "batches" / "checkout" / run.run) for run in (FIRST, SECOND)]


def test_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(runs_in(folder)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"A: checkout/{FIRST.run}", f"B: checkout/{SECOND.run}"]
    assert [line.split("  ")[0].strip() for line in lines[3::2]] == [
        "GET /", "GET /item/[id]", "POST /checkout", "Aggregated",
    ]  # fmt: skip
    before, after = (by_numpy(run)[Endpoint(*AGGREGATED)] for run in (FIRST, SECOND))
    assert lines[-2].split()[2:4] == ["4,800", f"{before.failure_rate:.2f}"]
    assert lines[-1].split()[:3] == ["B", "3,600", "(-25.0%)"]
    assert before.p99 is not None
    assert after.p99 is not None
    assert lines[-1].endswith(f"{after.p99:,.1f} ({100 * (after.p99 / before.p99 - 1):+.1f}%)")


def test_limits_decide_about_the_exit_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = ("--max-regression", "p50=15%", "--max-regression", "failures=50%")
    assert main([*runs_in(folder), *limits]) == 1
    assert "regression: Aggregated: p50 " in capsys.readouterr().out
    assert main([*runs_in(folder), "--max-regression", "p50=60%"]) == 0
    assert "regression" not in capsys.readouterr().out
    assert main([*runs_in(folder)[::-1], *limits]) == 0


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*runs_in(folder), "--json", "--max-regression", "p50=15%"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["a"], found["b"]) == (f"checkout/{FIRST.run}", f"checkout/{SECOND.run}")
    assert found["regressions"]
    expected = by_numpy(SECOND)
    assert len(found["endpoints"]) == 4
    for entry in found["endpoints"]:
        statistics = expected[Endpoint(entry["method"], entry["name"])]
        assert entry["b"]["p95"] == statistics.p95
        assert entry["b"]["failure_rate"] == statistics.failure_rate


def test_from_a_bucket_by_ids(cloud: Replays, command: Command, folder: Path) -> None:
    for run in (FIRST, SECOND):
        cloud.archive(run.at(run.started_ms, test="compared"))
    outcome = command(
        "compare", FIRST.run, f"compared/{SECOND.run}", "--archive", f"s3://{cloud.bucket}/batches/compared"
    )
    assert outcome.code == 0, outcome.err
    main(runs_in(folder))
    by_address = command(
        "compare", *(f"s3://{cloud.bucket}/batches/compared/{run.run}" for run in (FIRST, SECOND))
    )
    assert by_address.out == outcome.out
    assert by_address.out.count("\n") == 3 + 2 * 4


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["{folder}", "{folder}"], "expected one run, found checkout/20261012T110015Z-4f3a, checkout/2026"),
        (["x", "y", "--archive", "{folder}"], "expected one run 'x', found none: name the run's own folder"),
        (["/no/such/folder", "{folder}"], "expected a folder or s3://bucket"),
        (["r", "r", "--archive", "{folder}"], "expected requests in idle/r, found none"),
    ],
)
def test_errors_are_no_regressions(
    folder: Path, arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.format(folder=folder) for argument in arguments]) == 2
    assert error in capsys.readouterr().err


def test_a_broken_batch_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = Run("t", "r", 0, length_ms=MINUTE_MS)
    small.write(tmp_path)
    path = next(tmp_path.rglob("*worker-1/000001.ndjson.gz"))
    path.write_bytes(path.read_bytes()[:-40])
    assert main([str(tmp_path), str(tmp_path)]) == 2
    assert f"{path}: expected a whole batch, found truncated gzip data" in capsys.readouterr().err
