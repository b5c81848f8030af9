"""Logs Insights' query language without a service."""

from __future__ import annotations

import contextlib
import json
import math
import statistics
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_aws.insights.aggregates import AGGREGATES, percentile
from local_aws.insights.compiler import Context
from local_aws.insights.engine import DEFAULT_LIMIT, Event, run
from local_aws.insights.functions import FUNCTIONS
from local_aws.insights.language import parse
from local_aws.insights.values import MAX_DISCOVERED, Period, QueryError, Timestamp, discover, sort_key, text

# 2026-11-21 12:00:00 UTC
AT = 1_795_262_400_000
EVER = Context(0, 10 * AT, AT + 60_000)


def events(*messages: Any) -> list[Event]:
    """One event a second; what is no text becomes JSON."""
    return [
        Event(
            AT + 1000 * at,
            message if isinstance(message, str) else json.dumps(message),
            "run/source",
            "1:/group",
            AT + 5000,
        )
        for at, message in enumerate(messages)
    ]


def ask(query: str, *messages: Any, context: Context = EVER) -> list[dict[str, str]]:
    """Rows without @ptr."""
    result = run(parse(query), events(*messages), context)
    return [{name: value for name, value in row if name != "@ptr"} for row in result.rows]


SHOP = [
    {"type": "request", "name": "/", "status": 200, "ms": 10, "detail": {"user": "a", "tags": ["x", "y"]}},
    {"type": "request", "name": "/cart", "status": 500, "ms": 30.5, "error": "Boom [7]", "ok": False},
    {"type": "request", "name": "/cart", "status": 404, "ms": 20, "error": "", "ok": True},
    {"type": "exception", "message": "ValueError: 'x'", "count": 3, "foo-bar": 1, "empty": None},
]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("status = 500", [1]),
        ("status = '500'", [1]),
        ('status != "500"', [0, 2, 3]),
        ("status >= 404", [1, 2]),
        ("status > 404", [1]),
        ("status < 404 or status <= 404", [0, 2]),
        ("name = '/cart' and ms < 25", [2]),
        ("not (name = '/cart') and status = 200", [0]),
        ("not name = '/cart' and not ispresent(message)", [0]),
        ("name = '/' or name = '/cart' and status = 404", [0, 2]),
        ("name like 'car'", [1, 2]),
        ("name like /^.c/", [1, 2]),
        ("name like /(?i)CART$/", [1, 2]),
        ("name =~ /\\/c/", [1, 2]),
        ("name not like /c/", [0, 3]),
        ("name not like '/'", [3]),
        ("status in [200, '404']", [0, 2]),
        ("status not in [200, '404']", [1, 3]),
        ("ispresent(error)", [1, 2]),
        ("isPresent(empty)", []),
        ("isempty(error)", [0, 2, 3]),
        ("isblank(error) = 1 and type = 'request'", [0, 2]),
        ("ms / 10 - 1 = 1 + 0 * 2", [2]),
        ("ms % 20 = 10", [0]),
        ("-ms = -10", [0]),
        ("2 ^ 3 = 8 and ms = 10", [0]),
        ("status / 0 > 1", []),
        ("name + 1 > 0", []),
        ("name > 0 or name < 999 or 'a' >= 5", []),
        ("name > '/b'", [1, 2]),
        ("ok", [2]),
        ("ok = true", [2]),
        ("ok = 0", [1]),
        ("detail.user = 'a'", [0]),
        ("detail.tags.1 = 'y'", [0]),
        ("`foo-bar` = 1", [3]),
        ("@message like /ValueError/", [3]),
        ("@logStream = 'run/source' and @log = '1:/group' and count = 3", [3]),
        ("@timestamp = 1795262401000", [1]),
        ("toMillis(@timestamp) >= now() * 1000 - 58000", [2, 3]),
        ("strcontains(name, 'CART', true)", [1, 2]),
        ("greatest(ms, 15) = 15", [0]),
        ("coalesce(error, message, name) like 'o'", [1, 3]),
        ("if(status = 200, 'yes', 'no') = 'yes'", [0]),
        ("case(status = 200, 1, status = 500, 2) = 2", [1]),
        ("error = 'Boom [7]' # a comment", [1]),
        ("type = 'request' | where ms > 15 | filter ms < 25", [2]),
    ],
)
def test_filters(condition: str, expected: list[int]) -> None:
    rows = ask(f"fields @timestamp | filter {condition} | sort @timestamp", *SHOP)
    assert [row["@timestamp"] for row in rows] == [f"2026-11-21 12:00:0{at}.000" for at in expected]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("abs(0 - 2.5)", "2.5"),
        ("ceil(2.1)", "3"),
        ("floor(-2.1)", "-3"),
        ("round(2.5)", "3"),
        ("round(-2.5)", "-3"),
        ("round(2.345, 1)", "2.3"),
        ("least(3, '1', 2)", "1"),
        ("greatest(3, '10')", "10"),
        ("sqrt(16) + log(1)", "4"),
        ("sqrt(0 - 1)", None),
        ("1 - 2 - 3", "-4"),
        ("2 * 3 + 10 / 4", "8.5"),
        ("7 % 4", "3"),
        ("strlen('héé')", "3"),
        ("messageSize('hé')", "3"),
        ("concat('a', 1, missing, 'b')", "a1b"),
        ("toupper('aB')", "AB"),
        ("toLower('aB')", "ab"),
        ("trim('  a ')", "a"),
        ("ltrim('xyZxyfooxyZ', 'xyZ')", "fooxyZ"),
        ("rtrim('xyZfooxyxyZ', 'xyZ')", "xyZfoo"),
        ("substr('xyZfooxyZ', 3, 3)", "foo"),
        ("substr('xyZfoo', 3)", "foo"),
        ("replace('a.b.c', '.', '-')", "a-b-c"),
        ("strcontains('abc', 'bc')", "1"),
        ("strcontains('abc', 'BC')", "0"),
        ("startsWith('abc', 'ab') + endsWith('abc', 'bc')", "2"),
        ("coalesce(missing, 'x')", "x"),
        ("toupper(missing)", None),
        ("toNumber('12.50')", "12.5"),
        ("isNumeric('1e3') + isNumeric('1e')", "1"),
        ("toMillis(@timestamp)", str(AT)),
        ("toMillis('text')", None),
        ("fromMillis(1000)", "1970-01-01 00:00:01.000"),
        ("bin(1h)", "2026-11-21 12:00:00.000"),
        ("bin(300s)", "2026-11-21 12:00:00.000"),
        ("datefloor(@timestamp, 1d)", "2026-11-21 00:00:00.000"),
        ("dateceil(@timestamp, 1month)", "2026-12-01 00:00:00.000"),
        ("dateceil(@timestamp, 1h)", "2026-11-21 12:00:00.000"),
        ("datefloor(@timestamp, 1q)", "2026-10-01 00:00:00.000"),
        ("datefloor(@timestamp, 1year)", "2026-01-01 00:00:00.000"),
        ("fromMillis(1e300)", None),
        ("fromMillis('text')", None),
        ("datefloor(0 - 1, 1month)", None),
        ("now()", str(AT // 1000 + 60)),
        ("queryEndTime() - queryStartTime() - queryTimeRange()", "0"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("10 ^ 15", "1000000000000000"),
        ("10 ^ 20", "1e+20"),
        ("'it\\'s'", "it's"),
        ("true", "1"),
    ],
)
def test_functions(expression: str, expected: str | None) -> None:
    [row] = ask(f"fields {expression} as value", {})
    assert row.get("value") == expected


def test_columns() -> None:
    message = {"a": 1, "b": "x"}
    assert ask("", message) == [{"@timestamp": "2026-11-21 12:00:00.000", "@message": json.dumps(message)}]
    assert ask("filter a = 1", "plain text", message)[0]["@message"] == json.dumps(message)
    assert ask("fields a, b as c | fields a + 1", message) == [{"a": "1", "c": "x", "a + 1": "2"}]
    assert ask("fields a | display b | fields a", message) == [{"b": "x"}]
    assert ask("display a | display toupper( b )", message) == [{"toupper( b )": "X"}]
    assert ask("FIELDS a AS x | FIELDS x * 10 AS x | LIMIT 1", message) == [{"x": "10"}]
    assert ask("fields a, missing", message) == [{"a": "1"}]
    assert list(dict(run(parse("fields a"), events(message), EVER).rows[0])) == ["a", "@ptr"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("stats count(*)", [{"count(*)": "4"}]),
        (
            "stats count(), count(error), count(missing) as none",
            [{"count()": "4", "count(error)": "2", "none": "0"}],
        ),
        ("filter name = 'nothing' | stats count(*)", []),
        (
            "stats sum(ms) as total, avg(ms), min(ms), max(ms) by type",
            [
                {"type": "exception"},
                {
                    "type": "request",
                    "total": "60.5",
                    "avg(ms)": str(60.5 / 3),
                    "min(ms)": "10",
                    "max(ms)": "30.5",
                },
            ],
        ),
        ("filter ms > 0 | stats pct(ms, 50) as p50, pct(ms, 95) as p95", [{"p50": "20", "p95": "30.5"}]),
        ("stats count_distinct(name) as a, countDistinct(type) as b", [{"a": "2", "b": "2"}]),
        (
            "stats earliest(name) as e, latest(name) as l, sortsFirst(type) as f, sortsLast(type) as s",
            [{"e": "/", "l": "/cart", "f": "exception", "s": "request"}],
        ),
        (
            "stats stddev(status) as s, variance(status) as v by name | filter name = '/cart'",
            [{"name": "/cart", "s": "48", "v": "2304"}],
        ),
        (
            "stats sum(ms) / count(*) + 1 as x by type = 'request' as r | filter r",
            [{"r": "1", "x": str(60.5 / 3 + 1)}],
        ),
        ("stats values(status) as v by name | filter name = '/cart'", [{"name": "/cart", "v": "[404, 500]"}]),
        (
            "stats count(*) as n by bin(2s)",
            [
                {"bin(2s)": "2026-11-21 12:00:02.000", "n": "2"},
                {"bin(2s)": "2026-11-21 12:00:00.000", "n": "2"},
            ],
        ),
        ("stats count(*) by name | sort count(*) desc, name | limit 1", [{"name": "/cart", "count(*)": "2"}]),
        (
            "stats count(*) as n by name | stats max(n) as most, count(*) as groups",
            [{"most": "2", "groups": "3"}],
        ),
        (
            "stats count(*) as n by bin(1s) as @t | stats sum(n) as n by dateceil(@t, 1m) as m | sort m",
            [
                {"m": "2026-11-21 12:00:00.000", "n": "1"},
                {"m": "2026-11-21 12:01:00.000", "n": "3"},
            ],
        ),
        (
            "stats sum(ms) as s by name | fields s * 2 as twice | filter name = '/' | display twice",
            [{"twice": "20"}],
        ),
        ("STATS SUM(count) AS count BY source", [{"count": "3"}]),
    ],
)
def test_stats(query: str, expected: list[dict[str, str]]) -> None:
    assert ask(query, *SHOP) == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ('parse m "user=*, took *ms" as user, ms', {"user": "ann", "ms": "12"}),
        ('parse m "user=*," as user', {"user": "ann"}),
        ('parse m "took *" as rest', {"rest": "12ms (ok)"}),
        ('parse m "*=*, *" as a, b, c', {"a": "user", "b": "ann", "c": "took 12ms (ok)"}),
        ("parse m 'nothing *' as user", {}),
        ("parse m /user=(?<user>\\w+)/", {"user": "ann"}),
        ("parse m /(\\d+)ms \\((.*)\\)/ as ms, state", {"ms": "12", "state": "ok"}),
        ("parse missing '*' as user", {}),
        ('parse "took *ms" as ms', {"ms": "12"}),
        ('parse m "user=*," as user | parse user "a*" as rest', {"user": "ann", "rest": "nn"}),
    ],
)
def test_parse(command: str, expected: dict[str, str]) -> None:
    query = f"{command} | display user, ms, rest, a, b, c, state"
    assert ask(query, {"m": "user=ann, took 12ms (ok)"}) == [expected]


