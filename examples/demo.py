"""The whole way on one machine: Locust, the hook, S3, the relay, CloudWatch.

Starts local AWS, deploys template.yaml into it, puts the sample shop under load, lets the compiled relay
publish what comes, and compares CloudWatch's numbers with Locust's own. Ends with an error when they differ.
Leaves the dashboard as a page, dashboard.html; `--open` shows it in the browser while the test runs.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from examples import shop
from examples.reconcile import (
    PERCENTILES,
    Endpoint,
    Numbers,
    differences,
    from_cloudwatch,
    from_locust,
    published_requests,
)
from local_aws import Function, LocalAws, Stack
from local_aws.dashboard import page, snapshot
from local_aws.dashboard.clients import Clients
from local_aws.dashboard.live import Live

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
RELAY = ROOT / "target" / "debug" / "locust-cloudwatch-relay"
TEST = "shop"
NAMESPACE = "Locust"
RETRY_WAITS = (1.0, 2.0)
"""Seconds before Lambda's retries, which wait one and two minutes on AWS."""
END_SECONDS = 15
"""How long Locust may take to hand in its last results when the demo is stopped."""
DRAIN_SECONDS = 60
"""How long the relay may take for what is left when Locust has ended."""
RAMP_UP = 4
"""The users arrive in this part of the run: a quarter."""
FINE_RUN_SECONDS = 180
"""Up to this length of a run, the dashboard shows each second."""
GRACE_SECONDS = 60
"""How long Locust may take to start and to end, beside the time of the run."""


def main() -> int:
    """Runs the demo; 0 when all numbers agree."""
    options = parse(sys.argv[1:])
    options.output.mkdir(parents=True, exist_ok=True)
    with LocalAws() as aws, shop.running(options.seed) as host, tempfile.TemporaryDirectory() as spool:
        stack = aws.deploy(ROOT / "template.yaml", {"Namespace": NAMESPACE}, name="demo")
        print(f"local AWS at {aws.endpoint_url}, the shop at {host}, results to {stack.outputs['RelayTo']}")
        uploader = create_role(aws, "load-generator", stack.outputs["UploaderPolicyArn"])
        with aws.run_function(
            stack, "RelayFunction", [options.relay], concurrency=2, retry_waits=RETRY_WAITS
        ) as function:
            start = datetime.now(timezone.utc)
            dashboard = Dashboard(aws, stack, options, start)
            command = locust_command(options, host, stack.outputs["RelayTo"], spool)
            environment = {**os.environ, **aws.environment(role_arn=uploader)}
            progress = Progress(aws, function, start)
            with dashboard.opened() if options.open else nullcontext():
                code = run(command, environment, options, progress)
                if code:
                    log = options.output / "locust.log"
                    print(f"Locust ended with code {code}; the end of {log}:", *tail(log), sep="\n  ")
                    return 1
                problems = drain(function)
                progress.show(final=True)
                problems += dashboard.write()
        end = datetime.now(timezone.utc)
        problems += undelivered(aws, stack.outputs["OnFailureQueueUrl"])
        locust = from_locust(options.output / "statistics.json")
        cloudwatch = from_cloudwatch(aws.client("cloudwatch"), NAMESPACE, TEST, start, end)
    print_table(locust, cloudwatch)
    problems += differences(locust, cloudwatch)
    if not locust:
        problems.append("Locust counted no request at all")
    path = Path(os.path.relpath(options.output / "summary.json"))
    path.write_text(json.dumps(summary(locust, cloudwatch, problems), indent=2) + "\n")
    print(f"\nThe dashboard is in {dashboard.path}.")
    if problems:
        print("The numbers do not agree:", *problems, sep="\n  ")
        return 1
    print(f"CloudWatch and Locust agree on every request. The numbers are in {path}.")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads and checks the options."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--run-time",
        metavar="N",
        type=number(1, 3600),
        default=30,
        help="seconds of load (default: %(default)s)",
    )
    parser.add_argument(
        "--users",
        metavar="N",
        type=number(1, 1000),
        default=60,
        help="simulated users (default: %(default)s)",
    )
    parser.add_argument(
        "--processes",
        metavar="N",
        type=number(1, 16),
        default=2,
        help="Locust workers (default: %(default)s)",
    )
    parser.add_argument(
        "--flush-seconds",
        type=number(1, 60),
        default=5,
        help="seconds between batches (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", metavar="N", type=int, default=0, help="seed of the shop's times and failures"
    )
    parser.add_argument(
        "--relay", metavar="PATH", type=Path, default=RELAY, help="compiled relay (default: target/debug)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "target" / "demo",
        help="folder of the results (default: target/demo)",
    )
    parser.add_argument(
        "--open", action="store_true", help="show the dashboard in the browser while the test runs"
    )
    options = parser.parse_args(arguments)
    if not os.access(options.relay, os.X_OK):
        parser.error(
            f"expected the compiled relay at {options.relay}, found none: run `cargo build`, or say --relay"
        )
    return options


