"""One process of the hook's benchmark: fires Locust's request event with one listener more, and measures it.

`python benches/hook_load.py <what> [<seconds>]` prints one JSON object. Run by `benches/hook.py`.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import gevent
import locust
import locust.stats
from locust.env import Environment

sys.path.insert(0, str(Path(__file__).parents[1]))

from benches.workload import FLUSH_SECONDS, RATE, arrivals, requests

ROUND = RATE * FLUSH_SECONDS
"""Requests of one round: what the hook seals in one batch by default, or in a few."""
ROUNDS = 9


class Response:
    """As much of a response as the listeners look at."""

    __slots__ = ("status_code",)

    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


def events(count: int) -> list[dict[str, Any]]:
    """Events as Locust's HTTP client fires them."""
    return [
        {
            "request_type": request.method,
            "response_time": request.response_time,
            "name": request.name,
            "context": {},
            "response": Response(500 if request.failed else 200),
            "exception": ValueError("500 Server Error") if request.failed else None,
            "start_time": time.time(),
            "url": f"https://shop.example{request.name}",
            "response_length": request.size,
        }
        for request in islice(requests(), count)
    ]


class Load:
    """Locust with its own statistics, and something beside."""

    def __init__(self) -> None:
        self.environment = Environment(events=locust.events, host="https://shop.example")
        self.runner = self.environment.create_local_runner()
        self.events = events(ROUND)

    def fire(self) -> None:
        """One round of requests."""
        fire = self.environment.events.request.fire
        for event in self.events:
            # Keyword arguments, and a float of its own for each request, as from a client.
            fire(**{**event, "response_time": event["response_time"] + 0.0})

    def cpu(self, *works: Callable[[], None]) -> float:
        """CPU seconds of this process for a round of works."""
        gc.collect()
        start = time.process_time()
        for work in works:
            work()
        return time.process_time() - start

    def statistics_us(self) -> float:
        """What Locust's statistics cost per request, in microseconds."""
        log_request = self.environment.stats.log_request
        rows = [(e["request_type"], e["name"], e["response_time"], e["response_length"]) for e in self.events]

        def log() -> None:
            for row in rows:
                log_request(*row)

        def loop() -> None:
            for row in rows:
                nothing(*row)

        return (
            (min(self.cpu(log) for _ in range(ROUNDS)) - min(self.cpu(loop) for _ in range(ROUNDS)))
            / ROUND
            * 1e6
        )


def nothing(*_: Any) -> None:
    """What a call costs."""


def compare(
    load: Load, listeners: list[Callable[..., None]], *after: Callable[[], None], rounds: int = ROUNDS
) -> float:
    """Microseconds per request of the listeners and what follows a round, beyond Locust alone."""
    hook = load.environment.events.request
    alone, together = [], []
    for _ in range(rounds):  # in turns, so that both meet the same neighbours on the machine
        alone.append(load.cpu(load.fire))
        for listener in listeners:
            hook.add_listener(listener)
        together.append(load.cpu(load.fire, *after))
        for listener in listeners:
            hook.remove_listener(listener)
    return (min(together) - min(alone)) / len(load.events) * 1e6


def bare(load: Load) -> dict[str, Any]:
    """The cheapest listener there can be: it takes the arguments and returns."""

    def listener(
        request_type: Any,
        response_time: Any,
        name: Any,
        context: Any = None,
        response: Any = None,
        exception: Any = None,
        start_time: Any = None,
        url: Any = None,
        response_length: Any = None,
        **_: Any,
    ) -> None:
        return

    return {"us_per_request": compare(load, [listener])}


def recorder(folder: str, to: str, now: Callable[[], float] | None = None) -> Any:
    """The hook's recorder, as `attach` makes it; `now` is the listener's clock, if not the real one."""
    from locust.stats import StatsError

    from locust_hook.destination import Address
    from locust_hook.recording.attach import Hook  # noqa: F401  # what a real process has loaded, too
    from locust_hook.recording.columns import Columns
    from locust_hook.recording.recorder import Recorder, Run
    from locust_hook.recording.settings import Settings

    columns = Columns(500, StatsError.parse_error, now, fast="BENCH_WITHOUT_C" not in os.environ)
    columns.begin(500, [])
    settings = Settings(to=Address.parse(to), spool=Path(folder), flush_seconds=FLUSH_SECONDS)
    run = Run("bench", f"{os.getpid()}-{time.time_ns()}", int(time.time() * 1000), "https://shop.example")
    made = Recorder(settings, run, "bench-local", columns, versions=(locust.__version__, "0.1.0"))
    made.uploader.prepare()
    made.uploader.start()
    return made


def hook(load: Load) -> dict[str, Any]:
    """The hook, whole: its listener with the real clock, and what follows (flush to upload)
    with simulated times, because the real ones are too close to each other here.
    """
    simulated = arrivals(time.time(), RATE).__next__
    request = load.environment.events.request
    alone, listening, flushing = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        made = recorder(folder, os.environ["BENCH_TO"], simulated)
        real = recorder(folder, os.environ["BENCH_TO"])

        def flush_and_upload() -> None:
            made.flush(0.001)
            assert made.uploader.drain(time.time() + 60)  # noqa: S101

        for _ in range(ROUNDS):
            alone.append(load.cpu(load.fire))
            request.add_listener(real.columns.on_request)
            listening.append(load.cpu(load.fire))
            request.remove_listener(real.columns.on_request)
            real.columns.take()
            request.add_listener(made.columns.on_request)
            load.fire()
            request.remove_listener(made.columns.on_request)
            flushing.append(load.cpu(flush_and_upload))
        totals = made.uploader.totals
        made.finish()
    listener_us = (min(listening) - min(alone)) / ROUND * 1e6
    return {
        "us_per_request": listener_us + min(flushing) / ROUND * 1e6,
        "listener_us": listener_us,
        "bytes_per_request": totals.bytes / totals.requests,
        "statistics_us": load.statistics_us(),
    }


