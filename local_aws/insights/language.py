"""The grammar, and how a query's text becomes commands."""

from __future__ import annotations

import re
from typing import Any

from lark import Token, Tree

from local_aws.insights.syntax import (
    Call,
    Command,
    Dedup,
    Expression,
    Field,
    Fields,
    Filter,
    Item,
    Limit,
    Literal,
    Parse,
    Query,
    Sort,
    Stats,
)
from local_aws.insights.values import UNITS, Period, QueryError
from local_aws.parsing import Grammar, ParseError

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_StartQuery.html
MAX_QUERY = 10_000

_GRAMMAR = Grammar(
    r"""
start: command ("|" command)*
?command: source | fields | display | filter | stats | sort | limit | dedup | parse

source: SOURCE QUOTED
      | SOURCE LOG_GROUPS "(" [NAME_PREFIX ":" "[" QUOTED ("," QUOTED)* "]"] ")" -> source_by_prefix
fields: FIELDS item ("," item)*
display: DISPLAY item ("," item)*
filter: FILTER expression
stats: STATS item ("," item)* [by]
by: BY item ("," item)*
sort: SORT order ("," order)*
order: expression [ASC | DESC]
limit: LIMIT [ANY] NUMBER
dedup: DEDUP item ("," item)*
parse: PARSE [FIELD] (QUOTED | REGEX) [AS FIELD ("," FIELD)*]

item: expression [AS FIELD]

?expression: either
?either: both | either OR both -> operation
?both: inverse | both AND inverse -> operation
?inverse: comparison | NOT inverse -> negation
?comparison: sum
           | sum COMPARISON sum -> operation
           | sum [NOT] LIKE (QUOTED | REGEX) -> like
           | sum MATCHES REGEX -> like
           | sum [NOT] IN "[" sum ("," sum)* "]" -> membership
?sum: product | sum (PLUS | MINUS) product -> operation
?product: signed | product (TIMES | OVER | MODULO) signed -> operation
?signed: power | MINUS signed -> minus
?power: atom | atom POWER signed -> operation
?atom: NUMBER -> number
     | PERIOD -> period
     | QUOTED -> text
     | BOOLEAN -> boolean
     | FIELD -> field
     | FUNCTION "(" TIMES ")" -> call
     | FUNCTION "(" [expression ("," expression)*] ")" -> call
     | "(" expression ")"

SOURCE: /source\b/i
LOG_GROUPS: /logGroups\b/i
NAME_PREFIX: /namePrefix(es)?\b/i
FIELDS: /fields\b/i
DISPLAY: /display\b/i
FILTER: /(filter|where)\b/i
STATS: /stats\b/i
SORT: /(sort|order\s+by)\b/i
LIMIT: /(limit|head)\b/i
ANY: /any\b/i
DEDUP: /dedup\b/i
PARSE: /parse\b/i
BY: /by\b/i
AS: /as\b/i
ASC: /asc\b/i
DESC: /desc\b/i
OR: /or\b/i
AND: /and\b/i
NOT.3: /not\b/i
LIKE: /like\b/i
IN: /in\b/i
MATCHES.2: "=~"
COMPARISON: /=|!=|<=|>=|<|>/
PLUS: "+"
MINUS: "-"
TIMES: "*"
OVER: "/"
MODULO: "%"
POWER: "^"
PERIOD.2: /\d+[A-Za-z]+\b/
NUMBER: /(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(?![\w])/
BOOLEAN.3: /(true|false)(?![\w.(])/i
FUNCTION.2: /(?!(?:in|like|and|or|by|as)\b)[A-Za-z]\w*(?=\s*\()/i
FIELD: /@{0,2}([A-Za-z_]\w*|`[^`]+`)(\.(\w+|`[^`]+`))*/
QUOTED: /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/
REGEX: /\/(?:[^\/\\\n]|\\.)+\//
%ignore /\s+|#[^\n]*/
"""
)
COMMANDS = ("fields", "display", "filter", "where", "stats", "sort", "limit", "dedup", "parse", "SOURCE")


def parse(query: str) -> Query:
    """A query's commands; raises `QueryError`."""
    if len(query) > MAX_QUERY:
        raise QueryError(f"expected a query of at most {MAX_QUERY} characters, found {len(query)}")
    if not re.sub(r"#[^\n]*", "", query).strip():
        return Query(())
    try:
        return _read(query, _GRAMMAR.parse(query))
    except ParseError as error:
        raise QueryError(_explain(query, error)) from None
    except RecursionError:
        raise QueryError("the query is nested too deeply") from None


def _read(query: str, tree: Any) -> Query:
    reader = _Reader(query)
    groups: list[str] = []
    prefixes: tuple[str, ...] | None = None
    commands: list[Command] = []
    for node in tree.children:
        texts = [_unquote(token) for token in _tokens(node, "QUOTED")]
        if node.data in ("source", "source_by_prefix") and commands:
            raise QueryError("SOURCE must come before all other commands")
        match node.data:
            case "source":
                groups += texts
            case "source_by_prefix":
                prefixes = (prefixes or ()) + (tuple(texts) or ("",))
            case _:
                commands.append(reader.command(node))
    return Query(tuple(commands), tuple(groups), prefixes)


