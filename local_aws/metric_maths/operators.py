"""Operators of metric maths: arithmetic, comparisons and logic.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html#metric-math-syntax-arithmetic
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from local_aws.metric_maths.values import Series, Value, combine, unsupported


def operate(symbol: str, left: Value, right: Value) -> Value:
    """`left <symbol> right`, point by point for time series; what has no result drops its data point."""
    operation = ARITHMETIC.get(symbol) or LOGIC[symbol]
    match left, right:
        case float(), float():
            return operation(left, right)
        case Series(), Series():
            return combine(left, right, operation)
        case Series(), float():
            return left.with_points((at, operation(value, right)) for at, value in left.points.items())
        case float(), Series():
            return right.with_points((at, operation(left, value)) for at, value in right.points.items())
        case list(), float() | Series() if symbol in ARITHMETIC:
            return [_named(operate(symbol, series, right), series) for series in left]
        case float() | Series(), list() if symbol in ARITHMETIC:
            return [_named(operate(symbol, left, series), series) for series in right]
    raise unsupported(symbol, [left, right])


def _named(result: Value, source: Series) -> Series:
    """A result about one series of an array keeps that one's name."""
    if not isinstance(result, Series):
        raise unsupported("an array", [result])
    return Series(result.points, result.period, source.label, source.metric)


def _divide(left: float, right: float) -> float:
    return left / right if right else math.nan


def _power(left: float, right: float) -> float:
    try:
        result = left**right
    except (OverflowError, ZeroDivisionError):
        return math.nan
    return result if isinstance(result, float) else math.nan


def _truth(compare: Callable[[Any, Any], Any]) -> Callable[[float, float], float]:
    return lambda left, right: float(bool(compare(left, right)))


ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "^": _power,
}
_BOTH, _EITHER = _truth(lambda left, right: left and right), _truth(lambda left, right: left or right)
LOGIC: Mapping[str, Callable[[float, float], float]] = {
    "==": _truth(operator.eq),
    "!=": _truth(operator.ne),
    "<": _truth(operator.lt),
    "<=": _truth(operator.le),
    ">": _truth(operator.gt),
    ">=": _truth(operator.ge),
    "AND": _BOTH,
    "&&": _BOTH,
    "OR": _EITHER,
    "||": _EITHER,
}
