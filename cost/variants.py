"""Other settings, one at a time, and what they would change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

DIMENSION_SETS: Final = "RELAY_DIMENSION_SETS"

OTHERS: Final = (
    ("RELAY_RESOLUTION_SECONDS", "10"),
    ("RELAY_RESOLUTION_SECONDS", "60"),
    ("RELAY_LOG_REQUESTS", "all"),
    ("RELAY_LOG_REQUESTS", "none"),
    ("RELAY_MAX_ENDPOINTS", "10"),
)
"""Values to try, each of which is left out where it is the setting already."""

LONGER_FLUSH: Final = 3
"""Times the flush interval, which is tried as well."""


@dataclass(frozen=True)
class Variant:
    """The settings with one of them changed."""

    name: str
    flush_seconds: int
    changes: Mapping[str, str] = field(default_factory=dict)


def variants(settings: Mapping[str, str], flush_seconds: int) -> Iterator[Variant]:
    """What can be tried instead of these settings."""
    for name, value in OTHERS:
        if settings.get(name) != value:
            yield Variant(f"{name}={value}", flush_seconds, {name: value})
    sets = settings[DIMENSION_SETS].split(";")
    without_run = [one for one in sets if "Run" not in (name.strip() for name in one.split(","))]
    if without_run and without_run != sets:
        value = ";".join(without_run)
        yield Variant(f"{DIMENSION_SETS}={value}", flush_seconds, {DIMENSION_SETS: value})
    longer = flush_seconds * LONGER_FLUSH
    yield Variant(f"--relay-flush-seconds {longer}", longer)
