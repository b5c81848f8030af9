"""What a query's text stands for: commands, and expressions of calls, fields and literals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Literal:
    """A constant: text, number, `Period`, or the `re` text of a regular expression."""

    value: Any
    source: str = field(default="", compare=False)


@dataclass(frozen=True)
class Field:
    """A field's value."""

    name: str
    source: str = field(default="", compare=False)


@dataclass(frozen=True)
class Call:
    """A function, in lower case, or an operator. `count(*)` has no arguments."""

    name: str
    arguments: tuple[Expression, ...]
    source: str = field(default="", compare=False)


Expression = Literal | Field | Call


@dataclass(frozen=True)
class Item:
    """An expression and the column that it becomes."""

    expression: Expression
    name: str


@dataclass(frozen=True)
class Fields:
    """Adds columns; as `display`, these are the only ones."""

    items: tuple[Item, ...]
    only: bool = False


@dataclass(frozen=True)
class Filter:
    """Keeps the rows for which a condition holds."""

    condition: Expression


@dataclass(frozen=True)
class Stats:
    """Makes one row of each group."""

    items: tuple[Item, ...]
    by: tuple[Item, ...]


@dataclass(frozen=True)
class Sort:
    """Orders rows by (expression, whether descending)."""

    keys: tuple[tuple[Expression, bool], ...]


@dataclass(frozen=True)
class Limit:
    """Keeps the first rows."""

    count: int


@dataclass(frozen=True)
class Dedup:
    """Keeps the first row of each combination of values."""

    items: tuple[Item, ...]


@dataclass(frozen=True)
class Parse:
    """Extracts fields by a regular expression with one group for each name."""

    source: str
    pattern: str
    names: tuple[str, ...]


Command = Fields | Filter | Stats | Sort | Limit | Dedup | Parse


@dataclass(frozen=True)
class Query:
    """A query: log groups and prefixes of log groups from SOURCE, and what to do with their events."""

    commands: tuple[Command, ...]
    groups: tuple[str, ...] = ()
    prefixes: tuple[str, ...] | None = None
