"""The dashboard names only metrics, dimensions and log fields that the relay publishes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's tags as what stands behind them."""


_Loader.add_multi_constructor(
    "!",
    lambda loader, _tag, node: loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None,
)


@pytest.fixture(scope="module")
def widgets() -> list[dict[str, Any]]:
    template = yaml.load((ROOT / "template.yaml").read_text(), _Loader)  # noqa: S506  # a SafeLoader
    body = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]
    found: list[dict[str, Any]] = json.loads(body)["widgets"]
    return found


def constants(path: str, pattern: str) -> set[str]:
    found = set(re.findall(pattern, (ROOT / path).read_text()))
    assert found
    return found


def test_searches_name_what_is_published(widgets: list[dict[str, Any]]) -> None:
    metrics = constants("src/plan/catalog.rs", r'Self::(\w+) => "\1"')
    dimensions = constants("src/config.rs", r'Self::(\w+) => "\1"') | {"Status", "UserClass"}
    searches = re.findall(
        r"SEARCH\('\{\$\{Namespace\},([\w,]+)\} MetricName=\\\"(\w+)\\\"'", json.dumps(widgets)
    )
    assert len(searches) == json.dumps(widgets).count("SEARCH(") == 9
    for schema, metric in searches:
        assert metric in metrics
        assert set(schema.split(",")) <= dimensions
    assert {metric for _, metric in searches} == {
        "Users",
        "Requests",
        "Failures",
        "ResponseTime",
        "Responses",
    }


def test_the_relay_s_own_metrics_exist(widgets: list[dict[str, Any]]) -> None:
    own = constants("src/telemetry.rs", r'SelfMetric = \("(\w+)"')
    rows = [row for widget in widgets for row in widget["properties"].get("metrics", []) if len(row) > 1]
    assert {row[0] for row in rows} == {"Locust/Relay"}
    assert {row[1] for row in rows} <= own


def test_queries_filter_by_types_of_log_events_that_exist(widgets: list[dict[str, Any]]) -> None:
    logs = (ROOT / "src/plan/logs.rs").read_text()
    queries = [widget["properties"]["query"] for widget in widgets if widget["type"] == "log"]
    assert len(queries) == 2
    for query in queries:
        (kind,) = re.findall(r"filter type = '(\w+)'", query)
        assert f'"{kind}", fields' in logs


def test_widgets_stand_side_by_side(widgets: list[dict[str, Any]]) -> None:
    taken: set[tuple[int, int]] = set()
    for widget in widgets:
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
