# mypy: disable-error-code="no-untyped-call, untyped-decorator"
# Locust's events are not typed.
"""A locustfile to add to others: writes Locust's final statistics to a file, complete in distributed runs.

    locust -f locustfile.py,statistics_file.py --statistics-file statistics.json …

Locust's own `--json-file` is written by workers over the master's with `--processes`, and the master waits
just half a second for the last reports of its workers, which may take longer on a busy machine.
"""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.env import Environment
from locust.rpc import Message
from locust.runners import MasterRunner, WorkerRunner

LAST_REPORTS_SECONDS = 30
"""How long the master waits for its workers to end."""


@events.init_command_line_parser.add_listener
def add_option(parser: ArgumentParser, **_: Any) -> None:
    """Adds --statistics-file."""
    parser.add_argument("--statistics-file", default="", help="where to write the final statistics, as JSON")


@events.init.add_listener
def attach(environment: Environment, **_: Any) -> None:
    """Takes part in the end of a run, where the statistics of all workers come together."""
    runner = environment.runner
    options = environment.parsed_options
    if runner is None or isinstance(runner, WorkerRunner) or not (options and options.statistics_file):
        return
    if isinstance(runner, MasterRunner):
        environment.events.test_stop.add_listener(lambda **_: collect_last_reports(runner))
    path = Path(options.statistics_file)
    environment.events.quit.add_listener(
        lambda **_: path.write_text(json.dumps(runner.stats.serialize_stats()))
    )


def collect_last_reports(master: MasterRunner) -> None:
    """Lets all workers end, which is when they send what they have not reported yet, and waits for it."""
    for worker in master.clients.all:
        master.server.send_to_client(Message("quit", None, worker.id))
    limit = time.monotonic() + LAST_REPORTS_SECONDS
    while master.clients.all:
        if time.monotonic() > limit:
            raise TimeoutError(
                f"expected all workers to end in {LAST_REPORTS_SECONDS} s, found {master.clients.all}"
            )
        gevent.sleep(0.05)
