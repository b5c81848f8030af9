"""Runs the real Locust with its web interface, and the sidecar beside it."""

from __future__ import annotations

import csv
import io
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.hook.locusts import ROOT, Bench, Locust, free_port, wait_for
from tests.sidecar.reader import Batch, Sum, read_runs, sums

VISITORS = Path(__file__).parent / "visitors.py"


class Sidecar(Locust):
    """A sidecar's process and what it says."""

    def says_times(self, words: str, times: int) -> None:
        """Waits until it has said this so many times."""
        wait_for(lambda: self.output.count(words) >= times, f"the words {words!r}", self)


@dataclass
class SidecarBench(Bench):
    """A folder with a site, in which Locusts and sidecars run."""

    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        """Locust's web interface."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def is_oldest(self) -> bool:
        """Whether Locust is one in which resetting and stopping are still GET requests."""
        return tuple(map(int, self.locust_version.split(".")[:2])) < (2, 40)

    def locust(self, *arguments: str, **environment: str) -> Locust:
        """Starts a Locust with a web interface."""
        self.port = self.port or free_port()
        return self.start(
            *("--locustfile", str(VISITORS), "--host", self.host, "--web-host", "127.0.0.1"),
            *("--web-port", str(self.port), "--exit-code-on-error", "0", *arguments),
            environment=environment,
        )  # fmt: skip

    def visitors(self, master_port: int) -> Locust:
        """Starts a worker."""
        return self.start(
            *("--locustfile", str(VISITORS), "--worker", "--master-host", "127.0.0.1"),
            *("--master-port", str(master_port), "--exit-code-on-error", "0"),
        )  # fmt: skip

    def sidecar(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Sidecar:
        """Starts a sidecar."""
        log = self.folder / f"sidecar-{len(self.processes)}.log"
        variables = {**os.environ, "LOCUST_RELAY_SPOOL": str(self.spool), **(environment or {})}
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "locust_hook", "sidecar", "--url", self.url, "--to", self.out.as_uri(),
                 "--flush-seconds", "1", "--poll-seconds", "0.3", *arguments],
                cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        sidecar = Sidecar(process, log)
        self.processes.append(sidecar)
        return sidecar

    def ask(self, path: str, form: Mapping[str, Any] | None = None, method: str | None = None) -> str:
        """Asks Locust's web interface."""
        data = None if form is None else urlencode(form).encode()
        context = ssl._create_unverified_context() if self.scheme == "https" else None  # noqa: S323
        with urlopen(Request(self.url + path, data, method=method), timeout=10, context=context) as answer:  # noqa: S310
            text: str = answer.read().decode()
        return text

    def answers(self, locust: Locust) -> None:
        """Waits until the web interface answers."""

        def try_it() -> bool:
            try:
                self.ask("/exceptions")
            except OSError:
                return False
            return True

        wait_for(try_it, "an answer of the web interface", locust)

    def swarm(self, users: int = 4) -> None:
        """Starts a test."""
        self.ask("/swarm", {"user_count": users, "spawn_rate": 100, "host": self.host})

    def stop_test(self) -> None:
        """Ends a test."""
        self.ask("/stop", method="GET" if self.is_oldest else "POST")

    def reset(self) -> None:
        """Resets the statistics."""
        self.ask("/stats/reset", method="GET" if self.is_oldest else "POST")

    def shown(self) -> dict[tuple[str, str], tuple[int, int]]:
        """What Locust shows at this moment: (method, name) → requests, failures."""
        rows = csv.DictReader(io.StringIO(self.ask("/stats/requests/csv"), newline=""))
        found = {
            (row["Type"], row["Name"]): (int(row["Request Count"]), int(row["Failure Count"])) for row in rows
        }
        del found["", "Aggregated"]
        return {key: counts for key, counts in found.items() if counts != (0, 0)}

    @property
    def final(self) -> dict[str, Any]:
        """What Locust counted, at its end."""
        final: dict[str, Any] = json.loads(self.stats_file.read_text())
        return final

    @property
    def written(self) -> list[Path]:
        """The batches that are stored."""
        return sorted(self.out.rglob("*.ndjson.gz"))

    @property
    def runs(self) -> list[list[Batch]]:
        """The batches of each run, in order."""
        return sorted(read_runs(self.out).values(), key=lambda run: run[0].header["from_ms"])


def counts(found: Mapping[tuple[str, str], Sum]) -> dict[tuple[str, str], tuple[int, int]]:
    """(method, name) → requests, failures."""
    return {key: (total.requests, total.failures) for key, total in found.items()}


def check_totals(batches: list[Batch], final: Mapping[str, Any]) -> None:
    """Checks that the snapshots add up to what Locust counted, times included."""
    found = sums(batches)
    assert counts(found) == {
        (entry["method"], entry["name"]): (entry["requests"], entry["failures"])
        for entry in final["endpoints"]
    }
    for entry in final["endpoints"]:
        total = found[entry["method"], entry["name"]]
        assert total.response_bytes == entry["bytes"]
        if entry["without_time"] == entry["requests"]:
            assert (total.response_times, total.min_us) == (0, None)
            continue
        assert entry["without_time"] == 0, "the test's users mix them in no endpoint"
        assert total.response_times == entry["requests"]
        assert abs(total.sum_us - 1000 * entry["sum_ms"]) <= 2
        assert total.min_us == round(1000 * entry["min_ms"])
        assert total.max_us == round(1000 * entry["max_ms"])
    assert (
        sum(exception["count"] for batch in batches for exception in batch.exceptions) == final["exceptions"]
    )
    failures = sum(entry["failures"] for entry in final["endpoints"])
    told = [error for batch in batches for snapshot in batch.snapshots for error in snapshot["errors"]]
    assert sum(error["count"] for error in told) == failures


def check_no_more_than(batches: list[Batch], final: Mapping[str, Any]) -> None:
    """Checks that nothing is told that Locust did not count."""
    found = sums(batches)
    counted = {(entry["method"], entry["name"]): entry for entry in final["endpoints"]}
    assert found.keys() <= counted.keys()
    for key, total in found.items():
        assert total.requests <= counted[key]["requests"]
        assert total.failures <= counted[key]["failures"]
    assert found