def test_sorting_is_natural() -> None:
    """The documentation's example."""
    ordered = [
        "!",
        "#",
        "*%04",
        "0#",
        "5A",
        "111A",
        "2345_",
        "@",
        "@_",
        "A",
        "A9876fghj",
        "a12345hfh",
        "0",
        "1",
        "2",
        "3",
        "10",
    ]
    found = ask("fields v | sort v | display v", *({"v": value} for value in reversed(ordered)))
    assert [row["v"] for row in found] == ordered
    found = ask("fields v | sort v desc | display v", *({"v": value} for value in ordered), {})
    assert [row.get("v") for row in found] == [*reversed(ordered), None]
    rows = [{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 1, "b": 3}]
    assert ask("fields a, b | sort a asc, b desc", *rows) == [
        {"a": "1", "b": "3"},
        {"a": "1", "b": "2"},
        {"a": "2", "b": "1"},
    ]


def test_dedup_keeps_the_first_of_each_and_what_is_missing() -> None:
    rows = [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 3}, {"b": 4}, {"b": 5}]
    assert [row["b"] for row in ask("fields b | dedup a", *rows)] == ["5", "4", "3", "2"]
    assert [row["b"] for row in ask("fields b | sort b | dedup a | limit 2", *rows)] == ["1", "3"]
    assert len(ask("fields b | dedup a, b", *rows)) == 5


