"""Starts real Locust processes against a small web server on this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
VISITORS = Path(__file__).parent / "visitors.py"
PATIENCE = 60.0
"""Seconds a process may take to get somewhere, on a busy machine."""


class Site(BaseHTTPRequestHandler):
    """Pages under `/page/`, nothing else."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = b"x" * (50 + len(self.path))
        self.send_response(200 if self.path.startswith("/page/") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Clients that are killed are part of the tests."""


@contextmanager
def site() -> Iterator[str]:
    """Serves the site; yields its address."""
    server = _Server(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], Any], what: str, process: Locust | None = None) -> Any:
    """Waits until the condition holds; returns its value."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        if process is not None and process.process.poll() is not None and not (value := condition()):
            raise AssertionError(f"Locust ended before {what}:\n{process.output}")
        if time.monotonic() > end:
            raise AssertionError(
                f"{what} did not happen in {PATIENCE} s\n{process.output if process else ''}"
            )
        time.sleep(0.02)
    return value


@dataclass
class Locust:
    """One Locust process and what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        """All it said so far."""
        return self.log.read_text(errors="replace")

    def says(self, words: str) -> None:
        """Waits until it has said this."""
        wait_for(lambda: words in self.output, f"the words {words!r}", self)

    def ends(self, code: int | None = 0) -> str:
        """Waits for its end; returns what it said."""
        try:
            found = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"Locust does not end:\n{self.output}") from error
        assert code is None or found == code, f"expected exit code {code}, found {found}:\n{self.output}"
        return self.output

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self.process.send_signal(number)


@dataclass
class Bench:
    """A folder with a site, in which Locust processes run."""

    folder: Path
    host: str
    environment: dict[str, str] = field(default_factory=dict)
    python: str = os.environ.get("HOOK_TESTS_PYTHON", sys.executable)
    """Runs Locust; another one for tests with another version of Locust."""
    processes: list[Locust] = field(default_factory=list)

    @property
    def locust_version(self) -> str:
        """The version of Locust that runs."""
        code = "from importlib.metadata import version; print(version('locust'))"
        return subprocess.run(
            [self.python, "-c", code], capture_output=True, check=True, text=True
        ).stdout.strip()

    @property
    def out(self) -> Path:
        """Destination folder."""
        return self.folder / "out"

    @property
    def spool(self) -> Path:
        """Spool folder."""
        return self.folder / "spool"

    @property
    def spooled(self) -> list[Path]:
        """Batches that wait."""
        return sorted(self.spool.glob("*/*.ndjson.gz"))

    @property
    def stats_file(self) -> Path:
        """Where the leading process writes what Locust counted."""
        return self.folder / "stats.json"

    @property
    def counted(self) -> dict[tuple[str, str], tuple[int, int, int]]:
        """What Locust counted: (method, name) → requests, failures, requests without response time."""
        return {(row[0], row[1]): (row[2], row[3], row[4]) for row in json.loads(self.stats_file.read_text())}

    def start(
        self,
        *arguments: str,
        module: str = "locust",
        environment: Mapping[str, str] | None = None,
    ) -> Locust:
        """Starts a Locust process; `module` is what Python runs."""
        log = self.folder / f"locust-{len(self.processes)}.log"
        variables = {
            **os.environ,
            "STATS_FILE": str(self.stats_file),
            **self.environment,
            **(environment or {}),
        }
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [self.python, "-m", module, *arguments],
                cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        locust = Locust(process, log)
        self.processes.append(locust)
        return locust

    def leader(
        self, *arguments: str, run_time: float | None = 2, to: str | None = None, **environment: str
    ) -> Locust:
        """Starts the process that is told everything: a local runner, or a master."""
        timed = ("--run-time", f"{run_time:g}s") if run_time is not None else ()
        return self.start(
            *("--locustfile", str(VISITORS), "--host", self.host, "--headless", "--only-summary"),
            *("--exit-code-on-error", "0", "--users", "8", "--spawn-rate", "100", *timed),
            *("--relay-to", to or self.out.as_uri(), "--relay-spool", str(self.spool)),
            *("--relay-flush-seconds", "0.5", *arguments),
            environment=environment,
        )  # fmt: skip

    def worker(self, port: int, *arguments: str) -> Locust:
        """Starts a worker that is told nothing but where its master is."""
        return self.start(
            *("--locustfile", str(VISITORS), "--worker", "--master-host", "127.0.0.1"),
            *("--master-port", str(port), "--exit-code-on-error", "0", *arguments),
        )  # fmt: skip

    def end_all(self) -> None:
        """Ends what still runs."""
        for locust in self.processes:
            if locust.process.poll() is None:
                locust.process.kill()
            locust.process.wait()


def master_arguments(port: int, workers: int) -> tuple[str, ...]:
    """Options of a master on this machine."""
    return (
        *("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)),
        *("--expect-workers", str(workers)),
    )  # fmt: skip
