"""The sidecar beside the real Locust: what it writes adds up to what Locust counted."""

from __future__ import annotations

import signal
from itertools import pairwise

import pytest

from tests.hook.locusts import free_port, master_arguments, wait_for
from tests.sidecar.bench import SidecarBench, check_no_more_than, check_totals, counts
from tests.sidecar.reader import Batch, sums
from tests.sidecar.tls import certificate


def kinds(batches: list[Batch]) -> list[str]:
    """The kinds of all events."""
    return [event["kind"] for batch in batches for event in batch.events]


def test_a_test_from_its_start_to_the_end_of_locust(bench: SidecarBench) -> None:
    bench.port = free_port()
    sidecar = bench.sidecar("--labels", "commit=4f3a")
    sidecar.says("trying again: [Errno 111] Connection refused")
    locust = bench.locust(
        *("--autostart", "--run-time", "3s", "--autoquit", "3", "--users", "4", "--spawn-rate", "4")
    )
    locust.ends()
    wait_for(
        lambda: sidecar.output.count("Connection refused") == 2, "that Locust is seen to be gone", sidecar
    )
    sidecar.signal(signal.SIGTERM)
    output = sidecar.ends()
    (batches,) = bench.runs
    check_totals(batches, bench.final)
    header = batches[0].header
    assert (header["test"], header["host"]) == ("visitors", bench.host)
    assert header["locust"] == bench.locust_version
    assert header["labels"] == {"commit": "4f3a"}
    assert header["source"].endswith("-sidecar")
    for before, after in pairwise(batches):
        assert before.header["to_ms"] <= after.header["from_ms"]
    assert kinds(batches)[0] == "test_start"
    assert kinds(batches)[-1] == "unreachable"
    assert {"spawning_complete", "test_stop"} <= set(kinds(batches))
    users = [users for batch in batches for users in batch.users]
    assert users[-1]["total"] == 0
    assert {"total": 4, "by_class": {"Buyer": 2, "Visitor": 2}}.items() <= users[-2].items()
    snapshots = [snapshot for batch in batches for snapshot in batch.snapshots]
    (error,) = {error["error"] for snapshot in snapshots for error in snapshot["errors"]}
    assert error.endswith("code=404)")
    assert {exception["message"] for batch in batches for exception in batch.exceptions} == {"boo <&>"}
    last = snapshots[-1]["total"]
    assert last["percentiles_ms"].keys() == {"50", "90", "95", "99"}
    assert any(snapshot["total"]["current_percentiles_ms"].keys() == {"50", "95"} for snapshot in snapshots)
    assert all(snapshot["workers"] == [] for snapshot in snapshots)
    total = sum(entry["requests"] for entry in bench.final["endpoints"])
    assert f"{total:,} requests in {len(batches)} batches" in output
    assert "nothing lost" in output
    assert bench.spooled == []


def test_a_sidecar_killed_in_the_middle_loses_nothing(bench: SidecarBench) -> None:
    port = free_port()
    master = bench.locust(*master_arguments(port, 2), "--autostart", "--users", "6", "--spawn-rate", "100")
    workers = [bench.visitors(port), bench.visitors(port)]
    sidecar = bench.sidecar()
    wait_for(lambda: len(bench.written) >= 2, "two batches", sidecar)
    sidecar.signal(signal.SIGKILL)
    sidecar.ends(code=-signal.SIGKILL)
    before = bench.shown()
    wait_for(
        lambda: all(bench.shown()[key][0] > count for key, (count, _) in before.items()), "requests", master
    )
    written = len(bench.written)
    sidecar = bench.sidecar()
    sidecar.says("going on with run")
    wait_for(lambda: len(bench.written) >= written + 2, "two batches more", sidecar)
    bench.stop_test()  # workers have yet to tell what they counted last
    sidecar.says("the test has ended")
    sidecar.signal(signal.SIGINT)
    assert "nothing lost" in sidecar.ends()
    master.signal(signal.SIGTERM)
    for process in (master, *workers):
        process.ends()
    (batches,) = bench.runs
    check_totals(batches, bench.final)
    snapshots = [snapshot for batch in batches for snapshot in batch.snapshots]
    for one, next_one in pairwise(snapshots):
        assert one["at_ms"] <= next_one["from_ms"]
    assert all(len(snapshot["workers"]) == 2 for snapshot in snapshots)
    busy = [worker for snapshot in snapshots for worker in snapshot["workers"] if worker["users"]]
    assert {worker["users"] for worker in busy} >= {3}
    measured = [worker for worker in busy if worker["memory_bytes"] is not None]
    assert any(worker["cpu_percent"] > 0 and worker["memory_bytes"] > 10**7 for worker in measured)
    assert kinds(batches).count("worker_connect") == 2
    assert "reset_stats" not in kinds(batches)