def test_times_and_counts() -> None:
    query = parse("filter n != 2 | stats count(*) as n by n > 2 as large | filter n > 1")
    result = run(query, events(*({"n": at} for at in range(6))), Context(AT + 1000, AT + 4000, AT))
    assert (result.scanned, result.matched) == (4, 3)
    assert result.scanned_bytes == 4 * len('{"n": 1}')
    assert result.rows == [[("large", "1"), ("n", "2")]]
    many = events(*["x"] * (DEFAULT_LIMIT + 1))
    assert len(run(parse(""), many, EVER).rows) == DEFAULT_LIMIT
    limited = run(parse("limit 3"), many, EVER, 5)
    assert (len(limited.rows), limited.matched) == (3, DEFAULT_LIMIT + 1)
    assert len(run(parse("limit 10001"), many, EVER).rows) == DEFAULT_LIMIT + 1
    assert len(run(parse("stats count(*) by @timestamp"), many, EVER, 5).rows) == 5


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("fields a | pattern @message", "does not evaluate the command pattern, but fields, display"),
        ("unmask @message", "does not evaluate the command unmask"),
        ("fields a, | limit 1", r"unexpected text at '\| limit 1' \(line 1, position 11\)"),
        ("fields a\n| filter b ==", r"line 2, position 13"),
        ("fields a |", "unexpected end"),
        ("fields jsonParse(a)", "does not evaluate the function jsonparse"),
        ("filter sum(a) > 1", "sum can only be called in stats"),
        ("stats a", "expected functions such as count or sum, found a"),
        ("stats sum(a) + b", "expected functions such as count or sum, found b"),
        ("stats sum(a, b)", "sum\\(a, b\\): expected 1 arguments, found 2"),
        ("stats pct(a, 101)", "expected a percentage of 0 to 100"),
        ("stats pct(a)", "expected 2 arguments, found 1"),
        ("fields strlen()", "expected 1 arguments, found 0"),
        ("fields in (a)", "unexpected text at"),
        ("fields bin(5)", "expected a period such as 5m, found 5"),
        ("fields bin(5x)", "expected a period such as 30s, 5m or 1h, found 5x"),
        ("fields datefloor(@timestamp, 5)", "expected a period"),
        ("fields substr('a', 0 - 1)", "start and a length of 0 and more"),
        ("stats count(*) by a | fields b", "b is not there after stats, but a, count"),
        ("stats count(*) by a | stats sum(ms)", "ms is not there after stats"),
        ("stats count(*) as n by @logStream | stats sum(n) by bin(5m)", "@timestamp is not there"),
        ("stats count(*) as n by a | stats latest(n)", "latest need @timestamp"),
        ("sort a | stats count(*)", "sort and limit must come after the last stats"),
        ("limit 1 | stats count(*)", "sort and limit must come after the last stats"),
        ("dedup a | sort a", "dedup can only be followed by limit"),
        (" | ".join(["stats count(*) as n"] * 11), "at most 10 stats commands, found 11"),
        ("limit 0", "whole number of 1 and more, found 0"),
        ("limit 1.5", "whole number"),
        ("limit 100001", "at most 100,000, found 100,001"),
        ("fields a | SOURCE 'b'", "SOURCE must come before"),
        ("parse @message '* *' as a", "expected 2 aliases, found 1"),
        ("filter a like /(/", "is not a regular expression"),
        ("filter @message =~ /(a|a)*(a|a)*(a|a)*$/", "took more than"),
        ("filter " + "not " * 2400 + "n", "nested too deeply"),
        ("x" * 10_001, "at most 10000 characters, found 10001"),
    ],
)
def test_what_is_wrong_is_refused(query: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        ask(query, "a" * 40 + "b")


def test_sources() -> None:
    query = parse("SOURCE '/a' | source \"/b\" | SOURCE logGroups(namePrefix: ['/c', '/d']) | fields x")
    assert (query.groups, query.prefixes) == (("/a", "/b"), ("/c", "/d"))
    assert parse("SOURCE logGroups()").prefixes == ("",)
    assert parse("fields x").prefixes is None


def test_discovered_fields_are_bounded() -> None:
    assert len(discover(json.dumps({f"f{at}": at for at in range(MAX_DISCOVERED + 1)}))) == MAX_DISCOVERED
    assert discover('{"a": {"b": [1, {"c": true}], "d": null}, "@x": 2}') == {
        "a.b.0": 1,
        "a.b.1.c": 1,
        "@@x": 2,
    }
    assert discover("[1]") == discover("{broken") == discover("") == discover('{"a": NaN}') == {}
    assert discover('{"a":' * 100_000) == {}


def test_numbers_too_large_for_a_float_are_texts() -> None:
    rows = [{"n": 10**400}, {"n": 1e308}, {"n": 1e308}]
    assert ask("stats count(*) as c, sum(n) as s, max(n) as m, avg(n) as a", *rows) == [
        {"c": "3", "m": "1e+308"}
    ]
    assert ask("filter n > 1 | stats count(*) as c", *rows, '{"n": Infinity}') == [{"c": "2"}]


_records = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["/", "/cart", "GET /a b"]),
            "status": st.sampled_from([200, 404, 500]),
            "ms": st.integers(0, 1000) | st.floats(0, 1000),
        },
    ),
    max_size=30,
)


