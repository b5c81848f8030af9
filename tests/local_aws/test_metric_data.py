"""GetMetricData's expressions and searches, by boto3."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_aws import LocalAws
from local_aws.cloudwatch.limits import check_put
from local_aws.cloudwatch.metric_data import get_metric_data
from local_aws.cloudwatch.store import MetricStore

from .wire import call

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)
START, END = NOW - timedelta(minutes=5), NOW
RANGE: dict[str, Any] = {"StartTime": START, "EndTime": END, "ScanBy": "TimestampAscending"}


def datum(name: str, minute: int, value: float, **dimensions: str) -> dict[str, Any]:
    return {
        "MetricName": name,
        "Timestamp": START + timedelta(minutes=minute),
        "Value": value,
        "Dimensions": [{"Name": key, "Value": text} for key, text in dimensions.items()],
    }


def expression(text: str, identifier: str = "e", **more: Any) -> dict[str, Any]:
    return {"Id": identifier, "Expression": text, **more}


def metric(name: str, identifier: str, stat: str = "Sum", **dimensions: str) -> dict[str, Any]:
    described = {
        "Namespace": "Shop",
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": text} for key, text in dimensions.items()],
    }
    return {"Id": identifier, "MetricStat": {"Metric": described, "Period": 60, "Stat": stat}}


@pytest.fixture
def shop(aws: LocalAws) -> Any:
    """Two endpoints of test `a`, one of test `b`, and each test's total."""
    aws.clock.set(NOW)
    client = aws.client("cloudwatch")
    data = [
        datum("Requests", 0, 10, Test="a", Method="GET", Name="/"),
        datum("Requests", 1, 30, Test="a", Method="GET", Name="/"),
        datum("Requests", 1, 5, Test="a", Method="POST", Name="/cart"),
        datum("Failures", 1, 1, Test="a", Method="POST", Name="/cart"),
        datum("Requests", 1, 7, Test="b", Method="GET", Name="/"),
        datum("Requests", 0, 10, Test="a"),
        datum("Requests", 1, 35, Test="a"),
        datum("Failures", 1, 7, Test="a"),
    ]
    client.put_metric_data(Namespace="Shop", MetricData=data)
    return client


def ask(client: Any, *queries: dict[str, Any], **options: Any) -> list[tuple[str, str, list[float]]]:
    answer = client.get_metric_data(MetricDataQueries=list(queries), **{**RANGE, **options})
    return [(found["Id"], found["Label"], found["Values"]) for found in answer["MetricDataResults"]]


SEARCH = """SEARCH('{Shop,Test,Method,Name} Test="a" MetricName="Requests"', 'Sum', 60)"""


def test_a_search_gives_one_result_for_each_metric(shop: Any) -> None:
    assert ask(shop, expression(SEARCH)) == [("e", "GET /", [10, 30]), ("e", "POST /cart", [5])]
    assert ask(shop, expression(SEARCH, Label="${PROP('Dim.Name')}: ${MAX}")) == [
        ("e", "/: 30", [10, 30]),
        ("e", "/cart: 5", [5]),
    ]
    assert [label for _, label, _ in ask(shop, expression(SEARCH, Label="now"))] == [
        "now GET /",
        "now POST /cart",
    ]
    named = [expression(SEARCH, "s", Label="${PROP('Dim.Name')}", ReturnData=False), expression("s / 5")]
    assert ask(shop, *named) == [("e", "/", [2, 6]), ("e", "/cart", [1])]
    assert [label for _, label, _ in ask(shop, *named[:1], expression("-s", Label="less"))] == [
        "less /",
        "less /cart",
    ]
    nothing = SEARCH.replace('"a"', '"c"')
    assert ask(shop, expression(nothing)) == []
    assert ask(shop, expression(f"SUM({nothing})")) == [("e", "e", [])]


def test_expressions_refer_to_metrics_and_to_each_other(shop: Any) -> None:
    queries = [
        expression("100 * f / r", "rate", Label="Failure rate", ReturnData=True),
        metric("Requests", "r", Test="a") | {"ReturnData": False},
        metric("Failures", "f", Test="a") | {"ReturnData": False},
        expression("rate / 100", "share"),
        expression(f"SUM({SEARCH}) - r", "difference", ReturnData=False),
        expression("difference == 0", "same"),
        expression("r / PERIOD(r)", "per_second", Label="${LABEL}, up to ${MAX}"),
        expression("FILL(METRICS(), 0)", "all"),
    ]
    assert ask(shop, *queries) == [
        ("rate", "Failure rate", [0, 20]),
        ("share", "share", [0, 0.2]),
        ("same", "same", [1, 1]),
        ("per_second", "per_second, up to 0.583", [10 / 60, 35 / 60]),
        ("all", "Requests", [10, 35, 0, 0, 0]),
        ("all", "Failures", [0, 7, 0, 0, 0]),
    ]


