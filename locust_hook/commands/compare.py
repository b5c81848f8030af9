"""`python -m locust_hook compare`: two archived runs side by side, endpoint by endpoint.

The numbers come from every single request. A percentile is the nearest rank: the smallest response time that
at least so many percent of all response times do not exceed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from . import archive
from .archive import Archive, ArchiveError, RunItems
from .archive_reader import BatchError, Group
from .progress import Progress, say

PERCENTILES: Final = (50, 95, 99)
TIMES: Final = ("mean", *(f"p{percent}" for percent in PERCENTILES))
"""What is said of response times, all in milliseconds."""

FAILURES: Final = "failures"
AGGREGATED: Final = ("", "Aggregated")
"""All endpoints together, as Locust names them."""

MAX_VALUES: Final = 20_000_000
"""Different response times of one endpoint, in microseconds: about 2 GB of memory."""

SHOWN_RUNS: Final = 10


class CompareError(Exception):
    """Two runs cannot be compared; the text says why and what to do."""


class Endpoint(NamedTuple):
    """What Locust keeps statistics of."""

    method: str
    name: str

    def __str__(self) -> str:
        return f"{self.method} {self.name}".strip()


# One run ----------------------------------------------------------------------------------------------


@dataclass
class Counted:
    """The requests of one endpoint."""

    requests: int = 0
    failures: int = 0
    times_us: Counter[int] = field(default_factory=Counter)
    """How often each response time was seen: memory grows with different values, not with requests."""

    def add(self, group: Group) -> None:
        """Takes requests in."""
        self.requests += group.requests
        self.failures += group.requests if group.error is not None else 0
        self.times_us.update(group.times_us)

    def merge(self, other: Counted) -> None:
        """Takes another endpoint's requests in."""
        self.requests += other.requests
        self.failures += other.failures
        self.times_us.update(other.times_us)

    def statistics(self) -> Statistics:
        """What is compared."""
        count = self.times_us.total()
        mean = sum(time * seen for time, seen in self.times_us.items()) / count / 1000 if count else None
        percentiles = (value / 1000 for value in nearest_ranks(self.times_us, PERCENTILES))
        p50, p95, p99 = percentiles if count else (None, None, None)
        return Statistics(self.requests, self.failures, mean, p50, p95, p99)


