"""PutMetricData's documented limits: raw parameters in, checked datums out.

Source of every limit: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
and .../API_MetricDatum.html, API_Dimension.html, API_StatisticSet.html. AWS's error texts are documented
nowhere; those here name the member in AWS's own way (`MetricData.member.3.Value`, counted from 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, NoReturn

from local_aws.errors import AwsError

# "Each PutMetricData request is limited to 1 MB in size for HTTP POST requests": taken as the size before
# compression, as AWS's own agent does.
MAX_REQUEST_BYTES = 1_048_576
MAX_DATUMS = 1000
MAX_VALUES = 150
MAX_DIMENSIONS = 30
MAX_NAMESPACE = 255
MAX_METRIC_NAME = 255
MAX_DIMENSION_NAME = 255
MAX_DIMENSION_VALUE = 1024
MAX_ABSOLUTE_VALUE = 2.0**360
MAX_ENTITIES = 2
OLDEST = timedelta(weeks=2)
NEWEST = timedelta(hours=2)
STORAGE_RESOLUTIONS = (1, 60)
_RATES = [
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
]
_RATES += ["Terabits", "Count"]
UNITS = frozenset(
    [
        "Seconds",
        "Microseconds",
        "Milliseconds",
        "Percent",
        "None",
        *_RATES,
        *[f"{unit}/Second" for unit in _RATES],
    ]
)

Dimensions = tuple[tuple[str, str], ...]
"""(name, value) pairs, sorted: the order in a request does not matter."""


@dataclass(frozen=True)
class StatisticSet:
    """Pre-aggregated values."""

    sample_count: float
    sum: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Datum:
    """A checked datum: `values` as (value, count) pairs, or a `statistic`; `second` since the epoch."""

    name: str
    dimensions: Dimensions
    unit: str
    second: int
    resolution: int
    values: Sequence[tuple[float, float]]
    statistic: StatisticSet | None = None


def invalid(message: str) -> NoReturn:
    """Refuse a parameter's value."""
    raise AwsError(400, "InvalidParameterValue", message, "InvalidParameterValueException")


def missing(message: str) -> NoReturn:
    """Refuse a request without a required parameter."""
    raise AwsError(400, "MissingParameter", message, "MissingRequiredParameterException")


def conflict(message: str) -> NoReturn:
    """Refuse parameters that exclude each other."""
    raise AwsError(400, "InvalidParameterCombination", message, "InvalidParameterCombinationException")


def check_put(parameters: Mapping[str, Any], now: datetime) -> tuple[str, list[Datum]]:
    """PutMetricData's parameters as (namespace, datums); raises `AwsError` at the first violation."""
    namespace = _text(parameters.get("Namespace"), "Namespace", MAX_NAMESPACE)
    if namespace.startswith("AWS/"):
        invalid("The value AWS/ for parameter Namespace is invalid.")
    if namespace.startswith(":"):
        invalid(f"The value {namespace} for parameter Namespace is invalid: it must not start with ':'.")
    members = [
        (f"MetricData.member.{number}", datum)
        for number, datum in enumerate(parameters.get("MetricData") or [], 1)
    ]
    entities = parameters.get("EntityMetricData") or []
    if len(entities) > MAX_ENTITIES:
        invalid(f"The collection EntityMetricData must not have a size greater than {MAX_ENTITIES}.")
    for group, entity in enumerate(entities, 1):
        path = f"EntityMetricData.member.{group}.MetricData.member."
        members += [
            (f"{path}{number}", datum) for number, datum in enumerate(entity.get("MetricData") or [], 1)
        ]
    if not members:
        missing("The parameter MetricData is required.")
    if len(members) > MAX_DATUMS:
        invalid(f"The collection MetricData must not have a size greater than {MAX_DATUMS}.")
    return namespace, [_check_datum(datum, path, now) for path, datum in members]


def _check_datum(datum: Mapping[str, Any], path: str, now: datetime) -> Datum:
    name = _text(datum.get("MetricName"), f"{path}.MetricName", MAX_METRIC_NAME)
    unit = datum.get("Unit", "None")
    if unit not in UNITS:
        invalid(f"The value {unit} for parameter {path}.Unit is invalid.")
    resolution = datum.get("StorageResolution", 60)
    if resolution not in STORAGE_RESOLUTIONS or isinstance(resolution, bool):
        invalid(
            f"The value {resolution} for parameter {path}.StorageResolution is invalid: it must be 1 or 60."
        )
    second = _second(datum.get("Timestamp"), f"{path}.Timestamp", now)
    dimensions = _dimensions(datum.get("Dimensions") or [], f"{path}.Dimensions")
    values, statistic = _values(datum, path)
    return Datum(name, dimensions, unit, second, int(resolution), values, statistic)


