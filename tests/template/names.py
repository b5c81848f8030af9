"""The names that the relay publishes and reads, as it says itself."""

from __future__ import annotations

import functools
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RELAY = ROOT / "target" / "debug" / "locust-cloudwatch-relay"


@dataclass(frozen=True)
class Setting:
    """A setting of the relay: its variable, its default, and the template's parameter for it."""

    name: str
    default: str | None
    parameter: str | None


@dataclass(frozen=True)
class Names:
    """`metrics` maps each metric of a load test to its sets of dimensions, `units` each metric to its unit,
    `log_events` each type of log event to its fields."""

    namespace: str
    relay_namespace: str
    metrics: dict[str, set[tuple[str, ...]]]
    relay_metrics: set[str]
    units: dict[str, str]
    log_events: dict[str, set[str]]
    settings: tuple[Setting, ...]


@functools.cache
def names() -> Names:
    """Asks the compiled relay."""
    result = subprocess.run([RELAY, "names"], capture_output=True, text=True, check=True, timeout=30)
    said = json.loads(result.stdout)
    return Names(
        namespace=said["namespace"],
        relay_namespace=said["relay_namespace"],
        metrics={metric["name"]: set(map(tuple, metric["dimensions"])) for metric in said["metrics"]},
        relay_metrics={metric["name"] for metric in said["relay_metrics"]},
        units={metric["name"]: metric["unit"] for metric in said["metrics"] + said["relay_metrics"]},
        log_events={kind: set(fields) for kind, fields in said["log_events"].items()},
        settings=tuple(
            Setting(setting["name"], setting["default"], setting["parameter"]) for setting in said["settings"]
        ),
    )
