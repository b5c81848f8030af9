"""Generated batches are what a hook would hand in, and stand for as many as a test has."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cost.counts import Counts, count
from cost.generated import BOUNDS, Generated, Process, Workload
from cost.load import CostError
from cost.preview import Planner, relay
from locust_hook.commands.archive_reader import read_header, read_requests

SETTINGS = {"RELAY_LOG_GROUP": "/locust"}
SMALL = Workload(requests=200, endpoints=8, workers=4, hours=2, user_classes=2)


@pytest.fixture
def planner(relay_binary: Path) -> Planner:
    return relay(relay_binary)


def records(file: Path, kind: str) -> list[Any]:
    lines = map(json.loads, gzip.decompress(file.read_bytes()).splitlines())
    return [line[kind] for line in lines if kind in line]


def counted(
    workload: Workload, folder: Path, planner: Planner, settings: Mapping[str, str] = SETTINGS
) -> Counts:
    return count(Generated(workload, folder).load(workload.flush_seconds), planner, settings)


def test_a_worker_s_batches_hold_the_requests_that_were_asked_for(tmp_path: Path) -> None:
    workload = Workload(requests=600, workers=2, endpoints=5, failures=0.1, response_ms=80, skew=1)
    files, seconds = Process(workload, "worker-1", 10, tmp_path).sample()
    requests: Counter[str] = Counter()
    failures = 0
    times: list[int] = []
    for number, file in enumerate(files):
        header, groups = read_requests(file.read_bytes(), str(file))
        assert (header.source, header.seq) == ("load-generator-worker-1", number)
        assert header.to_ms - header.from_ms == 10_000
        for group in groups:
            requests[group.name] += group.requests
            failures += group.requests if group.error else 0
            times += group.times_us
    total = requests.total()
    assert total == 300 * seconds
    assert failures / total == pytest.approx(0.1, rel=0.1)
    assert sorted(times)[total // 2] / 1000 == pytest.approx(80, rel=0.05)
    first, second = requests["/shop/endpoint/0"], requests["/shop/endpoint/1"]
    assert second / first == pytest.approx(1 / 2, rel=0.1)


def test_the_master_reports_users_and_no_requests(tmp_path: Path) -> None:
    master = Process(SMALL, "master", 10, tmp_path)
    files, seconds = master.sample()
    assert seconds == 30
    assert [len(records(file, "users")) for file in files] == [10, 10, 10]
    assert not any(records(file, "requests") for file in files)
    assert records(files[0], "users")[0]["by_class"] == {"UserClass0": 50, "UserClass1": 50}
    assert {event["kind"] for event in records(master.end(), "event")} >= {"test_start", "test_stop"}


def test_a_full_buffer_is_handed_in_before_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cost.generated.FLUSH_BYTES", 80_000)
    files, seconds = Process(Workload(requests=500, workers=1), "worker-1", 30, tmp_path).sample()
    lengths = [
        (header.to_ms - header.from_ms) // 1000
        for header in (read_header(file.read_bytes(), str(file)) for file in files)
    ]
    assert sum(lengths) == seconds
    # 36 bytes a request in the listener in C, 128 in Python.
    assert 80_000 / 500 / 128 <= max(lengths) <= 80_000 / 500 / 36 + 1


def test_the_sample_stands_for_the_whole_test(tmp_path: Path, planner: Planner) -> None:
    counts = counted(SMALL, tmp_path, planner)
    assert (counts.seconds, counts.hours, counts.processes) == (7_200, 3, 5)
    assert counts.requests == pytest.approx(200 * 7_200)
    assert counts.batches == pytest.approx(5 * 720 + 1)
    # Eight endpoints, all of them twice, two statuses; users in all and by class.
    assert counts.metrics == 4 * (8 + 2) + 2 + 1 + 2
    assert counts.log_calls == pytest.approx(4 * 720 + 1), "summaries, and lifecycle events once"
    longer = counted(replace(SMALL, hours=4), tmp_path, planner)
    assert longer.metric_calls == pytest.approx(2 * counts.metric_calls)
    assert longer.metrics == counts.metrics
    assert longer.metric_hours * 3 == counts.metric_hours * 5


@pytest.mark.parametrize(("hours", "metered"), [(0.01, 1), (0.99, 1), (1.0, 2), (1.5, 2), (2.0, 3)])
def test_a_test_that_begins_between_full_hours_is_metered_in_one_more(
    hours: float, metered: int, tmp_path: Path
) -> None:
    load = Generated(Workload(requests=1, hours=hours), tmp_path).load(10)
    assert load.hours == metered


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_each_worker_adds_metrics_only_when_it_is_a_dimension(
    workers: int, tmp_path: Path, planner: Planner
) -> None:
    workload = replace(SMALL, workers=workers)
    sources = {**SETTINGS, "RELAY_DIMENSION_SETS": "Test,Source;Test"}
    assert counted(workload, tmp_path, planner, sources).metrics == 4 * (workers + 1) + 2 + 1 + 2
    one = {**SETTINGS, "RELAY_DIMENSION_SETS": "Test"}
    assert counted(workload, tmp_path, planner, one).metrics == 4 + 2 + 1 + 2


def test_one_process_does_everything(tmp_path: Path, planner: Planner) -> None:
    counts = counted(replace(SMALL, workers=0), tmp_path, planner)
    assert (counts.processes, counts.metrics) == (1, 4 * (8 + 2) + 2 + 1 + 2)
    assert counts.batches == pytest.approx(721)


def test_the_rarest_endpoint_has_its_metrics(tmp_path: Path, planner: Planner) -> None:
    counts = counted(Workload(requests=1, workers=1, endpoints=400, skew=2), tmp_path, planner)
    assert counts.metrics == 4 * (400 + 2) + 2 + 1 + 3


def test_what_hardly_ever_happens_is_no_batch(tmp_path: Path, planner: Planner) -> None:
    counts = counted(Workload(requests=0.01, workers=1, hours=10), tmp_path, planner)
    assert counts.requests == pytest.approx(360)
    assert counts.batches == pytest.approx(360 + 3_600 + 1), "the master's users come every ten seconds"


def test_the_same_numbers_make_the_same_batches(tmp_path: Path, planner: Planner) -> None:
    first, again = (counted(SMALL, tmp_path, planner) for _ in range(2))
    assert first == again
    assert counted(replace(SMALL, seed=2), tmp_path, planner) != first


@pytest.mark.parametrize("name", BOUNDS)
def test_numbers_out_of_bounds_are_refused(name: str) -> None:
    least, most = BOUNDS[name]
    for value in (least - 1, most + 1, float("nan")):
        with pytest.raises(CostError, match=f"{name}: expected"):
            Workload(**{name: value})  # type: ignore[arg-type]


def test_no_process_makes_millions_of_requests() -> None:
    with pytest.raises(CostError, match=r"expected at most 20,000 requests/s of one process, found 50,000"):
        Workload(requests=100_000, workers=2)
