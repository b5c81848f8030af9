"""The sidecar's golden batch: made from what a Locust would answer, with what a reader has to find in it.

`python -m tests.sidecar.golden` writes `tests/data/sidecar/` anew. What is expected is worked out from the
requests alone, without the sidecar's code.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

from locust_hook.sidecar.answers import (
    About,
    read_errors,
    read_exceptions,
    read_statistics,
    read_status,
)
from locust_hook.sidecar.judge import Look, Origin, judge
from locust_hook.sidecar.state import Run, State
from locust_hook.sidecar.watch import Naming, Watch
from tests.sidecar.model import Model

DATA = Path(__file__).parents[1] / "data" / "sidecar"
START_MS = 1_795_259_340_000
"""2026-11-21T11:09:00Z."""
LOOKS = 10
"""Looks, one second apart."""
WORKERS = ("ip-10-0-0-8_5f3c9a1e", "ip-10-0-0-9_77aa0b2c")


def look(model: Model, by_class: dict[str, int]) -> Look:
    """What one look at the model finds."""
    return Look(
        read_status(model.status()),
        read_statistics(model.statistics()),
        read_errors(model.failures()),
        read_exceptions(model.raised()),
        by_class,
    )


def play() -> tuple[bytes, dict[str, Any]]:
    """The batch of ten seconds of a master with two workers, and what a reader has to find in it."""
    rng = random.Random(2)  # noqa: S311  # repeatable, not secret
    model = Model("spawning", workers=[])
    state = State(
        run=Run("checkout", "20261121T110840Z-4f3a", "ip-10-0-0-7-sidecar", START_MS - 20_000,
                "https://shop.example", "2.47.0"),
        seq=2, at_ms=START_MS, locust_state="spawning",
    )  # fmt: skip
    watch = Watch(state, Naming("checkout", "", "ip-10-0-0-7-sidecar", {"stage": "test"}), 500)
    times: dict[tuple[str, str], list[float | None]] = defaultdict(list)
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    failures: dict[tuple[str, str], int] = defaultdict(int)
    for number in range(1, LOOKS + 1):
        model.seconds = float(number)
        model.users = min(50, 10 * number)
        model.state = "spawning" if model.users < 50 else "running"
        model.current = {"response_time_percentile_0.5": 31, "response_time_percentile_0.95": 120 + number}
        model.workers = [
            {"id": name, "state": model.state, "user_count": model.users // 2, "cpu_usage": 12.5 + number,
             "memory_usage": 81_264_640 + 4096 * number}
            for name in WORKERS
        ]  # fmt: skip
        for _ in range(rng.randrange(150, 250)):
            method, name = rng.choice(
                [("GET", "/"), ("GET", "/item/[id]"), ("POST", "/checkout"), ("GET", "/größe")]
            )
            time = rng.lognormvariate(3.5, 0.8)
            error = "HTTPError('503 Server Error')" if rng.random() < 0.02 else None
            size = rng.randrange(200, 2_000)
            model.request(method, name, time, size, error)
            times[method, name].append(time)
            sizes[method, name] += size
            failures[method, name] += error is not None
        if number == 4:  # an endpoint that has no response times
            model.request("MQTT", "message", None, 0)
            times["MQTT", "message"].append(None)
        if number in (3, 7):
            model.exceptions["no cart", '  File "locustfile.py", line 12, in task\n'] += 2
        found = look(model, {"Buyer": model.users // 5, "Visitor": model.users - model.users // 5})
        at_ms = START_MS + 1000 * number
        watch.observe(found, judge(watch.state, found, at_ms), at_ms, Origin(About(), None))
    _, content = watch.batch()
    expected = {
        "header": {
            "test": "checkout",
            "run": "20261121T110840Z-4f3a",
            "source": "ip-10-0-0-7-sidecar",
            "seq": 2,
            "run_started_ms": START_MS - 20_000,
            "from_ms": START_MS,
            "to_ms": START_MS + 1000 * LOOKS,
            "labels": {"stage": "test"},
        },
        "snapshots": LOOKS,
        "first_from_ms": START_MS,
        "last_at_ms": START_MS + 1000 * LOOKS,
        "endpoints": [
            expected_endpoint(*key, values, sizes[key], failures[key])
            for key, values in sorted(times.items())
        ],
        "errors": sum(failures.values()),
        "exceptions": 4,
        "workers": sorted(WORKERS),
        "last_current_percentiles_ms": {"50": 31, "95": 130},
        "last_users": 50,
    }
    return content, expected


def expected_endpoint(
    method: str, name: str, values: list[float | None], size: int, failures: int
) -> dict[str, Any]:
    """What all snapshots together say of one endpoint; times in microseconds, the sum to within ten."""
    times = [value for value in values if value is not None]
    return {
        "method": method,
        "name": name,
        "requests": len(values),
        "failures": failures,
        "response_times": len(times),
        "response_time_us": {
            "sum": round(sum(times) * 1000),
            "min": round(min(times) * 1000),
            "max": round(max(times) * 1000),
        }
        if times
        else None,
        "response_bytes": size,
    }


def main() -> None:
    """Writes the files."""
    DATA.mkdir(parents=True, exist_ok=True)
    content, expected = play()
    (DATA / "snapshot.ndjson.gz").write_bytes(content)
    facts = json.dumps(expected, ensure_ascii=False, indent=1)
    (DATA / "snapshot.expected.json").write_text(facts + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