@given(_records, st.integers(0, 1000), st.sampled_from([1, 50, 90, 99.9, 100]))
def test_filter_and_stats_against_python(records: list[dict[str, Any]], least: int, percent: float) -> None:
    query = (
        f"filter ms >= {least} and status in [200, 500]"
        f" | stats count(*) as n, count(name) as named, sum(ms) as total, avg(ms) as mean, min(ms) as low,"
        f" max(ms) as high, pct(ms, {percent}) as p, stddev(ms) as deviation, count_distinct(name) as names"
        " by status"
        " | sort status desc"
    )
    expected = []
    for status in (500, 200):
        group = [r for r in records if r.get("status") == status and r.get("ms", -1) >= least]
        values = [r["ms"] for r in group]
        if group:
            expected.append(
                {
                    "status": status,
                    "n": len(group),
                    "named": sum("name" in r for r in group),
                    "total": math.fsum(values),
                    "mean": math.fsum(values) / len(values),
                    "low": min(values),
                    "high": max(values),
                    "p": sorted(values)[max(math.ceil(percent / 100 * len(values) - 1e-9), 1) - 1],
                    "deviation": statistics.pstdev(values),
                    "names": len({r["name"] for r in group if "name" in r}),
                }
            )
    found = [{name: float(value) for name, value in row.items()} for row in ask(query, *records)]
    assert found == [pytest.approx(row) for row in expected]


