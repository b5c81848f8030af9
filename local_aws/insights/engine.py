"""Runs a query over log events."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from local_aws.insights.compiler import Compiler, Context
from local_aws.insights.functions import compile_regex
from local_aws.insights.syntax import (
    Command,
    Dedup,
    Field,
    Fields,
    Filter,
    Item,
    Limit,
    Parse,
    Query,
    Sort,
    Stats,
)
from local_aws.insights.values import QueryError, Row, Timestamp, discover, sort_key, text, truth

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Limit.html
DEFAULT_LIMIT = 10_000
MAX_LIMIT = 100_000
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Stats.html#CWL_QuerySyntax-stats-multi
MAX_STATS = 10

_DEFAULT_COLUMNS = ("@timestamp", "@message")


@dataclass(frozen=True)
class Event:
    """A log event; times in milliseconds since the epoch, `log` as account:group."""

    timestamp: int
    message: str
    stream: str
    log: str
    ingestion_time: int


@dataclass(frozen=True)
class Result:
    """Rows of (column, text), without missing fields; `matched` events of `scanned`."""

    rows: list[list[tuple[str, str]]]
    matched: int
    scanned: int
    scanned_bytes: int


def run(query: Query, events: Sequence[Event], context: Context, limit: int | None = None) -> Result:
    """A query's result over the events in its time range; `limit` counts where the query has none.

    Raises `QueryError`.
    """
    _check_order(query)
    scanned = [event for event in events if context.start_ms <= event.timestamp <= context.end_ms]
    newest_first = sorted(scanned, key=lambda event: event.timestamp, reverse=True)
    table = _Table([_row(at, event) for at, event in enumerate(newest_first)], context)
    for command in query.commands:
        try:
            table.apply(command)
        except RecursionError:
            raise QueryError("the query is nested too deeply") from None
        if isinstance(command, Limit):
            limit = command.count
    table.limit(limit or DEFAULT_LIMIT)
    size = sum(len(event.message.encode()) for event in scanned)
    return Result(table.shown(), table.matched, len(scanned), size)


def _row(at: int, event: Event) -> Row:
    pointer = base64.b64encode(f"{event.log}/{event.stream}/{event.timestamp}/{at}".encode()).decode()
    return {
        **discover(event.message),
        "@timestamp": Timestamp(event.timestamp),
        "@message": event.message,
        "@logStream": event.stream,
        "@log": event.log,
        "@ingestionTime": Timestamp(event.ingestion_time),
        "@ptr": pointer,
    }


def _check_order(query: Query) -> None:
    kinds = [type(command) for command in query.commands]
    if kinds.count(Stats) > MAX_STATS:
        raise QueryError(f"expected at most {MAX_STATS} stats commands, found {kinds.count(Stats)}")
    last_stats = max((at for at, kind in enumerate(kinds) if kind is Stats), default=-1)
    if any(kind in (Sort, Limit) for kind in kinds[: max(last_stats, 0)]):
        raise QueryError("sort and limit must come after the last stats")
    if Dedup in kinds and any(kind is not Limit for kind in kinds[kinds.index(Dedup) + 1 :]):
        raise QueryError("dedup can only be followed by limit")


class _Table:
    """Rows on their way through the commands."""

    def __init__(self, rows: list[Row], context: Context) -> None:
        self.rows = rows
        self._context = context
        self._compiler = Compiler(context)
        self._columns: list[str] | None = None  # that are shown
        self._displayed = False
        self._of_stats: list[str] | None = None  # that are there
        self._matched: int | None = None

    def apply(self, command: Command) -> None:
        """Let a command change the rows; raises `QueryError`."""
        match command:
            case Fields():
                self.fields(command)
            case Filter():
                self.filter(command)
            case Stats():
                self.stats(command)
            case Sort():
                self.sort(command)
            case Limit(count=count):
                if count > MAX_LIMIT:
                    raise QueryError(f"limit: expected at most {MAX_LIMIT:,}, found {count:,}")
                self.limit(count)
            case Dedup():
                self.dedup(command)
            case Parse():
                self.parse(command)

    @property
    def matched(self) -> int:
        """How many log events went through all filters."""
        return len(self.rows) if self._matched is None else self._matched

    def shown(self) -> list[list[tuple[str, str]]]:
        """The rows as results show them."""
        if self._columns is None:
            self._columns = list(_DEFAULT_COLUMNS)
        pointer = [] if self._of_stats is not None else ["@ptr"]
        return [
            [
                (name, text(value))
                for name in [*self._columns, *pointer]
                if (value := row.get(name)) is not None
            ]
            for row in self.rows
        ]

    def _define(self, items: Sequence[Item]) -> list[str]:
        getters = [(item.name, self._compiler.getter(item.expression)) for item in items]
        for row in self.rows:
            row.update({name: getter(row) for name, getter in getters})
        names = [name for name, _ in getters]
        if self._of_stats is not None:
            self._know([*self._of_stats, *names])
        return names

    def _know(self, columns: Sequence[str]) -> None:
        self._of_stats = list(dict.fromkeys(columns))
        self._compiler = Compiler(self._context, self._of_stats)

    def fields(self, command: Fields) -> None:
        names = self._define(command.items)
        if command.only:
            self._columns, self._displayed = names, True
        elif not self._displayed:
            self._columns = list(dict.fromkeys([*(self._columns or []), *names]))

    def filter(self, command: Filter) -> None:
        condition = self._compiler.getter(command.condition)
        self.rows = [row for row in self.rows if truth(condition(row))]

    def sort(self, command: Sort) -> None:
        self._count()
        for expression, descending in reversed(command.keys):
            getter = self._compiler.getter(expression)
            self.rows.sort(key=lambda row, get=getter: sort_key(get(row)), reverse=descending)  # type: ignore[misc]

    def _count(self) -> None:
        """From here on, rows are no longer the log events that matched."""
        if self._matched is None:
            self._matched = len(self.rows)

    def limit(self, count: int) -> None:
        self._count()
        del self.rows[count:]

    def dedup(self, command: Dedup) -> None:
        self._count()
        getters = [self._compiler.getter(item.expression) for item in command.items]
        seen: set[tuple[str, ...]] = set()
        kept = []
        for row in self.rows:
            values = [getter(row) for getter in getters]
            key = tuple(map(text, values))
            if None in values or key not in seen:
                kept.append(row)
                seen.add(key)
        self.rows = kept

    def parse(self, command: Parse) -> None:
        search = compile_regex(command.pattern)
        getter = self._compiler.getter(Field(command.source))
        for row in self.rows:
            subject = getter(row)
            found = search(text(subject)) if subject is not None else None
            if found is None:
                continue
            if command.names:
                row.update(zip(command.names, found.groups(), strict=False))
            row.update(found.groupdict())

    def stats(self, command: Stats) -> None:
        self._count()
        by = [(item.name, self._compiler.getter(item.expression)) for item in command.by]
        parts = [(item.name, *self._compiler.aggregates(item.expression)) for item in command.items]
        groups: dict[tuple[str | None, ...], tuple[Row, list[Row]]] = {}
        for row in self.rows:
            values: Row = {name: getter(row) for name, getter in by}
            key = tuple(None if value is None else text(value) for value in values.values())
            groups.setdefault(key, (values, []))[1].append(row)
        finishers = [
            (name, Compiler(self._context).getter(expression), aggregates)
            for name, expression, aggregates in parts
        ]
        result = []
        for values, rows in groups.values():
            times = [_time(row) for row in rows]
            for name, finish, aggregates in finishers:
                slots: Row = {}
                for slot, aggregate in enumerate(aggregates):
                    pairs = zip(map(aggregate.getter, rows), times, strict=True)
                    slots[str(slot)] = aggregate.reduce([pair for pair in pairs if pair[0] is not None])
                values[name] = finish(slots)
            result.append(values)
        self.rows = result
        columns = [name for name, _ in by] + [name for name, _, _ in parts]
        self._columns, self._displayed = columns, False
        self._know(columns)


def _time(row: Row) -> int | None:
    time = row.get("@timestamp")
    return time if isinstance(time, Timestamp) else None
