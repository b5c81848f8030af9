"""Metric maths without a service: operators, functions, search terms and labels."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_aws.metric_maths import labels
from local_aws.metric_maths.expression import evaluate
from local_aws.metric_maths.functions import FUNCTIONS, Scope
from local_aws.metric_maths.search import compile_search
from local_aws.metric_maths.values import Array, MathsError, Metric, Series, Value

PERIOD = 60
Points = Sequence[float | None]


def series(points: Points, label: str = "") -> Series:
    """One data point a minute; None is missing."""
    found = {at * PERIOD: float(value) for at, value in enumerate(points) if value is not None}
    return Series(found, PERIOD, label)


def run(text: str, metrics: Mapping[str, Points], length: int = 5) -> Series | Array:
    named = {name: series(points, name) for name, points in metrics.items()}

    def reference(name: str) -> Value:
        if name not in named:
            raise MathsError(f"'{name}' is not the Id of a query")
        return named[name]

    def search(text: str, stat: str, period: int | None) -> Array:
        return [series([len(text)], f"{text} {stat} {period}")]

    return evaluate(text, Scope(0, length * PERIOD, PERIOD, named, reference, search))


def values(result: Series | Array, length: int = 5) -> list[float | None]:
    assert isinstance(result, Series)
    assert set(result.points) <= {at * PERIOD for at in range(length)}
    return [result.points.get(at * PERIOD) for at in range(length)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The documentation's examples of comparisons.
        ("a < b", [0, 0, 1, 0, None]),
        ("a >= 30", [1, 0, 0, 0, None]),
        ("a > 15 AND b > 15", [1, 0, 0, 0, None]),
        ("a > 15 && b > 15", [1, 0, 0, 0, None]),
        ("a > 25 OR b > 15", [1, 0, 1, 0, None]),
        ("a > 25 || b > 15 AND a > 0", [1, 0, 0, 0, None]),
        ("a == 20", [0, 1, 0, 0, None]),
        ("a != 20", [1, 0, 1, 1, None]),
        # Missing values are 0; a division by zero drops the data point.
        ("a + b", [50, 20, 20, 0, None]),
        ("b - a", [-10, -20, 20, 0, None]),
        ("a / b", [1.5, None, 0, None, None]),
        ("100 * a / (a + b)", [60, 100, 0, None, None]),
        ("-a", [-30, -20, 0, 0, None]),
        ("a - -1", [31, 21, 1, 1, None]),
        ("2 ^ 3 ^ 1 + a", [38, 28, 8, 8, None]),
        ("-2 ^ 2 + a", [26, 16, -4, -4, None]),
        ("1e1 + .5 * a", [25, 20, 10, 10, None]),
        ("0 ^ (0 - a)", [None, None, 1, 1, None]),
        ("a - 10 - 10", [10, 0, -20, -20, None]),
        ("a * 0 + 64 / 4 / 2", [8, 8, 8, 8, None]),
        ("a - MIN(a) + MAX(a) * SUM(b) / AVG(b)", [90, 80, 60, 60, None]),
    ],
)
def test_operators(text: str, expected: Points) -> None:
    assert values(run(text, {"a": [30, 20, 0, 0, None], "b": [20, None, 20, None, None]})) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The documentation's tables.
        ("IF(a, b, c)", [30, 0, 20, 0, None]),
        ("IF(a, 5, c)", [5, 5, 20, None, None]),
        ("IF(a, b, 5)", [30, 0, 5, 5, None]),
        ("IF(a, b)", [30, 0, None, None, None]),
        ("IF(a < 1, 10, 2)", [2, 2, 10, 10, None]),
        ("IF(1, b, c)", [30, None, 0, 0, 30]),
        ("IF(0, b, c)", [0, 0, 20, None, 20]),
        ("IF(0, b)", [None] * 5),
    ],
)
def test_conditions(text: str, expected: Points) -> None:
    metrics: dict[str, Points] = {
        "a": [1, 1, 0, 0, None],
        "b": [30, None, 0, 0, 30],
        "c": [0, 0, 20, None, 20],
    }
    assert values(run(text, metrics)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FILL(a, 7)", [7, 4, 7, 7, -10]),
        ("FILL(a, REPEAT)", [None, 4, 4, 4, -10]),
        ("FILL(a, LINEAR)", [None, 4, pytest.approx(-2 / 3), pytest.approx(-16 / 3), -10]),
        ("FILL(a, b)", [1, 4, 3, None, -10]),
        ("FILL(a, MIN(a))", [-10, 4, -10, -10, -10]),
        ("RATE(a)", [None, None, None, None, -14 / 180]),
        ("DIFF(a)", [None, None, None, None, -14]),
        ("DIFF_TIME(a)", [None, None, None, None, 180]),
        ("RUNNING_SUM(b)", [1, 3, 6, None, None]),
        ("ABS(a)", [None, 4, None, None, 10]),
        ("CEIL(a / 3)", [None, 2, None, None, -3]),
        ("FLOOR(a / 3)", [None, 1, None, None, -4]),
        ("LOG(a)", [None, math.log(4), None, None, None]),
        ("LOG10(a * 25)", [None, 2, None, None, None]),
        ("b / PERIOD(b)", [1 / 60, 2 / 60, 3 / 60, None, None]),
        ("TIME_SERIES(SUM(a))", [-6] * 5),
        ("TIME_SERIES(AVG(a) + DATAPOINT_COUNT(a))", [-1] * 5),
        ("TIME_SERIES(STDDEV(a))", [7] * 5),
        ("TIME_SERIES(METRIC_COUNT([a, b]))", [2] * 5),
        ("SUM([a, b])", [1, 6, 3, None, -10]),
        ("AVG([a, b])", [0.5, 3, 1.5, None, -5]),
        ("MAX([a, b])", [1, 4, 3, None, -10]),
        ("MIN([a, b])", [1, 2, 3, None, -10]),
        ("DATAPOINT_COUNT([a, b])", [1, 2, 1, None, 1]),
        ("STDDEV([a, b])", [0, 1, 0, None, 0]),
        ("SUM(100 / [a, b])", [100, 75, pytest.approx(100 / 3), None, -10]),
        ("SUM(METRICS())", [1, 6, 3, None, -10]),
        ('SUM(METRICS("b"))', [1, 2, 3, None, None]),
        ("SUM([METRICS('a'), METRICS('b')])", [1, 6, 3, None, -10]),
        ("SUM(SLICE(METRICS(), 1))", [1, 2, 3, None, None]),
        ("LAST(SORT(METRICS(), SUM, DESC))", [None, 4, None, None, -10]),
        ("FIRST(SORT(METRICS(), AVG, ASC, 1))", [None, 4, None, None, -10]),
        ("FIRST(SLICE(METRICS(), 5))", [None] * 5),
        ("MINUTE(a)", [0, 1, 2, 3, 4]),
        ("DAY(a) * 1000 + HOUR(a) + DATE(a) + MONTH(a) + YEAR(a)", [5972] * 5),  # a Thursday
        ("EPOCH(a)", [0, 60, 120, 180, 240]),
    ],
)
def test_functions(text: str, expected: Points) -> None:
    assert values(run(text, {"a": [None, 4, None, None, -10], "b": [1, 2, 3, None, None]})) == expected


def test_arrays_keep_the_labels_of_their_series() -> None:
    def names(text: str, **metrics: Points) -> list[str]:
        result = run(text, metrics)
        assert isinstance(result, list)
        return [one.label for one in result]

    assert names("SORT(FILL(-METRICS() / 2, 0), MIN, ASC)", a=[1], b=[5], c=[3]) == ["b", "c", "a"]
    assert names("REMOVE_EMPTY([a, b])", a=[None], b=[1]) == ["b"]
    assert names("SLICE(METRICS(), 1, 2)", a=[1], b=[2], c=[3]) == ["b"]
    assert names("""SEARCH('{A,B} x="y"', 'Sum', 10)""") == ['{A,B} x="y" Sum 10']
    assert names("""-SEARCH("it's", 'p99')""") == ["it's p99 None"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b", "unexpected text at 'b'"),
        ("a +", "unexpected end"),
        ("a $ b", r"unexpected text at '\$ b'"),
        ("nothing + 1", "'nothing' is not the Id of a query"),
        ("UPPER(a)", "Function 'UPPER' not found"),
        ("sum(a)", "unexpected text"),
        ("SERVICE_QUOTA(a)", "does not evaluate the function SERVICE_QUOTA"),
        ("SUM(a)", "expected a time series or an array of them as the result, found the scalar 3"),
        ("1 + 1", "found the scalar 2"),
        ("'text'", "found 'text'"),
        ("SUM(a, b)", "SUM: expected 1 arguments, found 2"),
        ("IF(a)", "IF: expected 2 to 3 arguments, found 1"),
        ("METRICS() / METRICS()", r"type\(s\) for /: '\[Array\[TimeSeries\], Array\[TimeSeries\]\]'"),
        ("METRICS() > 1", r"type\(s\) for >: '\[Array\[TimeSeries\], Scalar\]'"),
        ("IF(METRICS(), 1, 0)", "Unsupported operand"),
        ("SUM(1)", r"Unsupported operand type\(s\) for SUM: '\[Scalar\]'"),
        ("[a, 1]", "Unsupported operand"),
        ("SLICE(a, 1)", "Unsupported operand"),
        ("SLICE(METRICS(), -1)", "SLICE: expected a whole number of 0 and more, found -1"),
        ("SLICE(METRICS(), 1e999)", "SLICE: expected a whole number of 0 and more, found inf"),
        ("SORT(METRICS(), SUM, ASC, 1.5)", "SORT: expected a whole number of 0 and more, found 1.5"),
        ("SUM([a * 1e308, b * 1e307, a * 1e308])", "a value is too large"),
        ("SORT(METRICS(), COUNT, ASC)", "expected AVG, MIN, MAX or SUM, then ASC or DESC, found COUNT, ASC"),
        ("FILL(a, NEAREST)", "keyword NEAREST"),
        ("PERIOD(a + 1)", "expected the Id of a metric"),
        ("SEARCH(a, 'Sum')", "Unsupported operand"),
        ("a + " + "1" * 2048, "at most 2048 characters, found 2052"),
        ("-" * 2000 + "a", "nested too deeply"),
    ],
)
def test_what_is_wrong_is_refused(text: str, message: str) -> None:
    with pytest.raises(MathsError, match=message):
        run(text, {"a": [1, 2], "b": [3]})


def test_a_series_of_too_many_points_is_refused() -> None:
    assert values(run("TIME_SERIES(1)", {}, 100_800), 100_800) == [1] * 100_800
    with pytest.raises(MathsError, match="100801 data points exceeds the limit of 100,800"):
        run("TIME_SERIES(1)", {}, 100_801)


_points = st.lists(st.none() | st.integers(-1000, 1000), min_size=6, max_size=6)


@given(st.lists(_points, min_size=1, max_size=5))
def test_aggregates_over_arrays_are_those_of_each_moment(columns: list[list[int | None]]) -> None:
    metrics: dict[str, Points] = {f"m{at}": column for at, column in enumerate(columns)}
    moments = [[value for value in row if value is not None] for row in zip(*columns, strict=True)]
    for name, reference in {
        "SUM": sum,
        "MAX": max,
        "MIN": min,
        "AVG": lambda row: sum(row) / len(columns),
        "DATAPOINT_COUNT": len,
    }.items():
        expected = [reference(row) if row else None for row in moments]  # type: ignore[operator]
        assert values(run(f"{name}(METRICS())", metrics, 6), 6) == expected


@given(_points)
def test_steps_undo_the_running_sum_and_filling_leaves_what_is_there(points: list[int | None]) -> None:
    known = [value for value in points if value is not None]
    restored = [
        value for value in values(run("DIFF(RUNNING_SUM(m))", {"m": points}, 6), 6) if value is not None
    ]
    assert restored == known[1:]
    for filler in ("0", "REPEAT", "LINEAR", "m"):
        filled = values(run(f"FILL(m, {filler})", {"m": points}, 6), 6)
        assert all(new == old for new, old in zip(filled, points, strict=True) if old is not None)
    assert values(run("FILL(m, 0)", {"m": points}, 6), 6) == [value or 0 for value in points]


@given(st.lists(_points, min_size=1, max_size=5), st.sampled_from(["SUM", "MAX"]))
def test_sorting_is_by_the_whole_series(columns: list[list[int | None]], by: str) -> None:
    metrics = {f"m{at}": column for at, column in enumerate(columns)}
    result = run(f"SORT(METRICS(), {by}, DESC)", metrics, 6)
    assert isinstance(result, list)
    reduce = {"SUM": sum, "MAX": max}[by]
    ranks = [reduce(one.points.values()) for one in result if one.points]  # type: ignore[operator]
    assert ranks == sorted(ranks, reverse=True)
    assert len(result) == len(columns)
    assert all(one.points for one in result[: len(ranks)])


LAMBDA = ("AWS/Lambda", "Errors", (("FunctionName", "projectA-trial2"),))


def found(query: str, *metric: str) -> bool:
    """Whether a search finds a metric of (namespace, name, dimension value ...)."""
    namespace, name, *rest = metric
    dimensions = [(f"D{at}", value) for at, value in enumerate(rest)]
    return compile_search(query)(namespace, name, dimensions)


@pytest.mark.parametrize(
    ("query", "name", "expected"),
    [
        # The documentation's examples of tokens.
        ("count", "CustomCount1", True),
        ("Count", "CustomCount1", True),
        ("COUNT", "CustomCount1", True),
        ("1", "CustomCount1", True),
        ("customcount1", "CustomCount1", True),
        ("couNT", "CustomCount1", False),
        ("CustomCount", "CustomCount1", True),
        ("Count1", "CustomCount1", True),
        ("customcount", "CustomCount1", False),
        ("count1", "CustomCount1", False),
        ("oun", "CustomCount1", False),
        ("sdb", "SDBFailure", True),
        ("failure", "SDBFailure", True),
        ("trial", "Project2-trial333", True),
        ("333", "Project2-trial333", True),
        ("project2trial333", "Project2-trial333", True),
        ("network/errors", "Network-Errors-2", True),
        ("network+errors", "NetworkErrors2", True),
        ("Network_Errors", "Network-Errors-2", True),
        ("network-errors", "Network-Total-Errors", False),
        ('"CustomCount1"', "CustomCount1", True),
        ('"customcount1"', "CustomCount1", False),
        ('"Custom"', "CustomCount1", False),
        ('"Network_Errors_2"', "Network-Errors-2", False),
        (r'"Europe\\France Traffic\(Network\)"', r"Europe\France Traffic(Network)", True),
        ('MetricName="CustomCount1"', "CustomCount1", True),
        ("MetricName=count", "CustomCount1", True),
        ("Namespace=count", "CustomCount1", False),
        ("NOT count", "CustomCount1", False),
        ("NOT Namespace=AWS", "CustomCount1", True),
        ("count NOT 1", "CustomCount1", False),
        ("count OR nothing", "CustomCount1", True),
        ("count AND nothing", "CustomCount1", False),
        ("count nothing OR custom", "CustomCount1", True),
        ("count (nothing OR custom)", "CustomCount1", True),
        ("nothing (count OR custom)", "CustomCount1", False),
        ('MetricName=("A" OR "CustomCount1")', "CustomCount1", True),
        ("and", "AndMore", True),
    ],
)
def test_terms_match_tokens_or_whole_names(query: str, name: str, expected: bool) -> None:
    assert found(query, "Space", name) is expected
    assert found("{Space}, " + query, "Space", name) is expected


@pytest.mark.parametrize(
    ("query", "metric", "expected"),
    [
        ("{AWS/Lambda,FunctionName}", LAMBDA, True),
        ("{AWS/Lambda, FunctionName} Errors", LAMBDA, True),
        ("{AWS/Lambda}", LAMBDA, True),
        ("{AWS/Lambda,FunctionName,Resource}", LAMBDA, False),
        ("{AWS/Lambda,Resource}", LAMBDA, False),
        ("{AWS/EC2,FunctionName}", LAMBDA, False),
        ('{"A b", "C-d", E} x', ("A b", "x", (("E", "1"), ("C-d", "2"))), True),
        ("{AWS/Lambda,FunctionName} MetricName=errors FunctionName=trial2", LAMBDA, True),
        ('FunctionName="projectA-trial2"', LAMBDA, True),
        ('FunctionName = "projectA"', LAMBDA, False),
        ("functionname=trial", LAMBDA, False),
        (
            '{AWS/Lambda,FunctionName} MetricName="Errors" OR (MetricName="Invocations" AND (ProjectA OR x))',
            LAMBDA,
            True,
        ),
        ("FunctionName", LAMBDA, True),
    ],
)
def test_schemas_and_properties(
    query: str, metric: tuple[str, str, tuple[tuple[str, str], ...]], expected: bool
) -> None:
    assert compile_search(query)(*metric) is expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "found neither"),
        ("{A", "unexpected end"),
        ("a OR", "unexpected end in the search"),
        ("(a", "unexpected end"),
        ("a )", r"at '\)'"),
        ("{My-Space,D} a", "My-Space stands in the metric schema and needs double quotes"),
        ('"a (b)"', "must be escaped"),
        (":aws.AccountId=1", "does not search by :aws.AccountId"),
        ("x" * 1025, "at most 1024 characters, found 1025"),
    ],
)
def test_searches_that_are_wrong_are_refused(query: str, message: str) -> None:
    with pytest.raises(MathsError, match=message):
        compile_search(query)


@given(st.text(st.sampled_from("aB1 ()\\\"'-/=,{}"), min_size=1, max_size=20))
def test_an_exact_match_finds_what_it_quotes(name: str) -> None:
    escaped = "".join(f"\\{character}" if character in '"\\()' else character for character in name)
    assert found(f'"{escaped}"', "Space", name)
    assert found(f'D0="{escaped}"', "Space", "x", name)
    assert not found(f'"{escaped}"', "Space", f"{name}x")


def metric(name: str, namespace: str = "S", **dimensions: str) -> Metric:
    return Metric(namespace, name, tuple(sorted(dimensions.items())), "Sum")


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ([], []),
        ([metric("M", A="1")], ["M"]),
        ([metric("M", A="1", B="x"), metric("M", A="2", B="x")], ["1", "2"]),
        ([metric("M", A="1", B="x"), metric("M", A="1", B="y")], ["x", "y"]),
        ([metric("M", A="1", B="x"), metric("M", A="2", B="y")], ["1 x", "2 y"]),
        ([metric("M", A="1"), metric("N", A="2")], ["1 M", "2 N"]),
        ([metric("M", "S"), metric("M", "T")], ["S", "T"]),
        ([metric("M"), metric("M", A="1")], ["M", "1"]),
    ],
)
def test_labels_say_what_differs(metrics: list[Metric], expected: list[str]) -> None:
    assert labels.distinguish(metrics) == expected


def test_labels_with_placeholders() -> None:
    now = datetime(1970, 1, 1, 0, 10, tzinfo=timezone.utc)
    one = Series({60: 2, 120: 8.12345, 300: 5}, PERIOD, metric=metric("M", A="1"))

    def render(template: str, of: Series = one) -> str:
        return labels.render(template, of, "default", now, timezone(timedelta(hours=1)))

    assert render("plain") == "plain"
    assert render("[${MIN} ${MAX} ${AVG}] ${LABEL}") == "[2 8.123 5.041] default"
    assert render("${FIRST} ${LAST} ${SUM} ${DATAPOINT_COUNT}") == "2 5 15.123 3"
    assert render("${FIRST_LAST_RANGE} ${MIN_MAX_RANGE}") == "3 6.123"
    assert render("${MAX_TIME} ${LAST_TIME_RELATIVE}") == "1970-01-01 01:02:00 0:05:00"
    assert render("${FIRST_LAST_TIME_RANGE} ${MIN_MAX_TIME_RANGE}") == "0:04:00 0:01:00"
    assert render("${PROP('Dim.A')} ${PROP('MetricName')} ${PROP('Namespace')}") == "1 M S"
    assert render("${PROP('Stat')} ${PROP('Period')} ${PROP('Dim.B')}") == "Sum 60 "
    assert render("${MAX}", Series({}, PERIOD)) == "--"
    for wrong in ("${LABEL} ${LABEL}", "${SUM}" * 7, "${MEDIAN}", "${PROP('Colour')}"):
        with pytest.raises(MathsError, match="label"):
            render(wrong)


WORDS = "a b [ ] , , + - * / ^ == < AND OR 1 0 1e308 1e999 'x' REPEAT LINEAR DESC ASC SUM AVG ( )"
_words = st.sampled_from(WORDS.split()) | st.sampled_from([*FUNCTIONS]).map(lambda name: f"{name}(")


@given(st.lists(_words, min_size=1, max_size=9))
@settings(max_examples=300)
def test_whatever_is_asked_is_answered_or_refused(words: list[str]) -> None:
    text = " ".join(words)
    text += ")" * (text.count("(") - text.count(")"))
    with contextlib.suppress(MathsError):
        result = run(text, {"a": [1, 10**308], "b": []})
        for one in [result] if isinstance(result, Series) else result:
            assert all(map(math.isfinite, one.points.values()))
