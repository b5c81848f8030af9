"""What CloudWatch keeps: distributions per metric, unit and second."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from local_aws.cloudwatch.limits import Datum, Dimensions


class MetricKey(NamedTuple):
    """What makes a metric; the same name with other dimensions is another metric."""

    namespace: str
    name: str
    dimensions: Dimensions


@dataclass
class Distribution:
    """Values with their counts, which any number of datums were merged into.

    `exact` is False once a statistic set came in whose single values nobody knows: then there are no
    percentiles.
    """

    counts: dict[float, float] = field(default_factory=dict)
    sample_count: float = 0.0
    sum: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf
    exact: bool = True

    def add(self, datum: Datum) -> None:
        """Merge a datum in."""
        for value, count in datum.values:
            self.counts[value] = self.counts.get(value, 0.0) + count
            self.sample_count += count
            self.sum += value * count
            self.minimum = min(self.minimum, value)
            self.maximum = max(self.maximum, value)
        if datum.statistic:
            self.exact = False
            self.sample_count += datum.statistic.sample_count
            self.sum += datum.statistic.sum
            self.minimum = min(self.minimum, datum.statistic.minimum)
            self.maximum = max(self.maximum, datum.statistic.maximum)

    def merge(self, other: Distribution) -> None:
        """Merge another distribution in."""
        for value, count in other.counts.items():
            self.counts[value] = self.counts.get(value, 0.0) + count
        self.sample_count += other.sample_count
        self.sum += other.sum
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.exact = self.exact and other.exact

    @property
    def average(self) -> float:
        """Sum / sample count."""
        return self.sum / self.sample_count

    def percentile(self, percent: float) -> float | None:
        """The nearest-rank percentile: the smallest value with at least `percent` % of all samples at or
        below it.

        AWS does not say how it computes percentiles; nearest rank returns a value that was really published.
        None where single values are unknown.
        """
        if not self.exact:
            return None
        rank = max(percent / 100 * self.sample_count, math.ulp(0.0))
        seen = 0.0
        for value in sorted(self.counts):
            seen += self.counts[value]
            # Rounding in percent / 100 must not push the rank past a whole number.
            if seen >= rank * (1 - 1e-12):
                return value
        return self.maximum


class Cell(NamedTuple):
    """Where a datum is kept: per unit, resolution and second (60: the minute's first second)."""

    unit: str
    resolution: int
    second: int


class MetricStore:
    """All metrics of the one account and region; safe for many threads."""

    def __init__(self) -> None:
        self._metrics: dict[MetricKey, dict[Cell, Distribution]] = {}
        self._lock = threading.Lock()

    def put(self, namespace: str, datums: Iterable[Datum]) -> None:
        """Store checked datums."""
        with self._lock:
            for datum in datums:
                cells = self._metrics.setdefault(MetricKey(namespace, datum.name, datum.dimensions), {})
                cell = Cell(datum.unit, datum.resolution, datum.second - datum.second % datum.resolution)
                cells.setdefault(cell, Distribution()).add(datum)

    def keys(self, namespace: str | None = None, name: str | None = None) -> list[MetricKey]:
        """The metrics that have data, sorted; of a namespace and a name, if given."""
        with self._lock:
            keys = list(self._metrics)
        return sorted(key for key in keys if namespace in (None, key.namespace) and name in (None, key.name))

    def newest(self, key: MetricKey) -> int:
        """The second of a metric's newest data."""
        with self._lock:
            return max(cell.second for cell in self._metrics[key])

    def cells(self, key: MetricKey) -> list[tuple[Cell, Distribution]]:
        """A metric's distributions, ordered by time; [] for an unknown metric. Treat them as read-only."""
        with self._lock:
            return sorted(self._metrics.get(key, {}).items(), key=lambda item: item[0].second)

    def distribution(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str] | None = None,
        *,
        unit: str | None = None,
        start: float = -math.inf,
        end: float = math.inf,
    ) -> Distribution:
        """Everything of one metric with second in [start, end), merged; empty where there is nothing."""
        result = Distribution()
        key = MetricKey(namespace, name, tuple(sorted((dimensions or {}).items())))
        for cell, distribution in self.cells(key):
            if start <= cell.second < end and unit in (None, cell.unit):
                result.merge(distribution)
        return result

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._metrics.clear()
