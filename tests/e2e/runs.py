"""Real Locust runs with the hook, in each way in which Locust's processes can be arranged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.demo import free_port
from examples.reconcile import Endpoint, Numbers, from_cloudwatch, from_locust
from tests.e2e.batches import Record, Request, each_request, read

if TYPE_CHECKING:
    from tests.e2e.conftest import Cloud

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "locustfile.py"
SIMPLEST = ROOT / "examples" / "simplest-locustfile.py"
STATISTICS = ROOT / "examples" / "statistics_file.py"
ODDITIES = Path(__file__).parent / "odd_locustfile.py"
WITH_HOOK = (sys.executable, "-m", "locust_hook", "run")
"""Locust with the hook, and no word of it in the locustfile."""
ALONE = (sys.executable, "-m", "locust")
"""Locust as ever: a locustfile must import the hook itself."""
RUN_SECONDS = 6
END_SECONDS = 60
"""How long Locust may take beside the time of the run, on a busy machine."""
USERS = 20


@dataclass
class Run:
    """A run that is over and was relayed."""

    cloud: Cloud
    test: str
    start: datetime
    end: datetime
    locust: dict[Endpoint, Numbers]

    @cached_property
    def cloudwatch(self) -> dict[Endpoint, Numbers]:
        """What CloudWatch shows, by endpoint."""
        return from_cloudwatch(self.cloud.cloudwatch, "Locust", self.test, self.start, self.end)

    def statistic(self, metric: str, statistic: str, **dimensions: str) -> float | None:
        """One number of the run; the test is added to the dimensions."""
        return self.cloud.statistic(metric, statistic, self.start, self.end, Test=self.test, **dimensions)

    @cached_property
    def batches(self) -> list[tuple[Record, list[Record]]]:
        """Header and records of every batch in the archive."""
        return [read(content) for content in self.cloud.objects(f"batches/{self.test}/")]

    @cached_property
    def requests(self) -> list[Request]:
        """Every single request in the archive."""
        return [request for header, records in self.batches for request in each_request(header, records)]

    @cached_property
    def log_events(self) -> list[dict[str, Any]]:
        """The messages of the run's log events."""
        return [event for event in self.cloud.log_events() if event["test"] == self.test]


def run_locust(
    cloud: Cloud,
    test: str,
    folder: Path,
    arrangement: str = "local",
    *,
    locustfile: Path = SHOP,
    users: int = USERS,
    program: Sequence[str] = WITH_HOOK,
) -> Run:
    """Runs Locust for some seconds and waits until all of it is relayed.

    `arrangement` is `local` (one process), `processes` (--processes 2) or `separate` (a master and two
    workers that are told nothing but where the master is). `program` is how Locust is started.
    """
    start = datetime.now(timezone.utc)
    common = [*program, "--locustfile", f"{locustfile},{STATISTICS}", "--host", cloud.host]
    leader = [
        *common, "--headless", "--only-summary", "--exit-code-on-error", "0",
        *("--users", str(users), "--spawn-rate", "100", "--run-time", f"{RUN_SECONDS}s"),
        *("--statistics-file", str(folder / "statistics.json"), "--csv", str(folder / "locust")),
        *("--relay-to", cloud.relay_to, "--relay-test", test, "--relay-flush-seconds", "2"),
        *("--relay-spool", str(folder / "spool")),
    ]  # fmt: skip
    port = str(free_port())
    bind = ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
    connect = ["--master-host", "127.0.0.1", "--master-port", port]
    if arrangement == "local":
        commands = [leader]
    elif arrangement == "processes":
        commands = [[*leader, "--processes", "2", *bind, *connect]]
    elif arrangement == "separate":
        worker = [*common, "--worker", *connect]
        commands = [[*leader, "--master", *bind, "--expect-workers", "2"], worker, worker]
    else:
        raise ValueError(f"expected local, processes or separate, found {arrangement!r}")
    run_together(commands, {**os.environ, **cloud.uploader_environment}, folder)
    cloud.function.wait_idle(timeout=60)
    end = datetime.now(timezone.utc)
    return Run(cloud, test, start, end, from_locust(folder / "statistics.json"))


def run_together(commands: Sequence[Sequence[str]], environment: dict[str, str], folder: Path) -> None:
    """Runs Locust processes side by side until all have ended well."""
    with ExitStack() as stack:
        processes = []
        for number, command in enumerate(commands):
            log = folder / f"locust-{number}.log"
            output = stack.enter_context(open(log, "w"))
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
            stack.callback(end, process)
            processes.append((process, log))
        for process, log in processes:
            code = process.wait(timeout=RUN_SECONDS + END_SECONDS)
            assert code == 0, f"Locust ended with code {code}:\n{log.read_text()}"


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that may have ended."""
    process.kill()
    process.wait()