def _explain(query: str, error: ParseError) -> str:
    """The position, and the name of a command that is not known."""
    before, after = query[: error.position], query[error.position :]
    word = re.match(r"\s*([A-Za-z]+)", after)
    if (
        word
        and re.search(r"(^|\|)\s*$", re.sub(r"#[^\n]*\n", "", before))
        and word[1].lower() not in {name.lower() for name in COMMANDS}
    ):
        return f"local AWS does not evaluate the command {word[1]}, but {', '.join(COMMANDS)}"
    line = before.count("\n") + 1
    column = error.position - (before.rfind("\n") + 1) + 1
    return f"{error} (line {line}, position {column})"


def _tokens(node: Any, *kinds: str) -> list[Token]:
    return [child for child in node.children if isinstance(child, Token) and child.type in kinds]


def _trees(node: Any, *rules: str) -> list[Any]:
    return [
        child for child in node.children if isinstance(child, Tree) and (not rules or child.data in rules)
    ]


def _unquote(token: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), token[1:-1])


def _field(token: str) -> str:
    return token.replace("`", "")


def _regex(token: str) -> str:
    return token[1:-1].replace("\\/", "/")


class _Reader:
    """Turns syntax trees into commands."""

    def __init__(self, query: str) -> None:
        self._query = query

    def command(self, node: Any) -> Command:
        match node.data:
            case "fields" | "display":
                return Fields(self._items(node), only=node.data == "display")
            case "filter":
                return Filter(self._expression(_trees(node)[0]))
            case "stats":
                by = _trees(node, "by")
                return Stats(self._items(node), self._items(by[0]) if by else ())
            case "sort":
                return Sort(tuple(self._order(key) for key in _trees(node)))
            case "limit":
                return self._limit(node)
            case "dedup":
                return Dedup(self._items(node))
        return self._parse(node)

    def _items(self, node: Any) -> tuple[Item, ...]:
        items = []
        for item in _trees(node, "item"):
            expression = self._expression(_trees(item)[0])
            alias = _tokens(item, "FIELD")
            name = (
                alias[0] if alias else expression.name if isinstance(expression, Field) else expression.source
            )
            items.append(Item(expression, _field(name)))
        return tuple(items)

    def _order(self, node: Any) -> tuple[Expression, bool]:
        return self._expression(_trees(node)[0]), bool(_tokens(node, "DESC"))

    @staticmethod
    def _limit(node: Any) -> Limit:
        [token] = _tokens(node, "NUMBER")
        if not token.isdecimal() or int(token) < 1:
            raise QueryError(f"limit: expected a whole number of 1 and more, found {token}")
        return Limit(int(token))

    @staticmethod
    def _parse(node: Any) -> Parse:
        first, *rest = [token for token in node.children if token.type in ("FIELD", "QUOTED", "REGEX")]
        source = "@message"
        if first.type == "FIELD":
            source, first, *rest = _field(first), *rest
        names = tuple(_field(token) for token in rest)
        if first.type == "QUOTED":
            parts = _unquote(first).split("*")
            if not names or len(parts) - 1 != len(names):
                raise QueryError(f"parse: expected {len(parts) - 1} aliases, found {len(names)}")
            # Each * ends where what follows it is found first; the last one takes the rest.
            gaps = ["(.*?)"] * len(names)
            if not parts[-1]:
                gaps[-1] = "(.*)"
            pattern = re.escape(parts[0]) + "".join(
                gap + re.escape(part) for gap, part in zip(gaps, parts[1:], strict=True)
            )
            return Parse(source, f"(?s){pattern}", names)
        return Parse(source, _regex(first), names)

    def _expression(self, node: Any) -> Expression:
        children = node.children
        source = re.sub(r"\s+", " ", self._query[node.meta.start_pos : node.meta.end_pos])
        match node.data:
            case "number":
                value = float(children[0])
                return Literal(int(value) if value.is_integer() else value, source)
            case "period":
                return Literal(_period(children[0]), source)
            case "text":
                return Literal(_unquote(children[0]), source)
            case "boolean":
                return Literal(int(children[0].lower() == "true"), source)
            case "field":
                return Field(_field(children[0]), source)
            case "operation":
                left, operator, right = children
                arguments = self._expression(left), self._expression(right)
                return Call(operator.lower(), arguments, source)
            case "negation" | "minus":
                inner = self._expression(children[1])
                return (
                    Call("not", (inner,), source)
                    if node.data == "negation"
                    else Call("-", (Literal(0), inner), source)
                )
            case "like":
                return self._like(node, source)
            case "membership":
                members = tuple(self._expression(child) for child in _trees(node))
                return _negated(Call("in", members, source), node)
        return Call(children[0].lower(), tuple(self._expression(child) for child in _trees(node)), source)

    def _like(self, node: Any, source: str) -> Expression:
        pattern = node.children[-1]
        subject = self._expression(node.children[0])
        if pattern.type == "REGEX":
            return _negated(Call("=~", (subject, Literal(_regex(pattern))), source), node)
        return _negated(Call("like", (subject, Literal(_unquote(pattern))), source), node)


def _negated(call: Call, node: Any) -> Call:
    return Call("not", (call,), call.source) if _tokens(node, "NOT") else call


def _period(token: str) -> Period:
    found = re.fullmatch(r"(\d+)\s*([A-Za-z]+)", token)
    unit = UNITS.get(found[2].lower()) if found else None
    if not found or not unit or not int(found[1]):
        raise QueryError(f"expected a period such as 30s, 5m or 1h, found {token}")
    return Period(int(found[1]), unit)
