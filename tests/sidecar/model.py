"""As much of Locust's statistics as its web interface shows; written from its documentation, for tests."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

PERCENTS = ("50%", "66%", "75%", "80%", "90%", "95%", "98%", "99%", "99.9%", "99.99%", "100%")


@dataclass
class Endpoint:
    """What Locust counts of one endpoint; times in milliseconds."""

    requests: int = 0
    failures: int = 0
    times: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def row(self, method: str, name: str, seconds: float) -> list[Any]:
        """A line of the download."""
        ordered = sorted(self.times)
        count = self.requests
        percentiles = [
            ordered[min(len(ordered) - 1, int(len(ordered) * float(percent[:-1]) / 100))] if ordered else 0
            for percent in PERCENTS
        ]
        return [
            *(method, name, count, self.failures),
            ordered[len(ordered) // 2] if ordered else 0,
            sum(ordered) / len(ordered) if ordered else 0.0,
            *(min(ordered, default=0), max(ordered, default=0)),
            sum(self.sizes) / count if count else 0,
            *(count / seconds if seconds else 0.0, self.failures / seconds if seconds else 0.0),
            *([round(min(value, 1e9)) for value in percentiles] if count else ["N/A"] * len(PERCENTS)),
        ]


@dataclass
class Model:
    """A Locust; `seconds`: from the statistics' start to the last request."""

    state: str = "ready"
    users: int = 0
    seconds: float = 0.0
    endpoints: dict[tuple[str, str], Endpoint] = field(default_factory=dict)
    errors: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    exceptions: Counter[tuple[str, str]] = field(default_factory=Counter)
    workers: list[dict[str, Any]] | None = None
    current: dict[str, Any] = field(default_factory=dict)

    def request(
        self, method: str, name: str, time: float | None, size: int = 100, error: str | None = None
    ) -> None:
        """Counts a request."""
        endpoint = self.endpoints.setdefault((method, name), Endpoint())
        endpoint.requests += 1
        endpoint.sizes.append(size)
        if time is not None:
            endpoint.times.append(time)
        if error is not None:
            endpoint.failures += 1
            self.errors[method, name, error] += 1

    def clear(self) -> None:
        """What Locust does when a test starts."""
        self.endpoints.clear()
        self.errors.clear()
        self.exceptions.clear()
        self.seconds = 0.0

    def reset(self) -> None:
        """What Locust does when somebody resets the statistics: the endpoints stay, without numbers."""
        known = list(self.endpoints)
        self.clear()
        self.endpoints.update({key: Endpoint() for key in known})

    @property
    def total(self) -> Endpoint:
        """All endpoints together."""
        total = Endpoint()
        for endpoint in self.endpoints.values():
            total.requests += endpoint.requests
            total.failures += endpoint.failures
            total.times += endpoint.times
            total.sizes += endpoint.sizes
        return total

    def status(self) -> str:
        """`/stats/requests`."""
        report: dict[str, Any] = {"stats": [], "errors": [], "state": self.state, "user_count": self.users}
        report["current_response_time_percentiles"] = self.current
        if self.workers is not None:
            report["workers"] = self.workers
        return json.dumps(report)

    def statistics(self) -> str:
        """`/stats/requests/csv`."""
        rows: list[list[Any]] = [
            [
                *("Type", "Name", "Request Count", "Failure Count", "Median Response Time"),
                *("Average Response Time", "Min Response Time", "Max Response Time", "Average Content Size"),
                *("Requests/s", "Failures/s", *PERCENTS),
            ]
        ]
        by_name = sorted(self.endpoints.items(), key=lambda item: item[0][::-1])
        rows += [endpoint.row(*key, self.seconds) for key, endpoint in by_name]
        rows.append(self.total.row("", "Aggregated", self.seconds))
        return table(rows)

    def failures(self) -> str:
        """`/stats/failures/csv`."""
        rows = [[*key, count] for key, count in self.errors.items()]
        return table([["Method", "Name", "Error", "Occurrences"], *rows])

    def raised(self) -> str:
        """`/exceptions/csv`."""
        rows = [[count, *key, "local"] for key, count in self.exceptions.items()]
        return table([["Count", "Message", "Traceback", "Nodes"], *rows])


def table(rows: list[list[Any]]) -> str:
    """Rows as CSV."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue()