@given(_records, st.sampled_from(["name", "status", "ms"]), st.booleans(), st.integers(1, 40))
def test_sort_and_limit_against_python(
    records: list[dict[str, Any]], by: str, descending: bool, limit: int
) -> None:
    query = f"fields name, status, ms | sort {by} {'desc' if descending else 'asc'} | limit {limit}"
    found = [row.get(by) for row in ask(query, *records)]
    values = [record.get(by) for record in records]
    ordered = sorted(
        values, key=lambda value: (value is not None, value or 0 if by != "name" else value or "")
    )
    expected = [
        None if value is None else text(value) for value in (ordered[::-1] if descending else ordered)
    ]
    assert found == expected[:limit]


@given(
    st.integers(0, 4 * 10**12),
    st.integers(1, 70),
    st.sampled_from(["ms", "s", "m", "h", "d", "w", "mo", "q", "y"]),
)
def test_a_time_lies_in_its_period(time: int, count: int, unit: str) -> None:
    period, moment = Period(count, unit), Timestamp(time)
    begin, end = period.floor(moment), period.ceil(moment)
    assert begin <= moment <= end
    assert period.floor(begin) == begin == period.ceil(begin)
    assert period.floor(end) == end
    assert begin == moment or period.floor(Timestamp(end - 1)) == begin