def test_the_period_is_that_of_the_search_or_of_its_query(shop: Any) -> None:
    sums = "SEARCH('{Shop,Test} Requests', 'Sum'%s)"
    [(_, _, by_default)] = ask(shop, expression(sums % ""))
    [(_, _, by_query)] = ask(shop, expression(sums % "", Period=60))
    [(_, _, by_search)] = ask(shop, expression(sums % ", 60", Period=300))
    assert (by_default, by_query, by_search) == ([45], [10, 35], [10, 35])
    assert ask(shop, expression("TIME_SERIES(3)", Period=60)) == [("e", "e", [3] * 5)]
    assert ask(shop, expression("TIME_SERIES(3)"), metric("Requests", "r") | {"ReturnData": False}) == [
        ("e", "e", [3] * 5)
    ]


def test_labels_of_metrics(shop: Any) -> None:
    asked = [
        metric("Requests", "x", Test="a"),
        metric("Failures", "y", Test="a") | {"Label": "${LABEL} at ${MAX_TIME}"},
    ]
    answer = ask(shop, *asked, LabelOptions={"Timezone": "-0130"})
    assert [label for _, label, _ in answer] == ["Requests", "Failures at 2026-11-21 10:26:00"]


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([expression("e + 1")], "Error in expression 'e': circular reference: e -> e"),
        (
            [expression("f + 1"), expression("g", "f"), expression("f", "g")],
            "'g': circular reference: e -> f -> g -> f",
        ),
        ([expression("m1 * 2")], "Error in expression 'e': 'm1' is not the Id of a query"),
        ([expression("1 +")], "Error in expression 'e': unexpected end"),
        ([expression("SEARCH('{Shop', 'Sum')")], "Error in expression 'e': SEARCH: unexpected end"),
        ([expression("SEARCH('Requests', 'p99.9.9')")], "p99.9.9 is not a statistic"),
        ([expression("SEARCH('Requests', 'Sum', 7)")], "SEARCH.Period"),
        ([expression(SEARCH, Period=7)], "MetricDataQueries.member.1.Period"),
        ([expression(f"{SEARCH} / {SEARCH}")], "Unsupported operand"),
        ([expression("SELECT AVG(x) FROM y")], "Metrics Insights"),
        ([expression(SEARCH, Label="${NOTHING}")], "Error in the label of 'e': unknown dynamic value"),
        ([expression(SEARCH, f"e{at}") for at in range(101)], "at most 100 search expressions"),
        ([expression("1", f"e{at}") for at in range(501)], "1 to 500 members, found 501"),
        ([metric("Requests", "m", "Median")], "Median is not a statistic"),
        ([metric("Requests", "m"), metric("Requests", "m")], "used twice"),
    ],
)
def test_what_is_wrong_is_a_validation_error(shop: Any, queries: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ClientError, match=message) as raised:
        ask(shop, *queries)
    assert raised.value.response["Error"]["Code"] == "ValidationError"


@pytest.mark.parametrize(("start", "end"), [(-1, 60), (0, 10**15), (60, 60)])
def test_times_that_cannot_be_are_refused(aws: LocalAws, start: int, end: int) -> None:
    parameters = {
        "MetricDataQueries": [expression("MINUTE(TIME_SERIES(1))")],
        "StartTime": start,
        "EndTime": end,
    }
    answer = call(aws, "json", "GetMetricData", parameters)
    assert (answer.status, answer.code) == (400, "ValidationError")


def test_a_search_finds_500_metrics_of_the_last_two_weeks(aws: LocalAws) -> None:
    aws.clock.set(NOW)
    client = aws.client("cloudwatch")
    data = [datum("Many", 0, 1, N=str(at)) for at in range(501)]
    client.put_metric_data(Namespace="Shop", MetricData=data)
    query = expression("SEARCH('{Shop,N} Many', 'Sum', 60)")
    answer = client.get_metric_data(MetricDataQueries=[query], **RANGE)
    assert len(answer["MetricDataResults"]) == 500
    assert [message["Code"] for message in answer["Messages"]] == ["MaxMetricsExceeded"]
    aws.clock.advance(timedelta(weeks=2))
    assert ask(client, query) == []


_cells = st.dictionaries(
    st.tuples(st.integers(0, 4), st.sampled_from("abc"), st.sampled_from("xy")), st.integers(1, 100)
)


@given(_cells)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_the_sum_of_a_search_is_the_sum_by_hand(cells: dict[tuple[int, str, str], int]) -> None:
    store = MetricStore()
    data = [datum("M", minute, value, A=a, B=b) for (minute, a, b), value in cells.items()]
    if data:
        store.put(*check_put({"Namespace": "Shop", "MetricData": [*data, datum("M", 0, 1000, A="a")]}, NOW))
    query = expression("""SUM(SEARCH('{Shop,B,A} M NOT A="c"', 'Sum', 60))""")
    [found] = get_metric_data(store, {**RANGE, "MetricDataQueries": [query]}, NOW)["MetricDataResults"]
    expected: dict[datetime, int] = {}
    for (minute, a, _), value in sorted(cells.items()):
        if a != "c":
            moment = START + timedelta(minutes=minute)
            expected[moment] = expected.get(moment, 0) + value
    assert dict(zip(found["Timestamps"], found["Values"], strict=True)) == expected
