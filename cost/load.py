"""The batches of a load test, and how often each of them comes: what everything else is counted from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class CostError(Exception):
    """What was asked for cannot be estimated; the text says why and what to do."""


@dataclass(frozen=True)
class Part:
    """Batches, in files, that stand for `times` as many."""

    files: Sequence[Path]
    times: float = 1.0


@dataclass(frozen=True)
class Load:
    """A load test as its batches."""

    seconds: float
    """How long it takes."""
    hours: int
    """Hours of the clock in which it sends metrics."""
    processes: int
    """Locust's, each of which hands in batches."""
    uploaded: Sequence[Part]
    """The batches that are handed in."""
    metered: Sequence[Part]
    """The metrics of each of these parts, as often as it says, added up, are the metrics of all hours."""


class Source(Protocol):
    """Where a load comes from."""

    name: str
    """As people know it."""
    flush_seconds: int
    """One batch of each process per so many seconds."""

    def load(self, flush_seconds: int) -> Load:
        """The load with another flush interval. Raises `CostError`."""
