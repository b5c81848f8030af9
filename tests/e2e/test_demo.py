"""The demo: it tells the truth about what agrees and what does not."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.reconcile import Endpoint, Numbers, covering_period, differences, nearest_rank

ROOT = Path(__file__).parents[2]


def demo(output: Path, relay: Path) -> subprocess.CompletedProcess[str]:
    """Runs the demo for a short while."""
    command = [
        sys.executable,
        "-m",
        "examples.demo",
        "--run-time",
        "4",
        "--users",
        "20",
        "--flush-seconds",
        "1",
    ]
    command += ["--output", str(output), "--relay", str(relay)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)


def test_the_demo_reconciles(tmp_path: Path, relay_binary: Path) -> None:
    result = demo(tmp_path, relay_binary)
    assert result.returncode == 0, result.stdout + result.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["reconciled"] is True
    by_name = {(endpoint["method"], endpoint["name"]): endpoint for endpoint in summary["endpoints"]}
    assert {
        ("GET", "/"),
        ("GET", "/item/[id]"),
        ("POST", "/cart"),
        ("PUSH", "price update"),
    } <= by_name.keys()
    front_page = by_name["GET", "/"]
    assert front_page["locust"]["requests"] > 0
    assert front_page["cloudwatch"].items() >= front_page["locust"].items()
    assert 0 < front_page["cloudwatch"]["p50"] <= front_page["cloudwatch"]["p99"]
    assert "GET /item/[id]" in result.stdout
    assert "requests in CloudWatch" in result.stdout


def test_the_demo_fails_and_says_why_when_nothing_is_delivered(tmp_path: Path, relay_binary: Path) -> None:
    relay = tmp_path / "relay-without-permission"
    relay.write_text(f"#!/bin/sh\nRELAY_NAMESPACE=Elsewhere exec '{relay_binary}'\n")
    relay.chmod(0o755)
    result = demo(tmp_path, relay)
    assert result.returncode == 1
    assert json.loads((tmp_path / "summary.json").read_text())["reconciled"] is False
    assert "not delivered: " in result.stdout
    assert "cloudwatch:PutMetricData" in result.stdout
    assert "GET /: requests: Locust counted" in result.stdout


def test_the_demo_says_when_the_relay_is_not_built(tmp_path: Path) -> None:
    result = demo(tmp_path, tmp_path / "nothing")
    assert result.returncode == 2
    assert f"expected the compiled relay at {tmp_path / 'nothing'}" in result.stderr


def test_every_difference_is_said() -> None:
    front, cart = Endpoint("GET", "/"), Endpoint("POST", "/cart")
    locust = {front: Numbers(1000, 2, 1000, 5.0, {}), cart: Numbers(3, 0, 3, 5.0, {})}
    assert differences(locust, locust) == []
    assert differences(locust, {front: Numbers(999, 1, 1001, 9.0, {})}) == [
        "GET /: requests: Locust counted 1,000, CloudWatch shows 999",
        "GET /: failures: Locust counted 2, CloudWatch shows 1",
        "GET /: requests with a response time: Locust counted 1,000, CloudWatch shows 1,001",
        "POST /cart: requests: Locust counted 3, CloudWatch shows 0",
        "POST /cart: requests with a response time: Locust counted 3, CloudWatch shows 0",
    ]


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(1, 100))
def test_nearest_rank_is_that_of_the_sorted_values(values: list[int], percent: int) -> None:
    counts = {value: values.count(value) for value in values}
    assert nearest_rank(counts, percent) == sorted(values)[-(-len(values) * percent // 100) - 1]


def test_nothing_has_no_percentile() -> None:
    assert nearest_rank({}, 50) is None


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(timezone.utc)),
    st.timedeltas(timedelta(0), timedelta(hours=2)),
)
def test_one_period_covers_the_whole_time(start: datetime, length: timedelta) -> None:
    end = start + length
    first, period = covering_period(start, end)
    assert first % period == 0
    assert period % 60 == 0
    assert first <= start.timestamp()
    assert end.timestamp() < first + period


@pytest.mark.parametrize("seconds", [0, 59])
def test_a_minute_is_enough_for_what_lies_in_it(seconds: int) -> None:
    start = datetime(2026, 11, 21, 10, 0, tzinfo=timezone.utc)
    assert covering_period(start, start + timedelta(seconds=seconds)) == (int(start.timestamp()), 60)