def number(least: int, most: int) -> Any:
    """An option's type: a whole number within limits."""

    def parse_number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} to {most}, found {text!r}"
            )
        return int(text)

    return parse_number


def create_role(aws: LocalAws, name: str, policy_arn: str) -> str:
    """A role for the load generators that holds this policy and nothing else; its ARN."""
    iam = aws.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    iam.attach_role_policy(RoleName=name, PolicyArn=policy_arn)
    return str(role["Arn"])


def locust_command(options: argparse.Namespace, host: str, relay_to: str, spool: str) -> list[str]:
    """Locust with the hook, started as on a load generator."""
    # Not Locust's usual port, which another Locust on this machine may have.
    port = str(free_port())
    return [
        *(sys.executable, "-m", "locust_hook", "run", "--headless"),
        *("--locustfile", f"{EXAMPLES / 'locustfile.py'},{EXAMPLES / 'statistics_file.py'}", "--host", host),
        *("--users", str(options.users), "--spawn-rate", str(options.users / options.run_time * RAMP_UP)),
        *("--run-time", f"{options.run_time}s", "--processes", str(options.processes)),
        *("--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port),
        # The shop fails on purpose, which is no failure of the demo.
        *("--exit-code-on-error", "0"),
        *("--only-summary", "--statistics-file", str(options.output / "statistics.json")),
        *("--relay-to", relay_to, "--relay-test", TEST),
        *("--relay-flush-seconds", str(options.flush_seconds)),
        *("--relay-spool", spool),
    ]


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(
    command: list[str], environment: dict[str, str], options: argparse.Namespace, progress: Progress
) -> int:
    """Runs Locust to its end, with its output in a file and the progress on the screen; its exit code."""
    with (
        open(options.output / "locust.log", "w") as log,
        subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT) as locust,
    ):
        limit = time.monotonic() + options.run_time + GRACE_SECONDS
        try:
            while time.monotonic() < limit:
                try:
                    return locust.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    progress.show()
            raise TimeoutError(f"Locust did not end within {GRACE_SECONDS} s after the run's time")
        finally:
            end(locust)


def end(process: subprocess.Popen[bytes]) -> None:
    """Lets a process end in its own way, but not for ever."""
    process.terminate()
    try:
        process.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


class Progress:
    """How far the run is: one line, written over on a terminal, otherwise written anew every few seconds."""

    PLAIN_INTERVAL = 5.0

    def __init__(self, aws: LocalAws, function: Function, start: datetime) -> None:
        """Counts from `start` on."""
        self.aws, self.function, self.start = aws, function, start
        self.cloudwatch = aws.client("cloudwatch")
        self.terminal = sys.stdout.isatty()
        self.next_plain = 0.0

    def show(self, *, final: bool = False) -> None:
        """Writes where things are now; `final` ends the line."""
        seconds = (datetime.now(timezone.utc) - self.start).total_seconds()
        if not self.terminal and not final and seconds < self.next_plain:
            return
        self.next_plain = seconds + self.PLAIN_INTERVAL
        puts = self.aws.calls.of("s3", "PutObject")
        uploaded = sum(call.status == 200 and "/batches/" in call.resource for call in puts)
        relayed = sum(invocation.status == "succeeded" for invocation in self.function.invocations)
        requests = published_requests(self.cloudwatch, NAMESPACE, TEST, self.start)
        batches = f"{uploaded:4} batches in S3  {relayed:4} relayed"
        line = f"{seconds:4.0f} s  {batches}  {requests:8,} requests in CloudWatch"
        before, after = ("\r", "\x1b[K") if self.terminal else ("", "\n")
        print(f"{before}{line}{after}", end="\n" if self.terminal and final else "", flush=True)


