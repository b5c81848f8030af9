"""The dashboard is valid with every choice of parameters, and names only what is published."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from tests.template.dashboard import Body, Reference, entries, log_fields, overlapping, references, searched
from tests.template.intrinsics import resolver
from tests.template.names import names

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
COLUMNS = 24
MAX_WIDGETS = 500
MAX_METRICS_OF_A_WIDGET = 500
MAX_VARIABLES = 25
MAX_VARIABLE_LABEL = 30
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html
MAX_SEARCH = 1024
# In an account and region; a dashboard that loads uses all of its own at once.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html
MAX_SEARCHES_A_SECOND = 50
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/graph-dynamic-labels.html
MAX_DYNAMIC_VALUES = 6

SYSTEM = {
    "AWS/ApplicationELB": {"LoadBalancer": "app/shop/0123456789abcdef"},
    "AWS/EC2 AutoScalingGroupName": {"AutoScalingGroup": "web servers [blue]"},
    "AWS/EC2 InstanceId": {"InstanceId": "i-0123456789abcdef0"},
    "AWS/ECS": {"EcsCluster": "shop"},
    "AWS/ECS ServiceName": {"EcsCluster": "shop", "EcsService": "checkout"},
}
"""What can be shown beside the test, and the parameters that say so."""


def body_with(**parameters: str) -> Body:
    """The dashboard's body as CloudFormation makes it."""
    properties = resolver(**parameters).resources["Dashboard"]["Properties"]
    body: Body = json.loads(properties["DashboardBody"])
    return body


@pytest.fixture(scope="module")
def body() -> Body:
    return body_with()


@pytest.fixture(scope="module")
def full_body() -> Body:
    everything = {name: value for parameters in SYSTEM.values() for name, value in parameters.items()}
    return body_with(Namespace="Load/Test.1_#-", ResolutionSeconds="60", ShowWorkers="true", **everything)


def metrics_of(body: Body) -> set[Reference]:
    return {reference for widget in body["widgets"] for reference in references(widget)}


def queries_of(body: Body) -> list[str]:
    return [widget["properties"]["query"] for widget in body["widgets"] if widget["type"] == "log"]


# -- It is valid -----------------------------------------------------------------------------------


def test_every_combination_of_systems_makes_a_valid_body(body: Body) -> None:
    for chosen in itertools.chain.from_iterable(
        itertools.combinations(SYSTEM, size) for size in range(1, len(SYSTEM) + 1)
    ):
        parameters = {name: value for system in chosen for name, value in SYSTEM[system].items()}
        combined = body_with(**parameters)
        assert combined["widgets"][: len(body["widgets"])] == body["widgets"]
        shown = metrics_of(combined) - metrics_of(body)
        dimensions = {(metric.namespace, *metric.dimensions) for metric in shown}
        expected = {
            ("AWS/ApplicationELB", "LoadBalancer"): "LoadBalancer" in parameters,
            ("AWS/EC2", "AutoScalingGroupName"): "AutoScalingGroup" in parameters,
            ("AWS/EC2", "InstanceId"): "InstanceId" in parameters,
            ("AWS/ECS", "ClusterName"): "EcsCluster" in parameters and "EcsService" not in parameters,
            ("AWS/ECS", "ClusterName", "ServiceName"): "EcsService" in parameters,
        }
        assert dimensions == {system for system, wanted in expected.items() if wanted}
        assert overlapping(combined["widgets"]) == []


def test_system_metrics_name_the_resources_given(full_body: Body) -> None:
    texts = json.dumps(full_body)
    for parameters in SYSTEM.values():
        for value in parameters.values():
            assert json.dumps(value) in texts


def test_widgets_stand_side_by_side(body: Body) -> None:
    assert overlapping(body["widgets"]) == []
    assert max(widget["x"] + widget["width"] for widget in body["widgets"]) == COLUMNS
    rows = {y for widget in body["widgets"] for y in range(widget["y"], widget["y"] + widget["height"])}
    assert rows == set(range(max(rows) + 1)), "a row is empty"


