"""What SEARCH looks for: a metric schema, and terms that match whole names or their tokens.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from lark import Token, Tree

from local_aws.metric_maths.values import MathsError
from local_aws.parsing import Grammar, ParseError

# "The maximum search expression query size is 1024 characters."
MAX_QUERY = 1024

_GRAMMAR = Grammar(r"""
start: schema? ","? either?
schema: "{" name ("," name)* "}"
name: WORD | QUOTED
?either: both (OR both)*
?both: item (AND? item)*
?item: NOT item -> negation
     | "(" either ")"
     | name "=" (term | "(" either ")") -> property
     | term
term: WORD | QUOTED

OR.2: /OR(?![^\s(])/
AND.2: /AND(?![^\s(])/
NOT.2: /NOT(?![^\s(])/
QUOTED: /"(?:[^"\\]|\\.)*"/
WORD: /[^\s"(){}=,]+/
%ignore /\s+/
""")

# Without quotes, a schema's names are made of these (`AWS/EC2`).
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_/]+")
# "customcount1", "custom", "count", "1": capitals, digits and everything else begin a token.
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_DELIMITER = re.compile(r"[^A-Za-z0-9]")

Dimensions = Sequence[tuple[str, str]]
_Test = Callable[[str, str, Dimensions], bool]


def compile_search(query: str) -> _Test:
    """A search's text as a test of (namespace, metric name, dimensions); raises `MathsError`."""
    if len(query) > MAX_QUERY:
        raise MathsError(f"SEARCH: expected at most {MAX_QUERY} characters, found {len(query)}")
    try:
        tree = _GRAMMAR.parse(query)
    except ParseError as error:
        raise MathsError(f"SEARCH: {error} in the search expression") from None
    if not tree.children:
        raise MathsError("SEARCH: expected a metric schema or a search term, found neither")
    tests = [_schema(part) if _is(part, "schema") else _term(part, None) for part in tree.children]
    return lambda namespace, name, dimensions: all(test(namespace, name, dimensions) for test in tests)


def _is(node: Any, rule: str) -> bool:
    return isinstance(node, Tree) and node.data == rule


def _schema(tree: Any) -> _Test:
    """A namespace alone admits all its metrics; with dimension names, those with exactly these."""
    names = []
    for node in tree.children:
        token = node.children[0]
        if token.type == "WORD" and not _PLAIN_NAME.fullmatch(token):
            raise MathsError(f"SEARCH: {token} stands in the metric schema and needs double quotes")
        names.append(_plain(token))
    namespace, *wanted = names
    return lambda space, _, dimensions: (
        space == namespace and (not wanted or sorted(wanted) == sorted(key for key, _ in dimensions))
    )


def _term(node: Any, of: str | None) -> _Test:
    """A term's test; `of` is the property that it is about, or None for all of them."""
    match node.data:
        case "both":
            parts = [_term(part, of) for part in node.children if isinstance(part, Tree)]
            return lambda *metric: all(part(*metric) for part in parts)
        case "either":
            parts = [_term(part, of) for part in node.children if isinstance(part, Tree)]
            return lambda *metric: any(part(*metric) for part in parts)
        case "negation":
            inner = _term(node.children[1], of)
            return lambda *metric: not inner(*metric)
        case "property":
            name = _plain(node.children[0].children[0])
            if of is not None or name.startswith(":"):
                raise MathsError(f"SEARCH: local AWS does not search by {name} here")
            return _term(node.children[1], name)
    token = node.children[0]
    if token.type == "QUOTED":
        if re.search(r"[()]", re.sub(r"\\.", "", token)):
            raise MathsError(f"SEARCH: ( and ) must be escaped by a backslash in {token}")
        text = _plain(token)
        return lambda *metric: text in _texts(of, *metric)
    return lambda *metric: any(_contains(candidate, str(token)) for candidate in _texts(of, *metric))


def _texts(of: str | None, namespace: str, name: str, dimensions: Dimensions) -> list[str]:
    match of:
        case None:
            return [namespace, name, *[text for pair in dimensions for text in pair]]
        case "Namespace":
            return [namespace]
        case "MetricName":
            return [name]
    return [value for key, value in dimensions if key == of]


def _plain(token: Token) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.type == "QUOTED" else str(token)


def _contains(text: str, term: str) -> bool:
    """Whether a term's tokens are among a text's.

    A single token matches in any case. Several match where they follow one another, in the case in which
    they are written, unless delimiters tell them apart (`network/errors`).
    """
    parts, wanted = _PART.findall(text), _PART.findall(term)
    if not wanted:
        return False
    whole = "".join(parts).lower()
    if "".join(wanted).lower() in ([part.lower() for part in parts] if len(wanted) == 1 else []) + [whole]:
        return True
    if _DELIMITER.search(term):
        parts, wanted = [part.lower() for part in parts], [part.lower() for part in wanted]
    return any(parts[at : at + len(wanted)] == wanted for at in range(len(parts) - len(wanted) + 1))