def test_a_master_that_ends_at_the_same_time(bench: SidecarBench) -> None:
    port = free_port()
    master = bench.locust(*master_arguments(port, 1), "--autostart", "--users", "4", "--spawn-rate", "100")
    worker = bench.visitors(port)
    sidecar = bench.sidecar()
    wait_for(lambda: len(bench.written) >= 2, "two batches", sidecar)
    sidecar.signal(signal.SIGTERM)
    master.signal(signal.SIGTERM)
    for process in (master, worker):
        process.ends()
    assert "nothing lost" in sidecar.ends()
    (batches,) = bench.runs
    check_totals(batches, bench.final)


def test_tests_follow_each_other_and_statistics_are_reset(bench: SidecarBench) -> None:
    locust = bench.locust()
    bench.answers(locust)
    sidecar = bench.sidecar()
    sidecar.says("Locust is ready")

    def written() -> int:
        return sum(total.requests for run in bench.runs for total in sums(run).values())

    bench.swarm()
    wait_for(lambda: written() > 100, "requests of the first test", sidecar)
    bench.reset()
    wait_for(lambda: "reset_stats" in kinds(bench.runs[0]), "the event of the reset", sidecar)
    before = written()
    wait_for(lambda: written() > before + 100, "requests after the reset", sidecar)
    bench.stop_test()
    sidecar.says("the test has ended")
    first = bench.shown()
    bench.swarm()
    sidecar.says_times(" of test visitors goes to ", 2)
    wait_for(lambda: any("spawning_complete" in kinds(run) for run in bench.runs[1:]), "users", sidecar)
    bench.stop_test()
    sidecar.says_times("the test has ended", 2)
    second = bench.shown()
    locust.process.kill()
    locust.ends(code=-signal.SIGKILL)
    again = bench.locust("--autostart", "--users", "2")
    sidecar.says_times(" of test visitors goes to ", 3)
    sidecar.signal(signal.SIGTERM)
    again.signal(signal.SIGTERM)
    again.ends()
    sidecar.ends()
    runs = bench.runs
    assert [run[0].header["seq"] for run in runs] == [0, 0, 0]
    (reset_ms,) = (
        event["at_ms"] for batch in runs[0] for event in batch.events if event["kind"] == "reset_stats"
    )
    for batch in runs[0]:
        batch.snapshots = [snapshot for snapshot in batch.snapshots if snapshot["at_ms"] >= reset_ms]
    assert counts(sums(runs[0])) == first
    assert counts(sums(runs[1])) == second
    check_no_more_than(runs[2], bench.final)  # it ended while users were there


@pytest.mark.parametrize("way", ["right", "wrong password", "no login", "unknown certificate"])
def test_login_and_tls(bench: SidecarBench, way: str) -> None:
    bench.scheme = "https"
    cert, key = certificate(bench.folder)
    base = () if bench.is_oldest else ("--web-base-path", "/base")
    locust = bench.locust(
        *("--web-login", "--tls-cert", str(cert), "--tls-key", str(key), *base),
        *("--autostart", "--users", "2"),
    )
    secret = bench.folder / "password"
    secret.write_text("päss & word\n" if way == "right" else "guessed\n")
    bundle = () if way == "unknown certificate" else ("--ca-bundle", str(cert))
    login = () if way == "no login" else ("--username", "ann", "--password-file", str(secret))
    sidecar = bench.sidecar("--url", bench.url + ("/base" if base else ""), *bundle, *login)
    if way == "right":
        wait_for(lambda: bench.written and len(sums(*bench.runs)) == 4, "snapshots of all endpoints", sidecar)
    words = {
        "right": "of test visitors goes to",
        "wrong password": "the login is not accepted",
        "no login": "set LOCUST_RELAY_USERNAME",
        "unknown certificate": "as --ca-bundle",
    }
    sidecar.says(words[way])
    sidecar.signal(signal.SIGTERM)
    locust.signal(signal.SIGTERM)
    output = sidecar.ends()
    assert "guessed" not in output
    assert "päss" not in output
    locust.ends()
    if way == "right":
        (batches,) = bench.runs
        check_no_more_than(batches, bench.final)  # it ended while users were there
    else:
        assert bench.written == []