def test_limits_of_dashboards_are_kept(full_body: Body) -> None:
    widgets = full_body["widgets"]
    assert len(widgets) <= MAX_WIDGETS
    assert all(len(list(entries(widget))) <= MAX_METRICS_OF_A_WIDGET for widget in widgets)
    assert len(full_body["variables"]) <= MAX_VARIABLES
    assert all(len(variable["label"]) <= MAX_VARIABLE_LABEL for variable in full_body["variables"])
    expressions = [
        options["expression"] for widget in widgets for metric, options in entries(widget) if not metric
    ]
    searches = [text for expression in expressions for text in re.findall(r"SEARCH\('([^']+)'", expression)]
    assert 0 < len(searches) <= MAX_SEARCHES_A_SECOND
    assert max(map(len, searches)) + len("x" * 255) <= MAX_SEARCH
    labels = [options.get("label", "") for widget in widgets for _, options in entries(widget)]
    assert max(label.count("${") for label in labels) <= MAX_DYNAMIC_VALUES


def test_ids_are_unique_in_a_widget_and_expressions_name_them(full_body: Body) -> None:
    for widget in full_body["widgets"]:
        ids = [options["id"] for _, options in entries(widget) if "id" in options]
        assert len(set(ids)) == len(ids), widget
        for metric, options in entries(widget):
            if not metric:
                maths = re.sub(r"'[^']*'", "", options["expression"])
                used = set(re.findall(r"\b[a-z]\w*", maths))
                assert used <= set(ids) - {options["id"]}, widget


# -- Its variables ---------------------------------------------------------------------------------


def test_a_pattern_matches_its_placeholders_only(body: Body) -> None:
    patterns = {
        variable["id"]: variable["pattern"] for variable in body["variables"] if variable["type"] == "pattern"
    }
    assert set(patterns) == {"test", "run"}
    for widget in body["widgets"]:
        text = json.dumps(widget)
        for reference in references(widget):
            if reference.namespace == "Locust":
                assert re.search(patterns["test"], text)
        assert bool(re.search(patterns["run"], text)) == ("run like " in text), widget
    for query in queries_of(body):
        assert re.sub(patterns["test"], "checkout", query).count("test = 'checkout'") == 1
    narrowed = [query for query in queries_of(body) if re.search(patterns["run"], query)]
    assert narrowed
    for query in narrowed:
        assert "run like /^20261121T102900Z-4f3a$/" in re.sub(patterns["run"], "20261121T102900Z-4f3a", query)
        (every,) = re.findall(r"run like /(.+?)/", query)
        assert re.search(every, "any run")


def test_variables_are_filled_from_published_metrics(full_body: Body) -> None:
    for variable in full_body["variables"]:
        if "search" in variable:
            (reference,) = searched(variable["search"])
            assert reference.namespace == "Load/Test.1_#-"
            assert reference.dimensions in names().metrics[reference.metric]
            assert variable["populateFrom"] in reference.dimensions


@pytest.mark.parametrize(("resolution", "seconds"), [(1, 10), (5, 10), (10, 10), (30, 30), (60, 60)])
def test_the_first_period_is_no_shorter_than_the_metrics_resolution(resolution: int, seconds: int) -> None:
    body = body_with(ResolutionSeconds=str(resolution))
    (period,) = [variable for variable in body["variables"] if variable["id"] == "period"]
    assert period["defaultValue"] == str(seconds)
    assert str(seconds) in [choice["value"] for choice in period["values"]]
    assert {widget["properties"].get("period", seconds) for widget in body["widgets"]} == {seconds}


def test_expressions_have_the_widget_s_period(full_body: Body) -> None:
    """Without one they would have CloudWatch's default, five minutes, whatever their metrics have."""
    for widget in full_body["widgets"]:
        for metric, options in entries(widget):
            if not metric:
                assert options.get("period", widget["properties"].get("period")) == 60


def test_metrics_that_have_only_minutes_keep_their_period(full_body: Body) -> None:
    for widget in full_body["widgets"]:
        for metric, options in entries(widget):
            if metric and metric[0] != "Load/Test.1_#-":
                assert options["period"] == 60
                assert "period" not in widget["properties"], "the variable would change it"


