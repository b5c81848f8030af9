"""Compressed batch → plan: time and memory beside decompression alone, and beside a handler in Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benches import programs
from benches.batches import Batch
from benches.summary import number, say, table
from benches.workload import FLUSH_SECONDS, RATE

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
QUICK_SIZES = SIZES[:4]
MAIN_SIZE = 1_000_000
REFERENCE_SIZES = SIZES[:4]
"""The handler in Python takes some gigabytes for more."""
TURNS = 3
"""The programs are run in turns, so that both meet the same neighbours on the machine."""
WORK = 3_000_000
"""Requests that one turn of the core plans, in as many rounds as that makes; at least `MIN_ROUNDS`."""
MIN_ROUNDS = 3


@dataclass(frozen=True)
class Measured:
    """One batch: processor time and peak memory (MiB) of what was measured; None where it was not."""

    shape: str
    requests: int
    decompress_s: float | None = None
    plan_s: float | None = None
    plan_mb: float | None = None
    decompress_mb: float | None = None
    python_s: float | None = None
    python_mb: float | None = None
    refused: str | None = None
    """Why the relay does not take the batch, if it does not."""

    @property
    def ratio(self) -> float | None:
        """The whole core in proportion to decompression alone."""
        return self.plan_s / self.decompress_s if self.plan_s and self.decompress_s else None

    @property
    def python_ratio(self) -> float | None:
        """The core in proportion to the handler in Python."""
        return self.plan_s / self.python_s if self.plan_s and self.python_s else None


def measure(quick: bool) -> list[Measured]:
    """Both shapes, all sizes: `burst` in one flush interval, `long` at one worker's rate."""
    found = []
    for size in QUICK_SIZES if quick else SIZES:
        for shape, seconds in (("burst", float(FLUSH_SECONDS)), ("long", size / RATE)):
            say(f"core: {size:,} requests, {shape} …")
            found.append(_measure(shape, Batch(size, seconds)))
    return found


def _measure(shape: str, batch: Batch) -> Measured:
    rounds = max(MIN_ROUNDS, WORK // batch.requests)
    core, reference = [], []
    try:
        plan = programs.run(programs.core(), "plan", batch.file)
    except programs.ProgramError as error:
        return Measured(shape, batch.requests, refused=str(error))
    if plan["requests"] != batch.requests:
        raise ValueError(f"expected a plan of {batch.requests} requests, found {plan['requests']}")
    decompress = programs.run(programs.core(), "decompress", batch.file)
    for _ in range(TURNS):
        core.append(programs.run(programs.core(), "time", batch.file, str(rounds)))
        if batch.requests in REFERENCE_SIZES:
            times = str(max(1, rounds // 30))
            reference.append(programs.run(programs.PYTHON, "benches/reference_load.py", batch.file, times))
    return Measured(
        shape,
        batch.requests,
        decompress_s=min(run["decompress_s"] for run in core),
        plan_s=min(run["plan_s"] for run in core),
        plan_mb=plan["peak_kib"] / 1024,
        decompress_mb=decompress["peak_kib"] / 1024,
        python_s=min((run["seconds"] for run in reference), default=None),
        python_mb=min((run["peak_kib"] / 1024 for run in reference), default=None),
    )


def summary(found: list[Measured]) -> dict[str, Any]:
    """The numbers for the summary: of a million requests in one interval, unless the name says otherwise."""
    of = {(row.shape, row.requests): row for row in found}
    burst, long = of["burst", MAIN_SIZE], of["long", MAIN_SIZE]
    numbers = {
        "ratio_to_decompression": burst.ratio,
        "ratio_to_decompression_long": long.ratio,
        "ratio_to_python": burst.python_ratio,
        "ratio_to_python_long": long.python_ratio,
        "ns_per_request": burst.plan_s and burst.plan_s / MAIN_SIZE * 1e9,
        "ns_per_request_long": long.plan_s and long.plan_s / MAIN_SIZE * 1e9,
        "peak_mb_1m": burst.plan_mb,
        "peak_mb_1m_long": long.plan_mb,
    }
    small, large = of["burst", 10_000], found[-2]
    if small.plan_s and large.plan_s:
        # 1 is linear.
        numbers["growth_10k_to_largest"] = large.plan_s / large.requests / (small.plan_s / small.requests)
    return numbers


def report(found: list[Measured]) -> str:
    """All of it, for people."""
    columns = (
        "requests", "shape", "decompress ns", "core ns", "ratio", "Python ns", "Python / core",
        "core MiB", "bytes a request", "Python MiB",
    )  # fmt: skip
    rows = [_row(row, found[0].decompress_mb or 0) for row in found]
    notes = [f"{row.requests:,} {row.shape}: refused: {row.refused}" for row in found if row.refused]
    return "\n".join([table(columns, rows), *notes])


def _row(row: Measured, floor_mb: float) -> list[str]:
    def each(seconds: float | None) -> str:
        return "" if seconds is None else number(seconds / row.requests * 1e9)

    def text(value: float | None) -> str:
        return "" if value is None else number(value)

    memory = None if row.plan_mb is None else (row.plan_mb - floor_mb) * 2**20 / row.requests
    inverse = 1 / row.python_ratio if row.python_ratio else None
    return [
        f"{row.requests:,}", row.shape, each(row.decompress_s), each(row.plan_s), text(row.ratio),
        each(row.python_s), text(inverse), text(row.plan_mb), text(memory), text(row.python_mb),
    ]  # fmt: skip
