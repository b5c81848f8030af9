"""`python -m locust_hook replay`: publishes archived runs again, as another test and at another time.

The batches are copied to replays/<name>/ in the relay's bucket, where the relay publishes them as test
<test>@<name>, all moved by the same whole minutes. The archive stays as it is. After an interruption the same
command goes on where it was; nothing is published twice.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from ..console import dashboard_link
from ..destination import MAX_KEY, Address
from . import archive, replay_plan
from .archive import Archive, ArchiveError, Bucket, Item, RunItems
from .archive_reader import BatchError, Header
from .progress import Progress, say
from .replay_plan import PlanError, Span, When, duration, time_option, utc
from .replay_target import ReplayError, Target

MAX_NAME_BYTES: Final = 128
"""Longest name of a replay, as the relay takes it."""

LIVE: Final = "live"
"""Where the ledger keeps what is no replay."""

SHOWN_RUNS: Final = 20


class Run(NamedTuple):
    """A run that is selected."""

    items: RunItems
    span: Span


# What to replay ---------------------------------------------------------------------------------------


def select(
    source: Archive,
    pool: ThreadPoolExecutor,
    parallel: int,
    *,
    test: str | None,
    run: str | None,
    since_ms: int | None,
    until_ms: int | None,
) -> list[Run]:
    """The runs of a test, by id, and that began in [`since_ms`, `until_ms`); raises when there are none."""
    with Progress("listed objects", None) as progress:
        runs = archive.by_run(source.items(test, run, progress.advance))
    if since_ms is not None or until_ms is not None:
        starts = archive.in_order(pool, parallel, lambda run: archive.started_ms(source, run), runs)
        runs = [
            run
            for run, start_ms in zip(runs, list(starts), strict=True)
            if (since_ms is None or since_ms <= start_ms) and (until_ms is None or start_ms < until_ms)
        ]
    if not runs:
        raise ReplayError(
            "expected batches of the test, the run and the time asked for, found none: "
            "`python -m locust_hook runs` lists what there is"
        )
    if isinstance(source, Bucket):
        refuse_frozen(source, runs, pool)
    edges = [item for run in runs for item in run.edges()]
    with Progress("read headers", len(edges)) as progress:
        headers: dict[tuple[str, str], list[Header]] = {}
        for header in archive.in_order(pool, parallel, source.header, edges):
            headers.setdefault((header.test, header.run), []).append(header)
            progress.advance()
    return [Run(run, Span(*archive.span_ms(headers[run.test, run.run]))) for run in runs]


def refuse_frozen(source: Bucket, runs: Sequence[RunItems], pool: ThreadPoolExecutor) -> None:
    """Raises when batches must first be restored from cold storage."""
    items = [item for run in runs for item in run.items]
    frozen, under_way = source.frozen(items, pool)
    if frozen:
        storage = ", ".join(sorted({item.storage for item in frozen}))
        help_text = archive.restore_help(source.bucket, frozen[0].key)
        raise ReplayError(
            f"{len(frozen):,} of {len(items):,} batches lie in cold storage ({storage}); {under_way:,} of "
            f"them are being restored already. {help_text}"
        )


# The whole of it --------------------------------------------------------------------------------------


@dataclass
class Replay:
    """What is to be done."""

    target: Target
    runs: list[Run]
    shift_ms: int
    resumed: bool
    missing: list[Item] = field(default_factory=list)
    """Batches that are not in place yet."""

    @property
    def span(self) -> Span:
        """From the first run's start to the last one's end, as they are published."""
        spans = [run.span for run in self.runs]
        return Span(min(span.start_ms for span in spans), max(span.end_ms for span in spans)).later(
            self.shift_ms
        )

    @property
    def count(self) -> int:
        """Batches in all."""
        return sum(len(run.items.items) for run in self.runs)


def prepare(target: Target, runs: list[Run], when: When, now_ms: int, pool: ThreadPoolExecutor) -> Replay:
    """Decides by how much the runs are moved, and what is left to do; changes nothing."""
    anchors = list(pool.map(lambda run: target.anchor(run.items), runs))
    begun = {shift_ms for shift_ms in anchors if shift_ms is not None}
    whole = Span(min(run.span.start_ms for run in runs), max(run.span.end_ms for run in runs))
    shift_ms = when.shift_ms(whole, now_ms)
    if begun and when.is_now:  # `now` was another time when it began
        shift_ms = min(begun)
    for run, found in zip(runs, anchors, strict=True):
        if found not in (None, shift_ms):
            raise ReplayError(
                f"the replay {target.name!r} of run {run.items.run} of test {run.items.test!r} was begun "
                f"with the times {run.span.later(found or 0)}, found {run.span.later(shift_ms)} asked for: "
                "what is published cannot be moved, choose another --name"
            )
    there = set().union(*pool.map(lambda run: target.there(run.items), runs))
    missing = [item for run in runs for item in run.items.items if target.key(item) not in there]
    replay = Replay(target, runs, shift_ms, bool(begun), missing)
    if missing:
        try:
            replay_plan.check_taken(replay.span, now_ms)
        except PlanError as error:
            if not begun:
                raise
            raise PlanError(
                f"{error} (the replay was begun with these times: choose another --name)"
            ) from None
    for item in missing:
        if len(target.key(item).encode()) > MAX_KEY:
            raise ReplayError(f"{target.key(item)!r} is longer than {MAX_KEY} bytes: choose a shorter --name")
    return replay


def describe(replay: Replay, now_ms: int) -> list[str]:
    """What will be published, when it will be seen, and what it costs."""
    lines = []
    for run in replay.runs[:SHOWN_RUNS]:
        items = run.items
        lines.append(
            f"run {items.run} of {items.test}: {utc(run.span.start_ms)} UTC, {duration(run.span.length_ms)}, "
            f"{len(items.sources)} sources, {len(items.items):,} batches, {items.size / 1e6:,.1f} MB"
        )
        if lost := items.missing():
            lines.append(
                f"  of which {lost:,} batches are missing in the archive: the replay will lack them too"
            )
    if len(replay.runs) > SHOWN_RUNS:
        lines.append(f"and {len(replay.runs) - SHOWN_RUNS:,} more runs")
    tests = sorted({f"{run.items.test}@{replay.target.name}" for run in replay.runs})
    more = f" and {len(tests) - 5} more" if len(tests) > 5 else ""
    direction = "later" if replay.shift_ms >= 0 else "earlier"
    moved = f"{duration(replay.shift_ms)} {direction}" if replay.shift_ms else "at their own times"
    lines.append(f"published as test {', '.join(tests[:5])}{more}, {moved}: {replay.span}")
    if replay.resumed:
        done = replay.count - len(replay.missing)
        lines.append(f"this replay was begun before: {done:,} of {replay.count:,} batches are in place")
    for part, text in replay_plan.visibility(replay.span, now_ms):
        lines.append(f"CloudWatch shows {part} {text}")
    price = replay_plan.cost(replay.missing)
    lines.append(
        f"costs about ${price.total:.2f}: copies ${price.copies:.3f}, the relay ${price.relay:.3f}, "
        f"CloudWatch calls ${price.calls:.3f}; besides, each custom metric $0.30 a month, metered by the "
        f"hour, and log events $0.50 a GB ({replay_plan.PRICES_OF})"
    )
    return lines


def copy(replay: Replay, source: Archive, pool: ThreadPoolExecutor, parallel: int) -> None:
    """Puts the anchors and the missing batches in place; raises at the first that cannot be copied."""
    for run in replay.runs:
        replay.target.set_anchor(run.items, replay.shift_ms)
    bring = partial(replay.target.bring, source)
    with Progress("copied batches", len(replay.missing)) as progress:
        try:
            for _ in archive.in_order(pool, parallel, bring, replay.missing):
                progress.advance()
        except (ArchiveError, BatchError) as error:
            raise ReplayError(
                f"{error}\n{progress.count:,} of {len(replay.missing):,} batches are copied: "
                "the same command goes on from there"
            ) from error


def run(options: argparse.Namespace) -> int:
    """Replays, or says what would be done."""
    source = archive.open_archive(options.source, options.parallel)
    client = source.client if isinstance(source, Bucket) else archive.s3_client(options.parallel)
    target = Target(client, target_bucket(source, options.to), options.name, options.ledger_prefix)
    with ThreadPoolExecutor(options.parallel) as pool:
        try:
            runs = select(
                source, pool, options.parallel,
                test=options.test, run=options.run, since_ms=options.since, until_ms=options.until,
            )  # fmt: skip
            now_ms = replay_plan.parse_time("now")
            replay = prepare(target, runs, options.when, now_ms, pool)
            say(*describe(replay, now_ms))
            if options.dry_run:
                say(f"dry run: {len(replay.missing):,} batches would be copied, nothing was done")
                return 0
            copy(replay, source, pool, options.parallel)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    say(f"all {replay.count:,} batches are in place; the relay publishes them as they arrive")
    if region := getattr(client.meta, "region_name", None):
        say(f"look at {dashboard_link(region, options.dashboard, *replay.span)}")
    return 0


def target_bucket(source: Archive, to: str | None) -> str:
    """The relay's bucket: the one that is named, or the source's own."""
    if to is None:
        if isinstance(source, Bucket):
            return source.bucket
        raise ReplayError(
            "expected --to s3://bucket, the relay's bucket, as the source is a folder; found none"
        )
    try:
        address = Address.parse(to)
    except ValueError as error:
        raise ReplayError(f"--to: {error}") from None
    if address.bucket is None or address.path:
        raise ReplayError(f"--to: expected the relay's bucket as s3://bucket, found {to!r}")
    return address.bucket


# The command ------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Runs the command; 0 when all is in place, 1 when something is not, 130 when it was interrupted."""
    options = parse(arguments)
    try:
        return run(options)
    except (ArchiveError, BatchError, ReplayError, PlanError, ClientError, BotoCoreError, OSError) as error:
        say(f"replay: {error}", to=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("replay: interrupted; the same command goes on where this one was", to=sys.stderr)
        return 130


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads and checks the options."""
    parser = argparse.ArgumentParser(prog="python -m locust_hook replay", description=__doc__)
    parser.add_argument(
        "source", metavar="SOURCE", help="s3://bucket[/prefix], file:///folder or a folder's path"
    )
    parser.add_argument("--name", required=True, type=_name, help="the replay's name: shown as <test>@<name>")
    parser.add_argument("--to", metavar="URL", help="the relay's bucket, s3://bucket (default: the source's)")
    parser.add_argument("--test", help="only this test")
    parser.add_argument("--run", help="only this run")
    parser.add_argument(
        "--since", metavar="TIME", type=time_option, help="only runs that began then or later"
    )
    parser.add_argument("--until", metavar="TIME", type=time_option, help="only runs that began before")
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        "--end", metavar="now|TIME", type=lambda text: None if text == "now" else time_option(text),
        help="when the last run ends; now (default): and a run too long for CloudWatch to show all of it at "
        "once goes on ahead of now, by up to 1 h 40 min",
    )  # fmt: skip
    when.add_argument(
        "--start", metavar="TIME", type=time_option, help="when the first run starts, to the minute"
    )
    when.add_argument("--keep-time", action="store_true", help="leave the times as they are")
    parser.add_argument("--dry-run", action="store_true", help="say what would be published, and do nothing")
    parser.add_argument(
        "--parallel", metavar="N", type=int, choices=range(1, 65), default=16,
        help="copies at the same time, 1 to 64 (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--ledger-prefix", metavar="PREFIX", default=os.environ.get("RELAY_LEDGER_PREFIX", "ledger/"),
        help="the relay's RELAY_LEDGER_PREFIX (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--dashboard", default="Locust", help="the dashboard to link to (default: %(default)s)"
    )
    parser.epilog = replay_plan.TIMES
    options = parser.parse_args(arguments)
    options.when = When(options.start, options.end, options.keep_time)
    return options


def _name(text: str) -> str:
    size = len(text.encode(errors="replace"))
    if not 1 <= size <= MAX_NAME_BYTES or text == LIVE or not text.strip("."):
        expected = f"a name of 1 to {MAX_NAME_BYTES} bytes other than {LIVE!r} and dots"
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r:.140}")
    return text
