"""An expression's text becomes a value: numbers, Ids, arrays, operators and function calls."""

from __future__ import annotations

from typing import Any

from lark import Tree

from local_aws.metric_maths.functions import ELSEWHERE, FUNCTIONS, Scope
from local_aws.metric_maths.operators import operate
from local_aws.metric_maths.values import Array, MathsError, Series, Text, Value, Word, unsupported
from local_aws.parsing import Grammar, ParseError

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html
MAX_EXPRESSION = 2048

_GRAMMAR = Grammar(r"""
?start: either
?either: both | either OR both -> operation
?both: comparison | both AND comparison -> operation
?comparison: sum | comparison COMPARISON sum -> operation
?sum: product | sum (PLUS | MINUS) product -> operation
?product: signed | product (TIMES | OVER) signed -> operation
?signed: power | MINUS signed -> negation
?power: atom | atom POWER signed -> operation
?atom: NUMBER -> number
     | ID -> reference
     | FUNCTION "(" [start ("," start)*] ")" -> call
     | "[" start ("," start)* "]" -> array
     | "(" start ")"
     | QUOTED -> text
     | WORD -> word

OR: /OR\b|\|\|/
AND: /AND\b|&&/
COMPARISON: /==|!=|<=|>=|<|>/
PLUS: "+"
MINUS: "-"
TIMES: "*"
OVER: "/"
POWER: "^"
NUMBER: /(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/
ID: /[a-z][A-Za-z0-9_]*/
FUNCTION: /[A-Z][A-Z0-9_]*(?=\s*\()/
WORD: /[A-Z]+\b/
QUOTED: /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/
%ignore /\s+/
""")


def evaluate(text: str, scope: Scope) -> Series | Array:
    """The time series, or the array of them, that an expression stands for; raises `MathsError`."""
    if len(text) > MAX_EXPRESSION:
        raise MathsError(f"expected at most {MAX_EXPRESSION} characters, found {len(text)}")
    try:
        value = _value(_GRAMMAR.parse(text), scope)
    except ParseError as error:
        raise MathsError(str(error)) from None
    except RecursionError:
        raise MathsError("the expression is nested too deeply") from None
    except OverflowError:
        raise MathsError("a value is too large") from None
    if not isinstance(value, Series | list):
        raise MathsError(f"expected a time series or an array of them as the result, found {_shown(value)}")
    return value


def _shown(value: Value) -> str:
    return f"the scalar {value:g}" if isinstance(value, float) else repr(str(value))


def _value(node: Any, scope: Scope) -> Value:
    children = node.children
    match node.data:
        case "number":
            return float(children[0])
        case "text":
            return Text(children[0][1:-1].replace("\\'", "'"))
        case "word":
            return Word(children[0])
        case "reference":
            return scope.reference(str(children[0]))
        case "array":
            return _array([_value(child, scope) for child in children])
        case "negation":
            return operate("*", -1.0, _value(children[1], scope))
        case "operation":
            return operate(str(children[1]), _value(children[0], scope), _value(children[2], scope))
    name, *arguments = children
    return _call(str(name), [_value(child, scope) for child in arguments if isinstance(child, Tree)], scope)


def _array(values: list[Value]) -> Array:
    """Arrays within an array become one."""
    series: Array = []
    for value in values:
        match value:
            case Series():
                series.append(value)
            case list():
                series += value
            case _:
                raise unsupported("an array", values)
    return series


def _call(name: str, arguments: list[Value], scope: Scope) -> Value:
    if name in ELSEWHERE:
        raise MathsError(f"local AWS does not evaluate the function {name}")
    if name not in FUNCTIONS:
        raise MathsError(f"Function '{name}' not found")
    least, most, function = FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        count = str(least) if least == most else f"{least} to {most}"
        raise MathsError(f"{name}: expected {count} arguments, found {len(arguments)}")
    return function(name, scope, arguments)
