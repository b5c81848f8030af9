"""Expressions become functions of a row."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from local_aws.insights.aggregates import AGGREGATES, PERCENTILE, Found, percentile
from local_aws.insights.functions import FUNCTIONS, OPERATORS, compile_regex
from local_aws.insights.syntax import Call, Expression, Field, Literal
from local_aws.insights.values import Period, QueryError, Row, Timestamp, number, text, truth

Getter = Callable[[Row], Any]


@dataclass(frozen=True)
class Context:
    """What a query's functions know of it: its time range and its start, in milliseconds since the epoch."""

    start_ms: int
    end_ms: int
    now_ms: int


@dataclass(frozen=True)
class Aggregate:
    """One call of an aggregate: of which value, and what becomes of the values of a group."""

    getter: Getter
    reduce: Callable[[Found], Any]


class Compiler:
    """Compiles expressions where all fields are there (`columns` None), or only these after a stats."""

    def __init__(self, context: Context, columns: Collection[str] | None = None) -> None:
        self._context = context
        self._columns = columns

    def getter(self, expression: Expression) -> Getter:
        """What a row's value of an expression is; raises `QueryError` for what cannot be called."""
        if self._columns is not None and expression.source in self._columns:
            return _field(expression.source)
        match expression:
            case Literal(value=value):
                return lambda row: value
            case Field(name=name):
                if self._columns is not None and name not in self._columns:
                    raise QueryError(f"{name} is not there after stats, but {', '.join(self._columns)}")
                return _field(name)
        return self._call(expression)

    def _call(self, call: Call) -> Getter:
        if call.name in AGGREGATES or call.name == PERCENTILE:
            raise QueryError(f"{call.source}: {call.name} can only be called in stats")
        if call.name == "bin":
            return self._bin(call)
        if call.name == "=~":
            return self._matches(call)
        if call.name in ("and", "or"):
            left, right = map(self.getter, call.arguments)
            if call.name == "and":
                return lambda row: int(truth(left(row)) and truth(right(row)))
            return lambda row: int(truth(left(row)) or truth(right(row)))
        context = {
            "now": self._context.now_ms // 1000,
            "querystarttime": self._context.start_ms,
            "queryendtime": self._context.end_ms,
            "querytimerange": self._context.end_ms - self._context.start_ms,
        }
        if call.name in context:
            constant = context[call.name]
            _check_count(call, 0, 0)
            return lambda row: constant
        if call.name in OPERATORS:
            operation = OPERATORS[call.name]
        elif call.name in FUNCTIONS:
            least, most, operation = FUNCTIONS[call.name]
            _check_count(call, least, most)
        else:
            raise QueryError(f"local AWS does not evaluate the function {call.name}")
        getters = [self.getter(argument) for argument in call.arguments]
        if len(getters) == 1:
            [only] = getters
            return lambda row: operation(only(row))
        return lambda row: operation(*[getter(row) for getter in getters])

    def _bin(self, call: Call) -> Getter:
        _check_count(call, 1, 1)
        period = call.arguments[0]
        if not isinstance(period, Literal) or not isinstance(period.value, Period):
            raise QueryError(f"bin: expected a period such as 5m, found {period.source}")
        time = self.getter(Field("@timestamp"))
        floor = period.value.floor

        def bin_of(row: Row) -> Timestamp | None:
            moment = time(row)
            return floor(moment) if isinstance(moment, Timestamp) else None

        return bin_of

    def _matches(self, call: Call) -> Getter:
        subject, pattern = call.arguments
        search = compile_regex(pattern.value if isinstance(pattern, Literal) else "")
        getter = self.getter(subject)

        def matches(row: Row) -> int:
            value = getter(row)
            return int(value is not None and search(text(value)) is not None)

        return matches

    def aggregates(self, expression: Expression) -> tuple[Expression, list[Aggregate]]:
        """An expression whose aggregate calls are fields named 0, 1 ..., and these aggregates."""
        found: list[Aggregate] = []

        def replaced(part: Expression) -> Expression:
            match part:
                case Call(name=name) if name in AGGREGATES or name == PERCENTILE:
                    found.append(self._aggregate(part))
                    return Field(str(len(found) - 1))
                case Call(name=name, arguments=arguments) if arguments:
                    return Call(name, tuple(replaced(argument) for argument in arguments))
                case Literal():
                    return part
            raise QueryError(f"stats: expected functions such as count or sum, found {part.source}")

        return replaced(expression), found

    def _aggregate(self, call: Call) -> Aggregate:
        if call.name == PERCENTILE:
            _check_count(call, 2, 2)
            percent = number(call.arguments[1].value) if isinstance(call.arguments[1], Literal) else None
            if percent is None or not 0 <= percent <= 100:
                raise QueryError(f"{call.source}: expected a percentage of 0 to 100")
            share = percent

            def reduce(found: Found) -> Any:
                numbers = [one for value, _ in found if (one := number(value)) is not None]
                return percentile(numbers, share) if numbers else None

            return Aggregate(self.getter(call.arguments[0]), reduce)
        _check_count(call, 0 if call.name == "count" else 1, 1)
        getter = self.getter(call.arguments[0]) if call.arguments else lambda row: 1
        return Aggregate(getter, AGGREGATES[call.name])


def _field(name: str) -> Getter:
    return lambda row: row.get(name)


def _check_count(call: Call, least: int, most: int) -> None:
    if not least <= len(call.arguments) <= most:
        count = str(least) if least == most else f"{least} to {most}"
        raise QueryError(f"{call.source}: expected {count} arguments, found {len(call.arguments)}")
