"""An estimate as text for people, or as plain data."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from locust_hook.commands.replay_plan import duration

from . import prices
from .bill import Bill, Item
from .counts import RELAY_METRICS, Counts

SETTINGS: Final = (
    "RELAY_RESOLUTION_SECONDS",
    "RELAY_DIMENSION_SETS",
    "RELAY_MAX_ENDPOINTS",
    "RELAY_LOG_REQUESTS",
    "RELAY_LOG_SAMPLE",
)
"""Those that decide about the cost."""

SIZES: Final = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"), (1, "B"))


LEAST: Final = 0.0001
"""Dollars that are shown as such."""


@dataclass(frozen=True)
class Estimate:
    """What a load costs under some settings."""

    name: str
    counts: Counts
    bill: Bill


def text(
    estimate: Estimate,
    settings: Mapping[str, str],
    others: Sequence[Estimate],
    notes: Sequence[str],
    refresh_seconds: float | None = None,
) -> Iterator[str]:
    """Lines for a terminal; `refresh_seconds` is how often the dashboard is looked at during the test."""
    counts, bill = estimate.counts, estimate.bill
    yield f"{estimate.name}, {duration(round(counts.seconds * 1000))}"
    yield (
        f"{_number(counts.requests)} requests in {_number(counts.batches)} batches from {counts.processes:,} "
        f"Locust processes, {_bytes(counts.uploaded_bytes)}; {_number(counts.metrics)} custom metrics and "
        f"{RELAY_METRICS} of the relay's own"
    )
    yield (
        f"List prices of {prices.REGION} as quoted by sources of {prices.QUOTED}, compared on {prices.AS_OF},"
    )
    yield "in US dollars, without free tier, discounts and taxes."
    yield ""
    rows = [["", "number", "unit price", "an hour", "whole test"]]
    rows += [
        [item.name, _amount(item), str(item.price), _dollars(item.per_hour), _dollars(item.dollars)]
        for item in bill.items
    ]
    rows.append(["in all", "", "", _dollars(bill.per_hour), _dollars(bill.dollars)])
    yield from table(rows)
    yield ""
    rows = [["each month, as long as it is there", "number", "unit price", "a month"]]
    rows += [
        [item.name, _amount(item), str(item.price), _dollars(item.dollars)]
        for item in bill.monthly
        if item.number
    ]
    yield from table(rows)
    yield ""
    rows = [["looking at the dashboard, whole test", "number", "unit price", "each refresh"]]
    rows += [
        [item.name, _amount(item), str(item.price), _dollars(item.dollars)]
        for item in (bill.look.queries, bill.look.metrics)
    ]
    rows.append(["in all", "", "", _dollars(bill.look.dollars)])
    yield from table(rows)
    if refresh_seconds is not None:
        refreshes = counts.seconds / refresh_seconds
        dollars = _dollars(bill.look.during_test(refreshes))
        yield f"each {refresh_seconds:g} s while it runs, {_number(refreshes)} times: {dollars}"
    yield ""
    rows = [["with another setting", "PutMetricData", "custom metrics", "logs", "an hour", "difference"]]
    rows.append(["as it is", *_row(estimate), ""])
    rows += [[other.name, *_row(other), _difference(estimate, other)] for other in others]
    yield from table(rows)
    yield ""
    yield "Settings: " + " ".join(f"{name}={shlex.quote(settings.get(name, ''))}" for name in SETTINGS)
    yield from notes


def data(
    estimate: Estimate,
    settings: Mapping[str, str],
    others: Sequence[Estimate],
    notes: Sequence[str],
    refresh_seconds: float | None = None,
) -> dict[str, Any]:
    """The same as plain data: numbers in the units that their names say, money in US dollars."""
    look = estimate.bill.look
    looking: dict[str, Any] = {"items": [_item(look.queries), _item(look.metrics)], "dollars": look.dollars}
    if refresh_seconds is not None:
        dollars = look.during_test(estimate.counts.seconds / refresh_seconds)
        looking |= {"refresh_seconds": refresh_seconds, "dollars_during_test": dollars}
    return {
        "prices": {"region": prices.REGION, "quoted": prices.QUOTED, "as_of": prices.AS_OF},
        "looking": looking,
        "settings": dict(settings),
        "notes": list(notes),
        **_estimate(estimate),
        "variants": [_estimate(other) for other in others],
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    bill = estimate.bill
    return {
        "name": estimate.name,
        "counts": asdict(estimate.counts),
        "dollars": bill.dollars,
        "dollars_per_hour": bill.per_hour,
        "items": [{**_item(item), "dollars_per_hour": item.per_hour} for item in bill.items],
        "monthly": [_item(item) for item in bill.monthly],
    }


def _item(item: Item) -> dict[str, Any]:
    unit_price = {"dollars": item.price.dollars, "per": item.price.per}
    return {"name": item.name, "number": item.number, "unit_price": unit_price, "dollars": item.dollars}


def _row(estimate: Estimate) -> list[str]:
    counts = estimate.counts
    return [
        _number(counts.metric_calls),
        _number(counts.metrics),
        _bytes(counts.log_bytes),
        _dollars(estimate.bill.per_hour),
    ]


def _difference(one: Estimate, other: Estimate) -> str:
    difference = other.bill.per_hour - one.bill.per_hour
    if abs(difference) < LEAST:
        return "none"
    share = f" ({difference / one.bill.per_hour:+.0%})" if one.bill.per_hour else ""
    return f"{'-' if difference < 0 else '+'}{_dollars(abs(difference))}{share}"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns of equal width; all but the first are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([f"{first:{widths[0]}}", *cells]).rstrip()


def _amount(item: Item) -> str:
    return _bytes(item.number) if item.price.per == prices.GB else _number(item.number)


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:,.1f}"


def _bytes(number: float) -> str:
    size, unit = next(((size, unit) for size, unit in SIZES if number >= size), SIZES[-1])
    return f"{number / size:,.1f} {unit}" if size > 1 else f"{number:,.0f} {unit}"


def _dollars(amount: float) -> str:
    if 0 < amount < LEAST:
        return f"<${LEAST}"
    return f"${amount:,.2f}" if amount >= 10 else f"${amount:,.4f}"
