"""The hook's settings: one table of which Locust's options, their environment twins and the checks are
made."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..destination import MAX_KEY_PART, Address, key_part

MAX_LABELS: Final = 20
MAX_LABEL: Final = 256
"""Labels of a run, and characters of a label's name or value."""


@dataclass(frozen=True)
class Settings:
    """Validated settings of one run. Durations in seconds, sizes as their names say."""

    to: Address
    test: str = ""
    run: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    flush_seconds: float = 10.0
    spool: Path = Path()
    spool_limit_mb: int = 512
    max_endpoints: int = 500
    final_flush_seconds: float = 10.0
    dashboard: str = "Locust"


@dataclass(frozen=True)
class Option:
    """One setting: `--relay-<name>` and `LOCUST_RELAY_<NAME>`."""

    name: str
    parse: Callable[[str], Any]
    default: str
    metavar: str
    help: str
    in_web_ui: bool = False
    """Whether the web UI may change it: what names a run, but not where data goes on this machine."""
    local: bool = False
    """Whether a worker's own value wins over its master's: what belongs to a machine."""

    @property
    def flag(self) -> str:
        """The command line option."""
        return f"--relay-{self.name}"

    @property
    def env(self) -> str:
        """The environment variable."""
        return f"LOCUST_RELAY_{self.name.replace('-', '_').upper()}"

    @property
    def dest(self) -> str:
        """The attribute in Locust's `parsed_options`."""
        return f"relay_{self.name.replace('-', '_')}"

    def check(self, value: str) -> None:
        """Raises argparse's error when the text does not parse."""
        try:
            if value != self.default:
                self.parse(value)
        except ValueError as error:
            raise ArgumentTypeError(f"{error} (option {self.flag}, environment {self.env})") from error


def _part(what: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if len(key_part(value)) > MAX_KEY_PART:
            raise ValueError(
                f"expected {what} of at most {MAX_KEY_PART} bytes when encoded, found {len(key_part(value))}"
            )
        if value and not value.strip("."):  # as a folder name it would lead out of its parent
            raise ValueError(f"expected {what} that is not only dots, found {value!r}")
        return value

    return parse


def parse_labels(value: str) -> dict[str, str]:
    """`k=v,k2=v2` → dict; raises ValueError."""
    labels: dict[str, str] = {}
    for pair in filter(None, map(str.strip, value.split(","))):
        name, equals, content = (part.strip() for part in pair.partition("="))
        if not equals or not name:
            raise ValueError(f"expected labels as name=value,name=value, found {pair!r}")
        if name in labels:
            raise ValueError(f"expected each label once, found {name!r} twice")
        if max(len(name), len(content)) > MAX_LABEL:
            raise ValueError(
                f"expected label names and values of at most {MAX_LABEL} characters, found {pair[:80]!r}…"
            )
        labels[name] = content
    if len(labels) > MAX_LABELS:
        raise ValueError(f"expected at most {MAX_LABELS} labels, found {len(labels)}")
    return labels


def in_range(low: float, high: float, kind: type = float) -> Callable[[str], Any]:
    """Makes what parses a number of that kind; it raises ValueError outside of the range."""

    def parse(value: str) -> Any:
        expected = f"expected {'an integer' if kind is int else 'a number'} from {low:g} to {high:g}"
        try:
            number = kind(value)
        except ValueError as error:
            raise ValueError(f"{expected}, found {value!r}") from error
        if not low <= number <= high:  # also false for NaN
            raise ValueError(f"{expected}, found {value!r}")
        return number

    return parse


def default_spool() -> Path:
    """A folder under the user's cache folder."""
    if sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(
            os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
        )
    return cache / "locust-relay" / "spool"


def _spool(value: str) -> Path:
    return Path(value).expanduser().absolute() if value else default_spool()


OPTIONS: Final = (
    Option(
        "to",
        lambda value: Address.parse(value) if value else None,
        "",
        "<url>",
        "Where batches go: s3://bucket[/prefix] or file:///folder. Without it nothing is recorded.",
    ),
    Option(
        "test",
        _part("a test name"),
        "",
        "<name>",
        "Name of what is tested, stable over time. Default: the locustfile's name.",
        in_web_ui=True,
    ),
    Option(
        "run",
        _part("a run id"),
        "",
        "<id>",
        "Id of this run. Default: made from the start time.",
        in_web_ui=True,
    ),
    Option(
        "labels",
        parse_labels,
        "",
        "<k=v,k2=v2>",
        "Labels kept with every batch of the run.",
        in_web_ui=True,
    ),
    Option(
        "flush-seconds",
        in_range(0.1, 3600),
        "10",
        "<seconds>",
        "Time between two batches of a process.",
    ),
    Option(
        "spool",
        _spool,
        "",
        "<folder>",
        "Folder where batches wait until they are stored. Default: in the user's cache folder.",
        local=True,
    ),
    Option(
        "spool-limit-mb",
        in_range(1, 1_000_000, int),
        "512",
        "<MB>",
        "Disk space for waiting batches; beyond it the oldest goes.",
        local=True,
    ),
    Option(
        "max-endpoints",
        in_range(1, 10_000, int),
        "500",
        "<count>",
        "Request names kept apart; further ones are counted as (other).",
    ),
    Option(
        "final-flush-seconds",
        in_range(0, 3600),
        "10",
        "<seconds>",
        "Longest wait for the last batches at the end of the process.",
    ),
    Option(
        "dashboard",
        str,
        "Locust",
        "<name>",
        "Name of the CloudWatch dashboard, for the link at the end.",
    ),
)
"""Every setting, in the order of `--help`."""


def texts(options: Any) -> dict[str, str]:
    """The settings' texts in Locust's `parsed_options`; plain strings, so that the master can send them."""
    found = {}
    for option in OPTIONS:
        # Without Locust's command line (as a library) there are no options, but there may be an environment.
        value = getattr(options, option.dest, None) or os.environ.get(option.env)
        found[option.name] = str(value or option.default)
    return found


def for_worker(own: Mapping[str, str], masters: Mapping[str, str]) -> dict[str, str]:
    """What a worker goes by: the master's settings, but its own ones for what belongs to its machine."""
    chosen = dict(masters)
    for option in OPTIONS:
        if option.local and own.get(option.name, option.default) != option.default:
            chosen[option.name] = own[option.name]
    return chosen


def parse(values: Mapping[str, str]) -> Settings | None:
    """The validated settings, or None when there is no destination. Raises ValueError naming the setting."""
    parsed: dict[str, Any] = {}
    for option in OPTIONS:
        try:
            parsed[option.name.replace("-", "_")] = option.parse(values.get(option.name) or option.default)
        except ValueError as error:
            raise ValueError(f"{error} (option {option.flag}, environment {option.env})") from error
    return Settings(**parsed) if parsed["to"] is not None else None
