"""What the hook costs the load generator, beside what others cost: `python -m benches.hook`.

Every candidate runs in a process of its own (`hook_load.py`), one after the other, against a local AWS.
The numbers go to `target/bench/summary.json` under `hook`, a table to the terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import socketserver
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from benches.programs import PYTHON
from benches.summary import ROOT, save, say, table
from local_aws import LocalAws

BUCKET = "bench-load-tests"
PEERS_WITH_PERCENTILES = ("otel", "timescale", "cloudwatch")
"""OpenTelemetry sends histograms, Timescale keeps rows, CloudWatch gets single values: each can tell p99."""


class AnyPostgres(socketserver.BaseRequestHandler):
    """As much of PostgreSQL's protocol as a client needs to log in and to have every statement accepted.

    https://www.postgresql.org/docs/current/protocol-message-formats.html
    """

    def handle(self) -> None:
        """One connection."""
        (length,) = struct.unpack("!I", self.receive(4))
        self.receive(length - 4)
        self.send(b"R", struct.pack("!I", 0))
        for name, value in (("server_version", "16.0"), ("client_encoding", "UTF8"), ("DateStyle", "ISO")):
            self.send(b"S", f"{name}\0{value}\0".encode())
        self.send(b"Z", b"I")
        while kind := self.receive(1):
            (length,) = struct.unpack("!I", self.receive(4))
            self.receive(length - 4)
            if kind == b"Q":
                self.send(b"C", b"INSERT 0 1\0")
                self.send(b"Z", b"I")

    def receive(self, count: int) -> bytes:
        """So many bytes, or fewer at the end."""
        found = b""
        while len(found) < count and (piece := self.request.recv(count - len(found))):
            found += piece
        return found

    def send(self, kind: bytes, content: bytes) -> None:
        """One message."""
        self.request.sendall(kind + struct.pack("!I", len(content) + 4) + content)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


def run(python: Path, what: str, environment: dict[str, str]) -> dict[str, Any]:
    """Runs one candidate; returns what it measured."""
    say(f"measuring {what} …")
    done = subprocess.run(  # noqa: S603  # our own file
        [python, ROOT / "benches" / "hook_load.py", what],
        env=environment, stdout=subprocess.PIPE, check=True, timeout=600,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(python: Path, quick: bool) -> dict[str, Any]:
    """All candidates, in turn."""
    modes = ["bare", "hook", "otel", "timescale", "cloudwatch"]
    if not quick:
        modes += ["stall-without", "stall", "memory-4000", "memory-16000"]
    with LocalAws() as aws, _Server(("127.0.0.1", 0), AnyPostgres) as postgres:
        aws.enforce_iam = False
        aws.client("s3").create_bucket(Bucket=BUCKET)
        threading.Thread(target=postgres.serve_forever, daemon=True).start()
        environment = {
            **os.environ,
            **aws.environment(),
            "BENCH_TO": f"s3://{BUCKET}",
            "BENCH_POSTGRES_PORT": str(postgres.server_address[1]),
        }
        found = {mode: run(python, mode, environment) for mode in modes}
        postgres.shutdown()
    return found


def summary(found: dict[str, Any]) -> dict[str, float]:
    """The numbers for the summary; smaller is better."""
    hook = found["hook"]
    peers = [found[peer]["us_per_request"] for peer in PEERS_WITH_PERCENTILES]
    numbers = {
        "us_per_request": hook["us_per_request"],
        "ratio_to_locust_stats": hook["us_per_request"] / hook["statistics_us"],
        "ratio_to_cheapest_peer": hook["us_per_request"] / min(peers),
        "ratio_to_bare_listener": hook["us_per_request"] / found["bare"]["us_per_request"],
        "bytes_per_request": hook["bytes_per_request"],
    }
    if "stall" in found:
        numbers["stall_ms_p999"] = found["stall"]["p999_ms"]
        numbers["stall_ms_p999_without"] = found["stall-without"]["p999_ms"]
        for rate in (4_000, 16_000):
            minutes = found[f"memory-{rate}"]["rss_mb"]
            numbers[f"rss_mb_{rate}"] = minutes[-1]
            numbers[f"rss_growth_mb_{rate}"] = minutes[-1] - minutes[1]
    return {name: round(number, 4) for name, number in numbers.items()}


def report(found: dict[str, Any]) -> str:
    """CPU of each candidate, for people."""
    hook = found["hook"]
    rows = [
        ("Locust's own statistics (RequestStats.log_request)", hook["statistics_us"]),
        ("a listener that does nothing", found["bare"]["us_per_request"]),
        ("this hook, whole", hook["us_per_request"]),
        ("  of that its listener", hook["listener_us"]),
        ("locust-plugins Timescale, up to the database", found["timescale"]["us_per_request"]),
        ("locust[otel], metrics", found["otel"]["us_per_request"]),
        ("locust-plugins CloudWatch", found["cloudwatch"]["us_per_request"]),
    ]
    return table(("CPU on the load generator", "µs per request"), [(name, f"{us:.2f}") for name, us in rows])


def main() -> None:
    """Measures, prints and saves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, default=PYTHON, help="Python with requirements-bench.txt")
    parser.add_argument("--quick", action="store_true", help="only CPU and bytes")
    arguments = parser.parse_args()
    if not arguments.python.exists():
        sys.exit(f"expected a Python with requirements-bench.txt at {arguments.python}: use `make bench`")
    found = measure(arguments.python, arguments.quick)
    numbers = summary(found)
    save("hook", numbers)
    print(report(found))  # noqa: T201
    print(json.dumps({**numbers, "details": found}, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
