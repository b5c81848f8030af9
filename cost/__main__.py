"""`python -m cost`: what a load test costs on AWS, from a run in an archive or from a few numbers.

The relay itself plans the batches, offline: calls, custom metrics and bytes are its own. Its settings are
those of template.yaml, unless the environment says otherwise (RELAY_DIMENSION_SETS, ...).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from locust_hook.commands.archive import ArchiveError
from locust_hook.commands.archive_reader import BatchError
from locust_hook.commands.progress import Progress, say

from . import prices, report, stack
from .archived import Archived, open_run
from .bill import CALL_MS, CALLS_IN_TURN, PLAN_US_PER_REQUEST, SEND_NS_PER_BYTE, bill, lambda_ms
from .counts import count
from .generated import BOUNDS, Generated, Workload
from .load import CostError, Source
from .preview import RELAY, Planner, relay
from .report import Estimate
from .stack import Stack
from .variants import Variant, variants

HELP: Final = {
    "requests": "requests per second, of all workers together",
    "endpoints": "different endpoints",
    "workers": "Locust workers, beside a master; 0: one process that is both",
    "hours": "how long the test takes",
    "flush_seconds": "one batch of each process per so many seconds (--relay-flush-seconds)",
    "failures": "share of the requests that fail",
    "response_ms": "median of the response times in milliseconds",
    "spread": "of the response times: standard deviation of their logarithm",
    "response_bytes": "median size of the responses in bytes",
    "skew": "the n-th endpoint is asked 1/n^N times as often as the first; 0: all alike",
    "users": "simulated users",
    "user_classes": "classes that they are of",
    "max_endpoints": "names that the hook keeps apart (--relay-max-endpoints)",
    "seed": "of what is left to chance",
}


def main(arguments: Sequence[str]) -> int:
    """Runs the command; 0, or 2 when there is nothing to estimate."""
    options = parse(arguments)
    try:
        return run(options)
    except (CostError, ArchiveError, BatchError, ClientError, BotoCoreError, OSError) as error:
        say(f"cost: {error}", to=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    """Estimates and prints."""
    planner = relay(options.relay)
    deployed = stack.read()
    environment = {name: value for name, value in os.environ.items() if name.startswith("RELAY_")}
    deployed = replace(
        deployed,
        settings={**deployed.settings, **environment},
        memory_mb=options.lambda_mb or deployed.memory_mb,
        architecture=options.architecture or deployed.architecture,
    )
    with tempfile.TemporaryDirectory(prefix="cost-") as folder:
        source: Source
        if options.run_address is None:
            source = Generated(Workload(**options.workload), Path(folder))
        else:
            source = open_run(options.run_address, options.test, options.run, Path(folder))
        as_it_is, others, failed = estimates(source, planner, deployed, options.lambda_ms)
    notes = [*assumptions(source, as_it_is, deployed, options.lambda_ms), *failed]
    if options.json:
        found = report.data(as_it_is, deployed.settings, others, notes, options.refresh_seconds)
        say(json.dumps(found, indent=2))
    else:
        say(*report.text(as_it_is, deployed.settings, others, notes, options.refresh_seconds))
    return 0


def estimates(
    source: Source, planner: Planner, deployed: Stack, invocation_ms: float | None = None
) -> tuple[Estimate, list[Estimate], list[str]]:
    """The estimate of a load, those of its variants, and why others cannot be made. Raises `CostError`."""

    load = cache(source.load)

    def estimate(variant: Variant) -> Estimate:
        settings = {**deployed.settings, **variant.changes}
        counts = count(load(variant.flush_seconds), planner, settings)
        return Estimate(variant.name, counts, bill(counts, deployed, invocation_ms))

    tried = list(variants(deployed.settings, source.flush_seconds))
    others, failed = [], []
    with Progress("planned with different settings", 1 + len(tried)) as progress:
        as_it_is = estimate(Variant(source.name, source.flush_seconds))
        for variant in tried:
            progress.advance()
            try:
                others.append(estimate(variant))
            except CostError as error:
                failed.append(f"{variant.name} cannot be tried: {error}")
        progress.advance()
    return as_it_is, others, failed


def assumptions(
    source: Source, estimate: Estimate, deployed: Stack, invocation_ms: float | None
) -> list[str]:
    """What the numbers take for granted."""
    if invocation_ms is None:
        milliseconds = lambda_ms(estimate.counts, deployed.memory_mb)
        how = (
            f"{CALLS_IN_TURN} calls of {CALL_MS:g} ms one after the other, and of a whole processor "
            f"{PLAN_US_PER_REQUEST:g} µs a request and {SEND_NS_PER_BYTE:g} ns a byte of metrics "
            "(--lambda-ms: as measured)"
        )
    else:
        milliseconds, how = invocation_ms, "as --lambda-ms says"
    notes = [
        f"Lambda: {milliseconds:,.0f} ms at {deployed.memory_mb:,} MB for each batch: {how}.",
        "Custom metrics are metered in each hour of the clock in which they are sent, as a whole hour: "
        f"here {estimate.counts.hours:,}.",
        f"Logs are stored compressed, taken to be {prices.LOGS_COMPRESSED:.0%} of what was sent.",
        f"Each refresh of the dashboard runs {deployed.queries:,} queries, each of which reads all of the "
        "test's logs in the time shown (--refresh-seconds: what that is while it runs).",
        "Not in it: repeated attempts, replays, saved queries of Logs Insights.",
        *(f"Unconfirmed: {what}." for what in prices.UNCONFIRMED),
    ]
    if isinstance(source, Archived) and source.missing:
        notes.append(
            f"Missing in the archive, and so in the estimate: {source.missing:,} of the run's batches."
        )
    return notes


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads and checks the options."""
    parser = argparse.ArgumentParser(
        prog="python -m cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    recorded = parser.add_argument_group("a recorded run")
    recorded.add_argument(
        "run_address", metavar="ADDRESS", nargs="?",
        help="where it is: s3://bucket/batches/<test>/<run>, file:///folder or a folder's path",
    )  # fmt: skip
    recorded.add_argument("--test", help="its test, where the address holds several")
    recorded.add_argument("--run", help="its id, where the address holds several")
    made = parser.add_argument_group("or a load of these numbers")
    for field in fields(Workload):
        made.add_argument(
            f"--{field.name.replace('_', '-')}", metavar="N", type=_number(field.name),
            help=f"{HELP[field.name]} (default: {field.default:g})",
        )  # fmt: skip
    function = parser.add_argument_group("the function")
    function.add_argument(
        "--lambda-ms", metavar="N", type=float, help="milliseconds of one invocation (default: estimated)"
    )
    function.add_argument(
        "--lambda-mb", metavar="N", type=int, help="its memory (default: the template's MemorySize)"
    )
    function.add_argument(
        "--architecture",
        choices=sorted(prices.LAMBDA_GB_SECOND),
        help="(default: the template's Architecture)",
    )
    parser.add_argument(
        "--refresh-seconds", metavar="N", type=float,
        help="say what the dashboard costs that is looked at during the test, anew in every N seconds",
    )  # fmt: skip
    parser.add_argument(
        "--relay", metavar="PATH", type=Path, default=RELAY, help="compiled relay (default: target/debug)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    given = {field.name: getattr(options, field.name) for field in fields(Workload)}
    options.workload = {name: value for name, value in given.items() if value is not None}
    if options.run_address is not None and options.workload:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in options.workload)
        parser.error(
            f"expected a recorded run or numbers of a load, found both: {options.run_address} and {names}"
        )
    if options.run_address is None and (options.test or options.run):
        parser.error("expected an ADDRESS beside --test and --run, found none")
    if options.lambda_ms is not None and not 1 <= options.lambda_ms <= 900_000:
        parser.error(f"--lambda-ms: expected 1 to 900,000, found {options.lambda_ms:g}")
    if options.refresh_seconds is not None and not 1 <= options.refresh_seconds <= 86_400:
        parser.error(f"--refresh-seconds: expected 1 to 86,400, found {options.refresh_seconds:g}")
    if options.lambda_mb is not None and not 128 <= options.lambda_mb <= 10_240:
        parser.error(f"--lambda-mb: expected 128 to 10,240, found {options.lambda_mb}")
    return options


def _number(name: str) -> Any:
    """An option's type: a number within the workload's bounds."""
    least, most = BOUNDS[name]
    kind = type(getattr(Workload, name))

    def parse_number(text: str) -> Any:
        expected = f"expected {'a whole number' if kind is int else 'a number'} from {least:g} to {most:g}"
        try:
            number = kind(text)
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{expected}, found {text!r:.80}")
        return number

    return parse_number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
