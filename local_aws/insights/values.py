"""What fields hold: texts, numbers, times; how they compare, sort, and look in results.

A missing field is None. JSON's booleans are 1 and 0.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

# "CloudWatch Logs Insights can extract a maximum of 200 log event fields from a JSON log."
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_AnalyzeLogData-discoverable-fields.html
MAX_DISCOVERED = 200

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# The year 9000, so that its periods end in times as well.
_LATEST = 221_845_392_000_000
# Up to here, every whole number is a float.
_EXACT = 2.0**53
_LARGEST = sys.float_info.max
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CHUNK = re.compile(r"\d+|\D+")
_SECOND_MS = 1000
_MINUTE_MS = 60 * _SECOND_MS
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS


class QueryError(Exception):
    """A query that Logs Insights would refuse, or that is not evaluated here."""


class Timestamp(int):
    """A time in milliseconds since the epoch."""

    __slots__ = ()

    @classmethod
    def of(cls, value: Any) -> Timestamp | None:
        """A number of milliseconds as a time; None if it is none, or far from any time of a log event."""
        milliseconds = number(value)
        if milliseconds is None or not 0 <= milliseconds < _LATEST:
            return None
        return cls(milliseconds)


Value = str | int | float | Timestamp | list[Any] | None
Row = dict[str, Value]


# Each unit: its milliseconds, and the most of it that counts: "bin(300s)" is 60 seconds.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-operations-functions.html#CWL_QuerySyntax-datetime
_FIXED_UNITS = {
    "ms": (1, 1000),
    "s": (_SECOND_MS, 60),
    "m": (_MINUTE_MS, 60),
    "h": (_HOUR_MS, 24),
    "d": (_DAY_MS, None),
    "w": (7 * _DAY_MS, None),
}
_MONTHS = {"mo": 1, "q": 3, "y": 12}
_UNIT_NAMES = {
    "ms": ("millisecond", "ms", "msec"),
    "s": ("second", "s", "sec"),
    "m": ("minute", "m", "min"),
    "h": ("hour", "h", "hr"),
    "d": ("day", "d"),
    "w": ("week", "w"),
    "mo": ("month", "mo", "mon"),
    "q": ("quarter", "q", "qtr"),
    "y": ("year", "y", "yr"),
}
# Every spelling of a unit; those of more than one letter have a plural.
UNITS = {
    spelling: unit
    for unit, names in _UNIT_NAMES.items()
    for name in names
    for spelling in ((name, f"{name}s") if len(name) > 1 else (name,))
}


@dataclass(frozen=True)
class Period:
    """So many of a unit (a value of `UNITS`)."""

    count: int
    unit: str

    def floor(self, time: Timestamp) -> Timestamp:
        """The beginning of the period that a time lies in."""
        if self.unit in _MONTHS:
            moment = _EPOCH + timedelta(milliseconds=time)
            step = self.count * _MONTHS[self.unit]
            month = moment.year * 12 + moment.month - 1
            return _month_begin(month - month % step)
        step = self._fixed_ms()
        return Timestamp(time - time % step)

    def ceil(self, time: Timestamp) -> Timestamp:
        """The end of the period that a time lies in; the time itself where a period begins."""
        begin = self.floor(time)
        if begin == time:
            return begin
        if self.unit in _MONTHS:
            moment = _EPOCH + timedelta(milliseconds=begin)
            return _month_begin(moment.year * 12 + moment.month - 1 + self.count * _MONTHS[self.unit])
        return Timestamp(begin + self._fixed_ms())

    def _fixed_ms(self) -> int:
        unit_ms, most = _FIXED_UNITS[self.unit]
        return unit_ms * (min(self.count, most) if most else self.count)


def _month_begin(month: int) -> Timestamp:
    begin = datetime(month // 12, month % 12 + 1, 1, tzinfo=timezone.utc)
    return Timestamp((begin - _EPOCH) // timedelta(milliseconds=1))


def number(value: Any) -> float | None:
    """A value as a number; None if it is none, or too large for one."""
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value) else None
    return value if isinstance(value, int | float) and abs(value) <= _LARGEST else None


def text(value: Any) -> str:
    """A value as results show it; "" if it is missing."""
    match value:
        case None:
            return ""
        case Timestamp():
            moment = _EPOCH + timedelta(milliseconds=value)
            return f"{moment:%Y-%m-%d %H:%M:%S}.{value % 1000:03}"
        case bool():
            return str(int(value))
        case float() if value.is_integer() and abs(value) <= _EXACT:
            return str(int(value))
        case list() | dict():
            return json.dumps(value, ensure_ascii=False)
    return str(value)


def equal(left: Any, right: Any) -> bool:
    """Whether two values are the same number or the same text; a missing one equals nothing."""
    if left is None or right is None:
        return False
    numbers = number(left), number(right)
    if None not in numbers:
        return numbers[0] == numbers[1]
    return text(left) == text(right)


def less(left: Any, right: Any) -> bool:
    """Whether `left` is the smaller number, or the earlier text; never of a number and a text."""
    if left is None or right is None:
        return False
    one, other = number(left), number(right)
    if one is not None and other is not None:
        return one < other
    return one is None and other is None and text(left) < text(right)


def truth(value: Any) -> bool:
    """Whether a condition holds: it has a value, which is not 0, "" or "false"."""
    as_number = number(value)
    return bool(as_number) if as_number is not None else text(value).lower() not in ("", "false")


def sort_key(value: Any) -> tuple[Any, ...]:
    """Sorts as Logs Insights does: what is missing, texts in natural order, numbers.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Sort.html
    """
    if value is None:
        return (0,)
    as_number = number(value)
    if as_number is not None:
        return (2, as_number)
    return (1, [_chunk_key(chunk) for chunk in _CHUNK.findall(text(value))])


def _chunk_key(chunk: str) -> tuple[str, int, str]:
    """Digits sort among other characters as digits do, among themselves by length, then by value."""
    return ("0", len(chunk), chunk) if chunk[0].isdecimal() else (chunk, 0, "")


def discover(message: str) -> Row:
    """The fields of a log event in JSON, nested ones with dots; {} for another text."""
    if not message.lstrip().startswith("{"):
        return {}
    try:
        document = json.loads(message, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return {}
    fields: Row = {}
    for name, value in _leaves("", document):
        if len(fields) == MAX_DISCOVERED:
            break
        fields[f"@{name}" if name.startswith("@") else name] = value
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, Value]]:
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if members is None:
        if value is not None:
            yield prefix, int(value) if isinstance(value, bool) else value
        return
    for key, member in members:
        yield from _leaves(f"{prefix}.{key}" if prefix else str(key), member)
