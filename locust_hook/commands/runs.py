"""`python -m locust_hook runs`: lists the tests and runs of an archive, the newest first.

Names, sources and sizes are those of the objects; when a run took place stands in its first and last batches;
requests and failures are counted from all of its batches, which --quick leaves out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from . import archive, replay_plan
from .archive import Archive, ArchiveError, Bucket, RunItems
from .archive_reader import BatchError
from .progress import Progress, say
from .replay_plan import duration, time_option, utc

DEFAULT_LIMIT: Final = 50
"""Runs that are listed: all batches of a run are read for its number of requests."""


@dataclass
class Listed:
    """One run; `start` in UTC, `start_ms` and `end_ms` in milliseconds since 1970, `bytes` as stored."""

    test: str
    run: str
    sources: int
    batches: int
    missing_batches: int
    bytes: int
    start: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    requests: int | None = None
    failures: int | None = None
    error: str | None = None
    """Why the run cannot be read as a whole; what is not known is None then."""


class Begun(NamedTuple):
    """A run and when it began, milliseconds since 1970; or why that is not known."""

    run: RunItems
    start_ms: int | None
    error: str | None


def find(source: Archive, options: argparse.Namespace, pool: ThreadPoolExecutor) -> list[Begun]:
    """The runs that are asked for, the newest first; those whose time is not known come last."""

    def begun(run: RunItems) -> Begun:
        try:
            return Begun(run, archive.started_ms(source, run), None)
        except (ArchiveError, BatchError, OSError) as error:
            return Begun(run, None, str(error))

    with Progress("listed objects", None) as progress:
        runs = archive.by_run(source.items(options.test, options.run, progress.advance))
    found = [
        run
        for run in archive.in_order(pool, options.parallel, begun, runs)
        if run.start_ms is None
        or (
            (options.since is None or options.since <= run.start_ms)
            and (options.until is None or run.start_ms < options.until)
        )
    ]
    return sorted(
        found, key=lambda run: (run.start_ms is None, -(run.start_ms or 0), run.run.test, run.run.run)
    )


def look(
    source: Archive, begun: Begun, options: argparse.Namespace, pool: ThreadPoolExecutor, progress: Progress
) -> Listed:
    """What there is to say of one run."""
    run = begun.run
    listed = Listed(
        run.test, run.run, len(run.sources), len(run.items), run.missing(), run.size, error=begun.error
    )
    try:
        if isinstance(source, Bucket) and (frozen := source.frozen(run.items, pool)[0]):
            raise ArchiveError(
                f"{len(frozen):,} of its batches lie in cold storage and must be restored first"
            )
        headers = archive.in_order(pool, options.parallel, source.header, run.edges())
        listed.start_ms, listed.end_ms = archive.span_ms(headers)
        listed.start = f"{utc(listed.start_ms).replace(' ', 'T')}Z"
        if not options.quick:
            listed.requests, listed.failures = count(source, run, options.parallel, pool, progress)
    except (ArchiveError, BatchError, OSError) as error:
        listed.error = str(error)
    return listed


def count(
    source: Archive, run: RunItems, parallel: int, pool: ThreadPoolExecutor, progress: Progress
) -> tuple[int, int]:
    """Requests and failures of a run."""
    requests = failures = 0
    contents = archive.in_order(pool, parallel, source.read, run.items)
    for item, content in zip(run.items, contents, strict=True):
        for group in archive.requests_of(source, item, content):
            requests += group.requests
            failures += group.requests if group.error is not None else 0
        progress.advance()
    return requests, failures


def table(runs: Sequence[Listed], quick: bool) -> Iterator[str]:
    """Lines of text, a run each."""
    rows = [["test", "run", "start (UTC)", "length", "sources", "batches", "size", "requests", "failures"]]
    for run in runs:
        length = "?" if run.start_ms is None or run.end_ms is None else duration(run.end_ms - run.start_ms)
        start = "?" if run.start_ms is None else utc(run.start_ms)
        numbers = ["?" if number is None else f"{number:,}" for number in (run.requests, run.failures)]
        rows.append([
            run.test, run.run, start, length, f"{run.sources:,}", f"{run.batches:,}",
            f"{run.bytes / 1e6:,.1f} MB", *numbers,
        ])  # fmt: skip
    if quick:
        rows = [row[:-2] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        left = [f"{cell:{width}}" for cell, width in zip(row[:4], widths[:4], strict=True)]
        right = [f"{cell:>{width}}" for cell, width in zip(row[4:], widths[4:], strict=True)]
        yield "  ".join([*left, *right])
    for run in runs:
        if run.missing_batches:
            yield f"{run.test}/{run.run}: {run.missing_batches:,} batches are missing"
        if run.error:
            yield f"{run.test}/{run.run}: {run.error}"


def run(options: argparse.Namespace) -> int:
    """Lists; 0, or 1 when a run cannot be read."""
    source = archive.open_archive(options.source, options.parallel)
    with ThreadPoolExecutor(options.parallel) as pool:
        found = find(source, options, pool)
        shown = found[: options.limit]
        batches = 0 if options.quick else sum(len(begun.run.items) for begun in shown)
        with Progress("read batches", batches) as progress:
            runs = [look(source, begun, options, pool, progress) for begun in shown]
    if options.json:
        say(json.dumps([asdict(run) for run in runs], indent=2))
    elif runs:
        say(*table(runs, options.quick))
    else:
        say("no runs found", to=sys.stderr)
    if len(found) > len(shown):
        say(f"runs: {len(found) - len(shown):,} older runs are not listed (--limit)", to=sys.stderr)
    return 1 if any(run.error for run in runs) else 0


def main(arguments: Sequence[str]) -> int:
    """Runs the command; 0, 1 when a run cannot be read, 2 when the archive cannot."""
    options = parse(arguments)
    try:
        return run(options)
    except (ArchiveError, BatchError, ClientError, BotoCoreError, OSError) as error:
        say(f"runs: {error}", to=sys.stderr)
        return 2


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads and checks the options."""
    parser = argparse.ArgumentParser(prog="python -m locust_hook runs", description=__doc__)
    parser.add_argument(
        "source", metavar="SOURCE", help="s3://bucket[/prefix], file:///folder or a folder's path"
    )
    parser.add_argument("--test", help="only this test")
    parser.add_argument("--run", help="only this run")
    parser.add_argument(
        "--since", metavar="TIME", type=time_option, help="only runs that began then or later"
    )
    parser.add_argument("--until", metavar="TIME", type=time_option, help="only runs that began before")
    parser.add_argument(
        "--limit", metavar="N", type=_limit, default=DEFAULT_LIMIT,
        help="at most so many runs (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="do not count requests and failures")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--parallel", metavar="N", type=int, choices=range(1, 65), default=16,
        help="batches fetched at the same time, 1 to 64 (default: %(default)s)",
    )  # fmt: skip
    parser.epilog = replay_plan.TIMES
    return parser.parse_args(arguments)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= archive.MAX_ITEMS:
        raise argparse.ArgumentTypeError(f"expected a number from 1, found {text!r:.80}")
    return int(text)
