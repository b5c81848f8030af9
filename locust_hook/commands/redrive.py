"""`python -m locust_hook redrive`: has batches that could not be published delivered again.

Each object is copied onto itself, which makes S3 notify the relay as if it had just arrived, or the function
is invoked with the original event. The relay skips what it has published already, so that doing it twice does
no harm. A message leaves the queue only when all of its objects are published.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ..destination import aws_session
from .failed import MAX_MESSAGES, Item, Queue, RedriveError, items_of_keys
from .progress import Progress, say
from .redeliver import Copier, Invoker

INVOKE_SECONDS: Final = 910
"""Lambda's longest time-out is 900 s."""

_QUEUE_REGION = re.compile(r"https://sqs\.([a-z0-9-]+)\.amazonaws\.com")


def main(arguments: Sequence[str]) -> int:
    """Runs the command; 0 when everything is published, 1 when something is not."""
    options = parse(arguments)
    try:
        return redrive(options)
    except (ClientError, BotoCoreError, RedriveError, OSError, UnicodeDecodeError) as error:
        say(f"redrive: {error}", to=sys.stderr)
        return 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads and checks the options."""
    parser = argparse.ArgumentParser(prog="python -m locust_hook redrive", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--queue", metavar="URL", help="the on-failure queue")
    what.add_argument(
        "--keys", nargs="+", metavar="KEY",
        help="objects as s3://bucket/key, files with one of these a line, or - for standard input",
    )  # fmt: skip
    parser.add_argument(
        "--function", metavar="NAME",
        help="invoke this function with the original events, instead of copying objects onto themselves",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="say what would be delivered, and do nothing")
    parser.add_argument(
        "--wait-seconds", metavar="N", type=_whole(1, 36_000), default=300,
        help="how long to wait for a copied object to be published (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--parallel", metavar="N", type=_whole(1, 100), default=8,
        help="objects or events at the same time (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--ledger-prefix", metavar="PREFIX", default="ledger/",
        help="the relay's RELAY_LEDGER_PREFIX (default: %(default)s)",
    )  # fmt: skip
    return parser.parse_args(arguments)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, found {text!r}")
        return int(text)

    return parse


def redrive(options: argparse.Namespace) -> int:
    """Takes what there is, delivers it, and says what came of it."""
    # The queue, its function and the bucket are in one region.
    region = _QUEUE_REGION.match(options.queue or "")
    session = boto3.Session(region_name=region[1]) if region else aws_session()
    queue = None
    if options.queue:
        hidden = INVOKE_SECONDS * 4 if options.function else options.wait_seconds + 300
        queue = Queue(session.client("sqs"), options.queue, hidden)
    items = queue.take() if queue else items_of_keys(options.keys)
    try:
        with ThreadPoolExecutor(options.parallel) as pool:
            deliver(items, options, session, pool, queue)
    finally:
        # Whatever happened: what is not published can be seen by the next one at once.
        problems = queue.put_back(item for item in items if not item.done or options.dry_run) if queue else []
    for problem in problems:
        say(f"redrive: a message stays hidden for some minutes: {problem}", to=sys.stderr)
    return report(items, options.dry_run)


def deliver(
    items: Sequence[Item],
    options: argparse.Namespace,
    session: boto3.Session,
    pool: ThreadPoolExecutor,
    queue: Queue | None,
) -> None:
    """Delivers the items and deletes the messages of those that are published."""
    deleted = set[int]()

    def on_done(done: list[Item]) -> None:
        fresh = [item for item in done if id(item) not in deleted]
        deleted.update(map(id, fresh))
        for problem in queue.delete(fresh) if queue else []:
            say(f"redrive: published, but a message cannot be deleted: {problem}", to=sys.stderr)
        progress.advance(len(fresh))

    config = Config(
        read_timeout=INVOKE_SECONDS if options.function else 60,
        retries={"mode": "standard", "max_attempts": 5},
        max_pool_connections=options.parallel,
    )
    with Progress("published", len(items)) as progress:
        if options.function and not options.dry_run:
            Invoker(session.client("lambda", config=config), options.function, pool).deliver(items, on_done)
            return
        copier = Copier(
            session.client("s3", config=config), options.ledger_prefix, options.wait_seconds, pool
        )
        if options.dry_run:
            copier.look(items)
        else:
            copier.deliver(items, on_done)


def report(items: Sequence[Item], dry_run: bool) -> int:
    """Prints one line for each item that needs one, and the sum; returns the exit code."""
    lines = []
    for item in items:
        reason = f" ({item.reason})" if item.reason else ""
        if item.error:
            lines.append(f"{item.name}{reason}: {item.error}")
        elif dry_run:
            state = "is published already" if item.done else "would be delivered again"
            lines.append(f"{item.name}{reason}: {state}")
    done, failed = sum(item.done for item in items), sum(bool(item.error) for item in items)
    if dry_run:
        lines.append(
            f"redrive: of {len(items)}, {len(items) - done - failed} would be delivered again, {done} are "
            f"published already, {failed} cannot be delivered; nothing was done"
        )
    else:
        lines.append(f"redrive: {len(items)} taken, {done} published, {failed} not published")
    if len(items) >= MAX_MESSAGES:
        lines.append(f"redrive: there may be more than these {MAX_MESSAGES}: run it again")
    say(*lines)
    return 1 if failed else 0
