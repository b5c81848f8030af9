"""Everything that a load makes AWS count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .load import Load
from .preview import Planner

RELAY_METRICS: Final = 7
"""The relay's own metrics of an undisturbed delivery (`src/telemetry.rs`), billed as custom metrics."""

RELAY_LOG_BYTES: Final = 1_300
"""Of the function's own log of one batch: what the relay prints, about, as CloudWatch Logs counts."""

LAMBDA_LOG_BYTES: Final = 550
"""What Lambda itself writes there for each invocation: `platform.start` and `platform.report`, about.
https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html"""


@dataclass(frozen=True)
class Counts:
    """Of a whole load, delivered undisturbed. Fractions come from batches that stand for others."""

    seconds: float
    hours: int
    processes: int
    batches: float
    requests: float
    uploaded_bytes: float
    ledger_writes: float
    metrics: float
    """Custom metrics in an hour, on average; without the relay's own."""
    metric_calls: float
    metric_data: float
    metric_bytes: float
    log_calls: float
    """Of PutLogEvents, which are free. The first of each process is made twice: it finds no stream."""
    log_events: float
    log_bytes: float

    @property
    def metric_hours(self) -> float:
        """Hours in which metrics are metered, of all metrics together, with the relay's own."""
        return (self.metrics + RELAY_METRICS) * self.hours

    @property
    def relay_log_bytes(self) -> float:
        """Of the function's own log."""
        return self.batches * (RELAY_LOG_BYTES + LAMBDA_LOG_BYTES)


def count(load: Load, planner: Planner, settings: Mapping[str, str]) -> Counts:
    """Has the relay plan a load. Raises `CostError`."""
    parts = {id(part): part for part in (*load.uploaded, *load.metered)}
    plans = {key: planner(part.files, settings) for key, part in parts.items()}

    def total(name: str) -> float:
        return sum(float(getattr(plans[id(part)], name)) * part.times for part in load.uploaded)

    return Counts(
        seconds=load.seconds,
        hours=load.hours,
        processes=load.processes,
        batches=total("batches"),
        requests=total("requests"),
        uploaded_bytes=total("compressed_bytes"),
        ledger_writes=total("ledger_writes"),
        metrics=sum(plans[id(part)].metrics * part.times for part in load.metered) / load.hours,
        metric_calls=total("metric_calls"),
        metric_data=total("metric_data"),
        metric_bytes=total("metric_bytes"),
        log_calls=total("log_calls"),
        log_events=total("log_events"),
        log_bytes=total("log_bytes"),
    )