def test_what_is_per_time_is_divided_by_its_period(full_body: Body) -> None:
    """A sum is per period, whichever that is."""
    for widget in full_body["widgets"]:
        for side, axis in widget["properties"].get("yAxis", {}).items():
            shown = [
                options.get("expression", "")
                for _, options in entries(widget)
                if options.get("visible", True) and options.get("yAxis", "left") == side
            ]
            assert shown
            is_rate = "per second" in axis["label"]
            assert [" / PERIOD(" in expression for expression in shown] == [is_rate] * len(shown), widget
            assert is_rate or "per " not in axis["label"], axis


def test_single_numbers_are_of_the_whole_time(body: Body) -> None:
    """The last period, which CloudWatch shows otherwise, is unfinished."""
    numbers = [widget for widget in body["widgets"] if widget["properties"].get("view") == "singleValue"]
    assert len(numbers) == 4
    for widget in numbers:
        assert widget["properties"]["setPeriodToTimeRange"] is True
        assert not any("PERIOD(" in options.get("expression", "") for _, options in entries(widget))


# -- It names what is published --------------------------------------------------------------------


def test_metrics_that_it_shows_are_published(body: Body) -> None:
    published = names()
    for metric in metrics_of(body):
        if metric.namespace == published.namespace:
            assert metric.dimensions in published.metrics[metric.metric]
        elif metric.namespace == published.relay_namespace:
            assert metric.metric in published.relay_metrics
            assert metric.dimensions == ()
        else:
            assert metric.namespace in ("AWS/Lambda", "AWS/SQS")


def test_every_metric_that_is_published_is_shown() -> None:
    published = names()
    shown = metrics_of(body_with(ShowWorkers="true"))
    assert {metric.metric for metric in shown if metric.namespace == published.namespace} == set(
        published.metrics
    )
    # How many requests were relayed is to be seen in the test's own metrics.
    assert {
        metric.metric for metric in shown if metric.namespace == published.relay_namespace
    } == published.relay_metrics - {"RequestsRelayed"}


def test_workers_are_shown_when_asked_for(body: Body) -> None:
    for system in ({}, {"EcsCluster": "shop"}):
        without, having = body_with(**system), body_with(ShowWorkers="true", **system)
        assert having["widgets"][: len(without["widgets"])] == without["widgets"]
        added = having["widgets"][len(without["widgets"]) :]
        assert len(added) == 3
        bottom = max(widget["y"] + widget["height"] for widget in without["widgets"])
        assert added[0]["y"] >= bottom
        assert overlapping(having["widgets"]) == []
    assert body_with(ShowWorkers="true")["widgets"][len(body["widgets"])]["y"] == max(
        widget["y"] + widget["height"] for widget in body["widgets"]
    )


def test_percentiles_are_shown_of_all_requests_and_by_endpoint(body: Body) -> None:
    wanted = {"p50", "p90", "p95", "p99"}
    overall, by_endpoint = set(), set()
    for widget in body["widgets"]:
        for metric, options in entries(widget):
            if metric[1:2] == ["ResponseTime"]:
                overall.add(options["stat"])
            elif not metric and "Method,Name" in options["expression"]:
                by_endpoint |= set(re.findall(r"\"ResponseTime\".*'(p\d+)'", options["expression"]))
    assert overall == by_endpoint == wanted


def test_queries_read_fields_of_log_events_that_exist(body: Body) -> None:
    events = names().log_events
    kinds: set[str] = set()
    for query in queries_of(body):
        read, fields = log_fields(query)
        kinds |= read
        assert fields <= set[str]().union(*(events[kind] for kind in read)), query
        assert query.startswith("SOURCE '<LogGroup>'\n| ")
    assert kinds == {"request", "error", "exception", "summary"}


def test_saved_queries_read_fields_of_log_events_that_exist() -> None:
    saved = [
        resource["Properties"]
        for resource in resolver().resources.values()
        if resource["Type"] == "AWS::Logs::QueryDefinition"
    ]
    for query in saved:
        kinds, fields = log_fields(query["QueryString"])
        assert fields <= set[str]().union(*(names().log_events[kind] for kind in kinds)), query
        assert query["Name"].startswith("stack/")
        assert query["LogGroupNames"] == ["<LogGroup>"]
    assert len(saved) == 4
