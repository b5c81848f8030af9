"""The batch that is delivered under every fault, and what CloudWatch then holds of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isclose
from threading import Lock

from local_aws import LocalAws
from local_aws.cloudwatch.limits import Datum, Dimensions
from tests.e2e.batches import Batch, now_ms, requests

NAMESPACE = "Locust"
ENDPOINTS = 70
SECONDS = 10
FAILURES = 500
LONG_ERROR = "HTTPError('500 Server Error: " + "x" * 1900 + "')"
"""With so many of them, the log events do not fit into one call."""
METRIC_CALLS, LOG_CALLS = 3, 2
"""What the batch leads to; the tests check it."""

FROM_MS = now_ms() // 1000 * 1000 - 60_000

Series = tuple[str, Dimensions]
"""A metric's name, and its dimensions without the test's name."""


def batch(test: str) -> Batch:
    """A batch of many endpoints and of long errors; the same for every test but for its name."""
    records = [
        requests("GET", f"/endpoint/{number}", [1000 * number + second for second in range(SECONDS)],
                 at_ms=[500] + [1000] * (SECONDS - 1))
        for number in range(ENDPOINTS)
    ]  # fmt: skip
    times = [5000 + number for number in range(FAILURES)]
    records.append(
        requests("POST", "/failing", times, at_ms=[0] + [7] * (FAILURES - 1), status=500, error=LONG_ERROR)
    )
    records.append({"users": {"at_ms": FROM_MS, "total": 7, "by_class": {"Shopper": 7}}})
    return Batch(test, records, from_ms=FROM_MS)


@dataclass
class Published:
    """What CloudWatch holds of one test, with the test's name taken out: of two equal batches it is equal."""

    metrics: dict[Series, tuple[float, float]] = field(default_factory=dict)
    """SampleCount and Sum."""
    events: Counter[str] = field(default_factory=Counter)

    def missing(self, whole: Published) -> list[str]:
        """What of `whole` is not there."""
        nothing = (0.0, 0.0)
        series = [
            f"{name} {dict(dimensions)}: {found[0]:g} of {count:g} samples"
            for (name, dimensions), (count, _) in whole.metrics.items()
            if (found := self.metrics.get((name, dimensions), nothing))[0] < count
        ]
        return series + [f"log event {message[:200]}" for message in whole.events - self.events]

    def without(self, extra: Iterable[Published]) -> Published:
        """This, less what was published once more."""
        metrics, events = dict(self.metrics), Counter(self.events)
        for part in extra:
            for series, (count, total) in part.metrics.items():
                metrics[series] = (metrics[series][0] - count, metrics[series][1] - total)
            events -= part.events
        return Published(metrics, events)

    def is_exactly(self, whole: Published) -> bool:
        """Whether nothing is missing and nothing too much. Sums may differ by the rounding of their order."""
        if self.events != whole.events or self.metrics.keys() != whole.metrics.keys():
            return False
        return all(
            count == whole.metrics[series][0] and isclose(total, whole.metrics[series][1], rel_tol=1e-9)
            for series, (count, total) in self.metrics.items()
        )


class Observer:
    """Sees every call that CloudWatch carries out, and reads what it then holds."""

    def __init__(self, aws: LocalAws, log_groups: Iterable[str]) -> None:
        self._aws = aws
        self._groups = list(log_groups)
        self._put = aws.metrics.put
        self._calls: dict[str, list[Published]] = {}
        self._lock = Lock()

    def __enter__(self) -> Observer:
        self._aws.metrics.put = self._observe  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        self._aws.metrics.put = self._put  # type: ignore[method-assign]

    def _observe(self, namespace: str, datums: Iterable[Datum]) -> None:
        datums = list(datums)
        self._put(namespace, datums)
        if namespace != NAMESPACE:
            return
        test, _ = _split(datums[0].dimensions)
        call = Published()
        for datum in datums:
            series = (datum.name, _split(datum.dimensions)[1])
            count, total = call.metrics.get(series, (0.0, 0.0))
            for value, weight in datum.values:
                count, total = count + weight, total + weight * value
            call.metrics[series] = (count, total)
        with self._lock:
            self._calls.setdefault(test, []).append(call)

    def metric_calls(self, test: str) -> list[Published]:
        """Each call of PutMetricData that was carried out, in its order."""
        with self._lock:
            return list(self._calls.get(test, []))

    def everything(self) -> dict[str, Published]:
        """What CloudWatch holds, by test."""
        found: dict[str, Published] = {}
        for key in self._aws.metrics.keys(NAMESPACE):
            whole = self._aws.metrics.distribution(key.namespace, key.name, dict(key.dimensions))
            test, others = _split(key.dimensions)
            found.setdefault(test, Published()).metrics[key.name, others] = (whole.sample_count, whole.sum)
        for group in self._groups:
            for event in self._aws.log_events(group):
                test = event.stream.partition("/")[0]
                found.setdefault(test, Published()).events[event.message.replace(test, "<test>")] += 1
        return found


def _split(dimensions: Dimensions) -> tuple[str, Dimensions]:
    """The test's name, and the other dimensions."""
    return dict(dimensions)["Test"], tuple(item for item in dimensions if item[0] != "Test")


def repeated_calls(calls: Sequence[Published]) -> list[Published]:
    """Those calls that are equal to an earlier one."""
    return [call for number, call in enumerate(calls) if call in calls[:number]]
