"""Functions and operators of single rows.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-operations-functions.html

A function gets values and returns one; missing (None) in, missing out, unless it is about missing values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import regex

from local_aws.insights.values import Period, QueryError, Timestamp, equal, less, number, text, truth

# Longest time in seconds that one regular expression may take on one text.
REGEX_SECONDS = 1.0


def compile_regex(pattern: str) -> Callable[[str], Any]:
    """A search for a regular expression; raises `QueryError` for one that is none, or takes too long."""
    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise QueryError(f"/{pattern}/ is not a regular expression: {error}") from None

    def search(subject: str) -> Any:
        try:
            return compiled.search(subject, timeout=REGEX_SECONDS)
        except TimeoutError:
            raise QueryError(f"/{pattern}/ took more than {REGEX_SECONDS:g} s on one log event") from None

    return search


def _numeric(operation: Callable[..., float]) -> Callable[..., Any]:
    """Of numbers only; what has no finite result is missing."""

    def function(*arguments: Any) -> float | None:
        numbers = [number(argument) for argument in arguments]
        if None in numbers:
            return None
        try:
            result = operation(*numbers)
        except (ValueError, OverflowError, ZeroDivisionError):
            return None
        return result if isinstance(result, int | float) and math.isfinite(result) else None

    return function


def _textual(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Of texts; numbers are taken as they are shown."""

    def function(*arguments: Any) -> Any:
        if None in arguments:
            return None
        result = operation(*map(text, arguments))
        return int(result) if isinstance(result, bool) else result

    return function


def _timely(operation: Callable[[Timestamp, Period], Timestamp]) -> Callable[..., Any]:
    def function(time: Any, period: Any) -> Timestamp | None:
        if not isinstance(period, Period):
            raise QueryError(f"expected a period such as 5m, found {text(period)!r}")
        moment = Timestamp.of(time)
        return None if moment is None else operation(moment, period)

    return function


def _round(value: float, digits: float = 0) -> float:
    """Half away from zero."""
    scale = 10.0 ** int(digits)
    return math.copysign(math.floor(abs(value) * scale + 0.5) / scale, value)


def _substr(subject: str, start: str, length: str | None = None) -> str:
    first, count = number(start), None if length is None else number(length)
    if first is None or first < 0 or (length is not None and (count is None or count < 0)):
        raise QueryError(f"substr: expected a start and a length of 0 and more, found {start}, {length}")
    rest = subject[int(first) :]
    return rest if count is None else rest[: int(count)]


def _contains(subject: str, part: str, case_insensitive: str = "0") -> bool:
    if truth(case_insensitive):
        subject, part = subject.lower(), part.lower()
    return part in subject


def _coalesce(*arguments: Any) -> Any:
    return next((argument for argument in arguments if argument is not None), None)


def _case(*arguments: Any) -> Any:
    for condition, value in zip(arguments[::2], arguments[1::2], strict=False):
        if truth(condition):
            return value
    return arguments[-1] if len(arguments) % 2 else None


def _to_millis(value: Any) -> int | None:
    return int(value) if isinstance(value, Timestamp) else None


OPERATORS: Mapping[str, Callable[..., Any]] = {
    "+": _numeric(lambda left, right: left + right),
    "-": _numeric(lambda left, right: left - right),
    "*": _numeric(lambda left, right: left * right),
    "/": _numeric(lambda left, right: left / right),
    "%": _numeric(math.fmod),
    "^": _numeric(lambda left, right: float(left) ** right),
    "=": lambda left, right: int(equal(left, right)),
    "!=": lambda left, right: int(not equal(left, right)),
    "<": lambda left, right: int(less(left, right)),
    ">": lambda left, right: int(less(right, left)),
    "<=": lambda left, right: int(less(left, right) or equal(left, right)),
    ">=": lambda left, right: int(less(right, left) or equal(left, right)),
    "not": lambda value: int(not truth(value)),
    "and": lambda left, right: int(truth(left) and truth(right)),
    "or": lambda left, right: int(truth(left) or truth(right)),
    "in": lambda value, *members: int(any(equal(value, member) for member in members)),
    "like": lambda value, part: int(value is not None and part in text(value)),
}

# Name, in lower case: the least and the most arguments, and what it does.
_MANY = 100
FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., Any]]] = {
    "abs": (1, 1, _numeric(abs)),
    "case": (2, _MANY, _case),
    "ceil": (1, 1, _numeric(math.ceil)),
    "coalesce": (1, _MANY, _coalesce),
    "concat": (1, _MANY, lambda *parts: "".join(map(text, parts))),
    "dateceil": (2, 2, _timely(lambda time, period: period.ceil(time))),
    "datefloor": (2, 2, _timely(lambda time, period: period.floor(time))),
    "endswith": (2, 2, _textual(str.endswith)),
    "floor": (1, 1, _numeric(math.floor)),
    "frommillis": (1, 1, Timestamp.of),
    "greatest": (1, _MANY, _numeric(lambda *numbers: max(numbers))),
    "if": (3, 3, lambda condition, yes, no: yes if truth(condition) else no),
    "isblank": (1, 1, lambda value: int(not text(value).strip())),
    "isempty": (1, 1, lambda value: int(text(value) == "")),
    "isnumeric": (1, 1, lambda value: int(number(value) is not None)),
    "ispresent": (1, 1, lambda value: int(value is not None)),
    "least": (1, _MANY, _numeric(lambda *numbers: min(numbers))),
    "log": (1, 1, _numeric(math.log)),
    "ltrim": (1, 2, _textual(str.lstrip)),
    "messagesize": (1, 1, _textual(lambda subject: len(subject.encode()))),
    "replace": (3, 3, _textual(str.replace)),
    "round": (1, 2, _numeric(_round)),
    "rtrim": (1, 2, _textual(str.rstrip)),
    "sqrt": (1, 1, _numeric(math.sqrt)),
    "startswith": (2, 2, _textual(str.startswith)),
    "strcontains": (2, 3, _textual(_contains)),
    "strlen": (1, 1, _textual(len)),
    "substr": (2, 3, _textual(_substr)),
    "todouble": (1, 1, number),
    "tolong": (1, 1, _numeric(math.trunc)),
    "tolower": (1, 1, _textual(str.lower)),
    "tomillis": (1, 1, _to_millis),
    "tonumber": (1, 1, number),
    "toupper": (1, 1, _textual(str.upper)),
    "trim": (1, 2, _textual(str.strip)),
}