def cloudwatch(load: Load) -> dict[str, Any]:
    """locust-plugins' CloudWatch listener: one HTTP call for 15 metrics."""
    import boto3
    from locust_plugins.listeners.cloudwatch import CloudwatchAdapter

    del load.events[1_000:]
    adapter = CloudwatchAdapter(load.environment, "bench", cloudwatch=boto3.client("cloudwatch"))
    load.environment.events.request.remove_listener(adapter.on_request)
    return {"us_per_request": compare(load, [adapter.on_request], rounds=3)}


def otel(load: Load) -> dict[str, Any]:
    """`locust[otel]`, metrics only; what its exporter costs every minute is not counted."""
    from locust.opentelemetry import setup_opentelemetry

    os.environ.update(
        OTEL_TRACES_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        OTEL_METRICS_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_METRIC_EXPORT_INTERVAL="600000",
    )
    request = load.environment.events.request
    before = list(request._handlers)
    assert setup_opentelemetry("bench.py", None)  # noqa: S101
    (listener,) = [handler for handler in request._handlers if handler not in before]
    request.remove_listener(listener)
    return {"us_per_request": compare(load, [listener])}


def timescale(load: Load) -> dict[str, Any]:
    """locust-plugins' Timescale listener up to its database: the server takes anything."""
    import psycopg2
    from locust_plugins.listeners.timescale import Timescale

    request = load.environment.events.request
    made = Timescale(load.environment)
    request.remove_listener(made.on_request)
    atexit.unregister(made.log_stop_test_run)
    made._background.kill()
    made._testplan = "bench"
    made.dbconn = psycopg2.connect(
        host="127.0.0.1", port=int(os.environ["BENCH_POSTGRES_PORT"]), sslmode="disable"
    )
    load.environment._run_id = datetime.now(timezone.utc)

    def write() -> None:  # as its background greenlet does, every half a second
        samples, made._samples = made._samples, []
        for start in range(0, len(samples), RATE // 2):
            made.write_samples_to_db(samples[start : start + RATE // 2])

    return {"us_per_request": compare(load, [made.on_request], write, rounds=3)}


def memory(load: Load, rate: float, seconds: float = 600) -> dict[str, Any]:
    """Resident memory in MiB after each simulated minute."""
    import psutil

    process = psutil.Process()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        made = recorder(folder, Path(folder, "out").as_uri())
        request = load.environment.events.request
        request.add_listener(made.columns.on_request)
        from locust_hook.recording.recorder import FLUSH_BYTES

        fired = 0
        per_second = int(rate)
        fire = request.fire
        for second in range(int(seconds)):
            for event in load.events[:per_second]:
                fire(**{**event, "response_time": event["response_time"] + 0.0})
            fired += per_second
            if second % FLUSH_SECONDS == 9 or made.columns.size >= FLUSH_BYTES:
                made.flush()
            if second % 60 == 59:
                made.uploader.drain(time.time() + 60)
                for entry in load.environment.stats.entries.values():  # Locust's own growth is not ours
                    entry.reset()
                found.append(process.memory_info().rss / 2**20)
        made.finish()
    return {"rss_mb": [round(mb, 1) for mb in found], "requests": fired}


def stall(load: Load, seconds: float = 30, *, with_hook: bool = True) -> dict[str, Any]:
    """How late a timer of a millisecond fires while requests come in real time."""
    late: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        made = recorder(folder, os.environ["BENCH_TO"]) if with_hook else None
        if made is not None:
            load.environment.events.request.add_listener(made.columns.on_request)
            made._greenlet = gevent.spawn(made._loop)
        fire = load.environment.events.request.fire
        events = iter(load.events * int(seconds * RATE / ROUND + 1))
        start = due = time.perf_counter()
        fired = 0
        while (now := time.perf_counter()) < start + seconds:
            late.append(now - due)
            while fired < (now - start) * RATE:
                event = next(events)
                fire(**{**event, "response_time": event["response_time"] + 0.0})
                fired += 1
            # Not later than one period after the work: lateness does not add up.
            due = max(due + 0.001, time.perf_counter())
            gevent.sleep(max(0.0, due - time.perf_counter()))
            now = time.perf_counter()
        if made is not None:
            made.finish()
    late.sort()
    return {
        "p999_ms": late[int(len(late) * 0.999)] * 1000,
        "max_ms": late[-1] * 1000,
        "median_ms": late[len(late) // 2] * 1000,
        "ticks": len(late),
    }


MODES: dict[str, Callable[[Load], dict[str, Any]]] = {
    "bare": bare,
    "hook": hook,
    "cloudwatch": cloudwatch,
    "otel": otel,
    "timescale": timescale,
    "memory-4000": lambda load: memory(load, 4_000),
    "memory-16000": lambda load: memory(load, 16_000),
    "stall": stall,
    "stall-without": lambda load: stall(load, with_hook=False),
}


def main() -> None:
    """Measures one thing."""
    print(json.dumps(MODES[sys.argv[1]](Load())))  # noqa: T201


if __name__ == "__main__":
    main()