class Dashboard:
    """The dashboard that the template deployed, with what this test brought."""

    def __init__(self, aws: LocalAws, stack: Stack, options: argparse.Namespace, start: datetime) -> None:
        """Shows what there is from `start` on."""
        self.path = Path(os.path.relpath(options.output / "dashboard.html"))
        self._name = stack.outputs["DashboardUrl"].rpartition("/")[2]
        self._clients = Clients(lambda service, region: aws.client(service, region_name=region))
        self._body = snapshot.get_body(self._clients, self._name)
        self._start = start
        self._selected = {"period": "1" if options.run_time <= FINE_RUN_SECONDS else "10"}
        self._live: Live | None = None

    def write(self) -> list[str]:
        """Writes the page; a line for each widget that could not be shown."""
        taken = self._take(self._selected, snapshot.MAX_SELECTIONS)
        self.path.write_text(page.make(taken.data), encoding="utf-8")
        if self._live:
            self._live.finish(taken.data, f"Ended. This page is in {self.path}")
        return [f"not shown in the dashboard: {line}" for line in taken.errors]

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Opens the page in the browser; it shows what is new until the block ends."""
        self._live = Live(lambda selection: self._take(selection or self._selected, 1).data)
        with self._live.running():
            opens = webbrowser.open(self._live.url)
            print(
                f"the dashboard is at {self._live.url}" + ("" if opens else ": no browser found to open it")
            )
            yield

    def _take(self, selection: Mapping[str, str], most: int) -> snapshot.Snapshot:
        now = datetime.now(timezone.utc)
        return snapshot.take(
            self._name, self._body, self._clients, self._start, now, selected=selection, most=most
        )


def drain(function: Function) -> list[str]:
    """Waits until the relay has nothing more to do; a line to say so when that takes too long."""
    try:
        function.wait_idle(timeout=DRAIN_SECONDS)
    except TimeoutError as error:
        return [f"not relayed in time: {error}"]
    return []


def undelivered(aws: LocalAws, queue_url: str) -> list[str]:
    """One line for each event that the relay gave up on, with its error."""
    sqs = aws.client("sqs")
    lines = []
    while messages := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            record = json.loads(message["Body"])
            lines.append(f"not delivered: {record['responsePayload']['errorMessage']}")
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return lines


def print_table(locust: dict[Endpoint, Numbers], cloudwatch: dict[Endpoint, Numbers]) -> None:
    """One line per endpoint, with CloudWatch's and Locust's number side by side."""
    titles = ["requests", "failures", *(f"p{percent} ms" for percent in PERCENTILES)]
    rows = [["endpoint", *["CloudWatch", "Locust"] * len(titles)]]
    for endpoint in sorted(locust.keys() | cloudwatch.keys()):
        values = [cell_texts(numbers.get(endpoint)) for numbers in (cloudwatch, locust)]
        rows.append([" ".join(endpoint), *(text for pair in zip(*values, strict=True) for text in pair)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pairs = [left + 1 + right for left, right in zip(widths[1::2], widths[2::2], strict=True)]
    heading = "  ".join(title.center(width) for title, width in zip(titles, pairs, strict=True))
    print(f"\n{'':{widths[0]}}  {heading}")
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        pairs_of_cells = (f"{left} {right}" for left, right in zip(cells[::2], cells[1::2], strict=True))
        print(row[0].ljust(widths[0]), *pairs_of_cells, sep="  ")


def cell_texts(numbers: Numbers | None) -> list[str]:
    """The columns of one endpoint; a dash where there is no number."""
    if numbers is None:
        return ["-"] * (2 + len(PERCENTILES))
    times = (numbers.percentiles[percent] for percent in PERCENTILES)
    return [
        f"{numbers.requests:,}",
        f"{numbers.failures:,}",
        *("-" if t is None else f"{t:,.1f}" for t in times),
    ]


def summary(
    locust: dict[Endpoint, Numbers], cloudwatch: dict[Endpoint, Numbers], problems: list[str]
) -> dict[str, Any]:
    """The content of summary.json; percentiles are in milliseconds."""
    nothing = Numbers(0, 0, 0, None, dict.fromkeys(PERCENTILES))
    endpoints = []
    for endpoint in sorted(locust.keys() | cloudwatch.keys()):
        counted, shown = locust.get(endpoint, nothing), cloudwatch.get(endpoint, nothing)
        endpoints.append(
            {
                **endpoint._asdict(),
                "locust": {"requests": counted.requests, "failures": counted.failures},
                "cloudwatch": {
                    "requests": shown.requests,
                    "failures": shown.failures,
                    **{f"p{percent}": shown.percentiles[percent] for percent in PERCENTILES},
                },
            }
        )
    return {"reconciled": not problems, "problems": problems, "endpoints": endpoints}


def tail(path: Path, lines: int = 20) -> list[str]:
    """The last lines of a text file."""
    return path.read_text(errors="replace").splitlines()[-lines:]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nstopped")