def _text(value: Any, path: str, longest: int) -> str:
    if value is None or value == "":
        missing(f"The parameter {path} is required.")
    if not isinstance(value, str):
        raise AwsError(
            400, "SerializationException", f"{path}: expected a string, found {type(value).__name__}"
        )
    if len(value) > longest:
        invalid(f"The parameter {path} must be shorter than {longest + 1} characters.")
    if not value.isascii():
        invalid(f"The parameter {path} must contain only ASCII characters.")
    if any(character < " " or character == "\x7f" for character in value):
        invalid(f"The parameter {path} must not contain ASCII control characters.")
    if not value.strip():
        invalid(f"The parameter {path} must contain at least one non-whitespace character.")
    return value


def _dimensions(dimensions: Sequence[Mapping[str, Any]], path: str) -> Dimensions:
    if len(dimensions) > MAX_DIMENSIONS:
        invalid(f"The collection {path} must not have a size greater than {MAX_DIMENSIONS}.")
    pairs: dict[str, str] = {}
    for number, dimension in enumerate(dimensions, 1):
        member = f"{path}.member.{number}"
        name = _text(dimension.get("Name"), f"{member}.Name", MAX_DIMENSION_NAME)
        if name.startswith(":"):
            invalid(f"The value {name} for parameter {member}.Name is invalid: it must not start with ':'.")
        if name in pairs:
            invalid(f"The parameter {path} contains the dimension {name} more than once.")
        pairs[name] = _text(dimension.get("Value"), f"{member}.Value", MAX_DIMENSION_VALUE)
    return tuple(sorted(pairs.items()))


def _second(timestamp: datetime | float | None, path: str, now: datetime) -> int:
    if timestamp is None:
        return int(now.timestamp())
    try:
        moment = (
            timestamp
            if isinstance(timestamp, datetime)
            else datetime.fromtimestamp(float(timestamp), timezone.utc)
        )
    except (ValueError, TypeError, OverflowError, OSError):
        invalid(f"The value {timestamp} for parameter {path} is invalid.")
    if moment < now - OLDEST:
        invalid(f"The parameter {path} must specify a time within the past two weeks.")
    if moment > now + NEWEST:
        invalid(f"The parameter {path} must specify a time no more than two hours in the future.")
    return math.floor(moment.timestamp())


def number(value: Any, path: str) -> float:
    """A finite double within CloudWatch's range, from a number or from JSON's `"NaN"` and `"Infinity"`."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise AwsError(400, "SerializationException", f"{path}: expected a number, found {value!r}") from None
    if math.isnan(result) or abs(result) > MAX_ABSOLUTE_VALUE:
        invalid(f"The value {result} for parameter {path} is invalid.")
    return result


def _values(datum: Mapping[str, Any], path: str) -> tuple[list[tuple[float, float]], StatisticSet | None]:
    given = [name for name in ("Value", "Values", "StatisticValues") if datum.get(name) not in (None, [])]
    if not given:
        missing(
            f"At least one of the parameters {path}.Value, {path}.Values and {path}.StatisticValues"
            " must be specified."
        )
    if len(given) > 1:
        conflict(
            f"The parameters {path}.{given[0]} and {path}.{given[1]} are mutually exclusive"
            " and you have specified both."
        )
    counts = datum.get("Counts")
    if given != ["Values"]:
        if counts:
            conflict(f"The parameter {path}.Counts can only be specified together with {path}.Values.")
        if given == ["Value"]:
            return [(number(datum["Value"], f"{path}.Value"), 1.0)], None
        return _statistic(datum["StatisticValues"], f"{path}.StatisticValues")
    values = datum["Values"]
    if len(values) > MAX_VALUES:
        invalid(f"The collection {path}.Values must not have a size greater than {MAX_VALUES}.")
    if counts and len(counts) != len(values):
        invalid(
            f"The parameters {path}.Values and {path}.Counts must have the same size:"
            f" expected {len(values)} counts, found {len(counts)}."
        )
    checked = [number(value, f"{path}.Values.member.{at}") for at, value in enumerate(values, 1)]
    weights = [
        number(count, f"{path}.Counts.member.{at}")
        for at, count in enumerate(counts or [1.0] * len(values), 1)
    ]
    for at, weight in enumerate(weights, 1):
        if weight <= 0:
            invalid(
                f"The value {weight} for parameter {path}.Counts.member.{at} is invalid: it must be positive."
            )
    return list(zip(checked, weights, strict=True)), None


def _statistic(raw: Mapping[str, Any], path: str) -> tuple[list[tuple[float, float]], StatisticSet | None]:
    names = ("SampleCount", "Sum", "Minimum", "Maximum")
    for name in names:
        if raw.get(name) is None:
            missing(f"The parameter {path}.{name} is required.")
    count, total, low, high = (number(raw[name], f"{path}.{name}") for name in names)
    if count <= 0:
        invalid(f"The value {count} for parameter {path}.SampleCount is invalid: it must be positive.")
    if low > high:
        invalid(f"The parameter {path}.Maximum must not be less than {path}.Minimum.")
    if low == high and total == low * count:
        # Only then does CloudWatch know the single values, and with them percentiles.
        return [(low, count)], None
    return [], StatisticSet(count, total, low, high)
