"""The simulation of many workers, held against cases that can be worked out by hand."""

import pytest

from benches.simulation import Account, Invocation, simulate

PLENTY = Account(calls_per_second=1e9, concurrency=1_000_000)
WORK = Invocation(batches=1, before=0.25, calls=2, after=0.5)


def test_a_single_worker_waits_for_nobody() -> None:
    found = simulate(1, 10, WORK, PLENTY, delay=1)
    assert found.lag_p50 == found.lag_p99 == pytest.approx(1.75)
    assert found.mean_seconds == pytest.approx(0.75)
    assert found.peak_concurrency == 1
    assert found.keeps_up


def test_workers_that_flush_together_run_together() -> None:
    assert simulate(50, 10, WORK, PLENTY, spread=0).peak_concurrency == 50


def test_workers_that_flush_at_different_seconds_run_at_different_times() -> None:
    assert simulate(50, 10, WORK, PLENTY, spread=10).peak_concurrency < 15


def test_workers_wait_for_places_below_the_concurrency() -> None:
    found = simulate(10, 10, WORK, Account(1e9, concurrency=1), spread=0, delay=1)
    assert found.peak_concurrency == 1
    assert found.keeps_up
    assert found.lag_p99 == pytest.approx(1 + 10 * 0.75)  # the tenth, one after the other


def test_calls_wait_for_the_quota_and_places_are_held_meanwhile() -> None:
    """40 calls at once, 10 a second: ten of them come through at once, and the rest in three seconds."""
    found = simulate(20, 10, WORK, Account(10, 1_000), spread=0, delay=0)
    assert found.keeps_up
    assert found.lag_p99 == pytest.approx(0.25 + 3.0 + 0.5)
    assert found.mean_seconds > 0.75 + 1


@pytest.mark.parametrize("account", [Account(3.5, 1_000), Account(1e9, 1)])
def test_too_many_workers_fall_behind(account: Account) -> None:
    """20 workers ask for 4 calls, and 1.5 invocations at the same time, in each second."""
    assert not simulate(20, 10, WORK, account, intervals=30).keeps_up


def test_a_queue_gathers_batches() -> None:
    gathered = Invocation(batches=10, before=0.25, calls=2, after=0.5)
    full = simulate(20, 10, gathered, PLENTY, spread=0, delay=1)
    assert full.peak_concurrency == 2
    assert full.lag_p99 == pytest.approx(1.75)
    alone = simulate(3, 10, gathered, PLENTY, spread=0, delay=1, window=5)
    assert alone.peak_concurrency == 1
    assert alone.lag_p99 == pytest.approx(1.75 + 5)