@given(st.lists(st.integers(-50, 50), min_size=1), st.floats(0, 100))
def test_percentiles_are_the_nearest_rank(values: Sequence[int], percent: float) -> None:
    found = percentile(values, percent)
    assert sum(value <= found for value in values) / len(values) >= percent / 100 - 1e-9
    assert sum(value < found for value in values) / len(values) <= percent / 100 + 1e-9


@given(st.lists(st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)))
def test_everything_can_be_sorted(values: list[Any]) -> None:
    assert len(sorted(values, key=sort_key)) == len(values)


WORDS = """
    fields filter stats sort limit dedup parse display | a b missing d.0 huge @timestamp as by 1 0 1e300
    - + * / % ^ = != < >= , and or not like in [ ] 'x*' /x(.)/ 5m 1mo 9999w desc count(*) pct(a,50) bin(1m)
    true `q-r`
"""
_calls = st.sampled_from([*FUNCTIONS, *AGGREGATES, "now"]).map(lambda name: f"{name}(")
_words = st.sampled_from(WORDS.split()) | _calls
_starts = st.sampled_from(
    ["", "fields a |", "stats count(*) as n by a |", "stats", "fields", "filter", "sort"]
)


@given(_starts, st.lists(_words, max_size=8))
@settings(max_examples=300)
def test_whatever_is_asked_is_answered_or_refused(start: str, words: list[str]) -> None:
    query = " ".join([start, *words])
    query += ")" * (query.count("(") - query.count(")"))
    with contextlib.suppress(QueryError):
        ask(
            query,
            {"a": 1, "b": "x2", "d": [1, {"e": None}], "huge": 10**400},
            "text",
            {"a": -1e308, "b": "9" * 5000},
        )