def nearest_ranks(counts: Counter[int], percents: Sequence[int]) -> Iterator[int]:
    """For each of the ascending `percents` the smallest value that so many percent of all do not exceed.

    numpy calls this method `inverted_cdf`. Yields nothing when there is no value.
    """
    total, seen = counts.total(), 0
    ranks = iter([-(-total * percent // 100) for percent in percents])
    rank = next(ranks)
    for value in sorted(counts):
        seen += counts[value]
        while seen >= rank:
            yield value
            if (rank := next(ranks, 0)) == 0:
                return


@dataclass(frozen=True)
class Statistics:
    """One endpoint in one run; times in milliseconds, None without any."""

    requests: int
    failures: int
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None

    @property
    def failure_rate(self) -> float:
        """Share of the requests that failed, in percent."""
        return 100 * self.failures / self.requests if self.requests else 0.0


def read_run(source: Archive, run: RunItems, parallel: int) -> dict[Endpoint, Statistics]:
    """The statistics of each endpoint of a run, and of all together."""
    counted: dict[Endpoint, Counted] = {}
    with (
        Progress(f"read batches of {run.run}", len(run.items)) as progress,
        ThreadPoolExecutor(parallel) as pool,
    ):
        contents = archive.in_order(pool, parallel, source.read, run.items)
        for item, content in zip(run.items, contents, strict=True):
            for group in archive.requests_of(source, item, content):
                endpoint = Endpoint(group.method, group.name)
                one = counted.setdefault(endpoint, Counted())
                one.add(group)
                if len(one.times_us) > MAX_VALUES:
                    raise CompareError(
                        f"expected at most {MAX_VALUES:,} different response times of an endpoint, found "
                        f"more of {endpoint}: the run is too large to be compared here"
                    )
            progress.advance()
    together = Counted()
    for one in counted.values():
        together.merge(one)
    found = {endpoint: one.statistics() for endpoint, one in sorted(counted.items())}
    return found | {Endpoint(*AGGREGATED): together.statistics()}


# Two runs ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limit:
    """How much worse a number may be in the second run.

    Response times: percent of the first run's. Failures: percentage points of the failure rate, as nothing is
    any percent of no failures.
    """

    name: str
    percent: float

    def broken(self, first: Statistics, second: Statistics) -> str | None:
        """What is worse than allowed, if anything is."""
        if self.name == FAILURES:
            rise = second.failure_rate - first.failure_rate
            if rise > self.percent + 1e-9:  # rounding in the difference of two rates
                rates = f"{first.failure_rate:.3g} % → {second.failure_rate:.3g} %"
                return f"failure rate {rates}, {rise:+.3g} points, more than {self.percent:g}"
            return None
        before, after = getattr(first, self.name), getattr(second, self.name)
        if before is None or after is None or after <= before * (1 + self.percent / 100) + 1e-9:
            return None
        times = f"{before:.3f} ms → {after:.3f} ms"
        return f"{self.name} {times}, {change(before, after)}, more than {self.percent:g} %"


def regressions(
    first: Mapping[Endpoint, Statistics],
    second: Mapping[Endpoint, Statistics],
    limits: Sequence[Limit],
    min_requests: int,
) -> list[str]:
    """Each limit that is broken by an endpoint with at least `min_requests` in both runs, or that is gone."""
    found = []
    for endpoint, before in first.items():
        after = second.get(endpoint)
        if not limits or before.requests < min_requests:
            continue
        if after is None:
            found.append(f"{endpoint}: {before.requests:,} requests → none")
        elif after.requests >= min_requests:
            broken = (limit.broken(before, after) for limit in limits)
            found += [f"{endpoint}: {text}" for text in broken if text]
    return found


def change(before: float | None, after: float | None) -> str:
    """The difference in percent."""
    if before is None or after is None:
        return ""
    if before == after:
        return "0.0 %"
    return f"{100 * (after / before - 1):+.1f} %" if before else "new"


def table(
    first: Mapping[Endpoint, Statistics], second: Mapping[Endpoint, Statistics], names: tuple[str, str]
) -> Iterator[str]:
    """Lines of text: one of each endpoint for the first run, one for the second with the differences."""
    width = max(
        [len("endpoint"), *(min(len(str(endpoint)), 60) for endpoint in (*first, *second))],
    )
    yield f"A: {names[0]}"
    yield f"B: {names[1]}"
    heads = ["requests", "failures", "mean ms", *(f"p{percent} ms" for percent in PERCENTILES)]
    yield f"{'endpoint':{width}}    " + "".join(f"{head:>20}" for head in heads)
    total = Endpoint(*AGGREGATED)
    for endpoint in [*sorted((first.keys() | second.keys()) - {total}), total]:
        before, after = first.get(endpoint), second.get(endpoint)
        name = str(endpoint)
        name = name if len(name) <= 60 else f"{name[:59]}…"
        yield f"{name:{width}}  A " + _cells(before, None)
        yield f"{'':{width}}  B " + _cells(after, before)


def _cells(own: Statistics | None, other: Statistics | None) -> str:
    if own is None:
        return f"{'none':>20}"
    cells = [
        f"{own.requests:,}{_aside(change(other.requests, own.requests) if other else '')}",
        f"{own.failure_rate:.2f} %{_aside(f'{own.failure_rate - other.failure_rate:+.2f}' if other else '')}",
    ]
    for name in TIMES:
        value = getattr(own, name)
        text = "-" if value is None else f"{value:,.1f}"
        cells.append(text + _aside(change(getattr(other, name), value) if other else ""))
    return "".join(f"{cell:>20}" for cell in cells)


def _aside(text: str) -> str:
    return f" ({text.replace(' ', '')})" if text else ""


def as_json(
    first: Mapping[Endpoint, Statistics],
    second: Mapping[Endpoint, Statistics],
    names: tuple[str, str],
    broken: Sequence[str],
) -> str:
    """Everything as one JSON object; times in milliseconds, failure rates in percent."""

    def one(found: Statistics | None) -> dict[str, object] | None:
        return None if found is None else {**asdict(found), "failure_rate": found.failure_rate}

    total = Endpoint(*AGGREGATED)
    endpoints = [
        {"method": e.method, "name": e.name, "a": one(first.get(e)), "b": one(second.get(e))}
        for e in [*sorted((first.keys() | second.keys()) - {total}), total]
    ]
    return json.dumps({"a": names[0], "b": names[1], "endpoints": endpoints, "regressions": broken}, indent=2)


# The command ------------------------------------------------------------------------------------------


def find_run(source: Archive, wanted: str | None) -> RunItems:
    """The one run in an archive, or the one that is `wanted`: `<run>` or `<test>/<run>`."""
    with Progress("listed objects", None) as progress:
        runs = archive.by_run(source.items(seen=progress.advance))
    if wanted is not None:
        runs = [run for run in runs if wanted in (run.run, f"{run.test}/{run.run}")]
    if len(runs) == 1:
        return runs[0]
    names = [f"{run.test}/{run.run}" for run in runs]
    more = f" and {len(names) - SHOWN_RUNS:,} more" if len(names) > SHOWN_RUNS else ""
    found = ", ".join(names[:SHOWN_RUNS]) + more if names else "none"
    raise CompareError(
        f"expected one run{f' {wanted!r}' if wanted else ''}, found {found}: name the run's own folder, "
        "s3://bucket/batches/<test>/<run>, or use --archive s3://bucket and the runs' ids"
    )


def run(options: argparse.Namespace) -> int:
    """Compares; 0, or 1 when a limit is broken."""
    results, names = [], []
    for wanted in (options.run_a, options.run_b):
        source = archive.open_archive(options.archive or wanted, options.parallel)
        found = find_run(source, wanted if options.archive else None)
        if lost := found.missing():
            say(f"compare: {found.run}: {lost:,} batches are missing in the archive", to=sys.stderr)
        results.append(read_run(source, found, options.parallel))
        names.append(f"{found.test}/{found.run}")
        if not results[-1][Endpoint(*AGGREGATED)].requests:
            raise CompareError(f"expected requests in {names[-1]}, found none")
    first, second = results
    broken = regressions(first, second, options.max_regression, options.min_requests)
    if options.json:
        say(as_json(first, second, (names[0], names[1]), broken))
    else:
        regressed = (f"regression: {text}" for text in broken)
        say(*table(first, second, (names[0], names[1])), *regressed)
    return 1 if broken else 0


def main(arguments: Sequence[str]) -> int:
    """Runs the command; 0, 1 when a limit is broken, 2 on errors."""
    options = parse(arguments)
    try:
        return run(options)
    except (ArchiveError, BatchError, CompareError, ClientError, BotoCoreError, OSError) as error:
        say(f"compare: {error}", to=sys.stderr)
        return 2


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads and checks the options."""
    parser = argparse.ArgumentParser(prog="python -m locust_hook compare", description=__doc__)
    for name in ("RUN_A", "RUN_B"):
        parser.add_argument(
            name.lower(), metavar=name,
            help="s3://bucket/batches/<test>/<run> or a folder with one run; with --archive a run's id",
        )  # fmt: skip
    parser.add_argument("--archive", metavar="SOURCE", help="bucket or folder that has both runs")
    parser.add_argument(
        "--max-regression", metavar="NAME=N%", type=limit, action="append", default=[],
        help=f"how much worse B may be, for each endpoint and all together: {', '.join(TIMES)} by N percent, "
        f"{FAILURES} by N percentage points; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--min-requests", metavar="N", type=int, default=1,
        help="limits hold for endpoints with at least so many requests (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--parallel", metavar="N", type=int, choices=range(1, 65), default=8,
        help="batches fetched at the same time, 1 to 64 (default: %(default)s)",
    )  # fmt: skip
    return parser.parse_args(arguments)


def limit(text: str) -> Limit:
    """`p95=10%` → a limit; raises argparse's error."""
    known = (*TIMES, FAILURES)
    match = re.fullmatch(r"(\w+)=(\d{1,6}(?:\.\d{1,6})?)%?", text)
    if not match or match[1] not in known:
        expected = f"NAME=N% with a name of {', '.join(known)}"
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r:.80}")
    return Limit(match[1], float(match[2]))
