"""README and docs name what there is: metrics, log events, settings, parameters, alarms, messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from locust_hook.recording.settings import OPTIONS
from tests.template.intrinsics import resolver
from tests.template.names import ROOT, names

README = (ROOT / "README.md").read_text()
DASHBOARD = (ROOT / "docs" / "dashboard.md").read_text()


def table(text: str, *heading: str) -> list[list[str]]:
    """The cells of the table that begins with these columns."""
    lines = iter(text.splitlines())
    for line in lines:
        if cells(line)[: len(heading)] == list(heading):
            next(lines)
            return list(rows(lines))
    raise AssertionError(f"no table of {heading}")


def rows(lines: Iterator[str]) -> Iterator[list[str]]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield cells(line)


def cells(line: str) -> list[str]:
    # A pipe within a cell is written with a backslash before it.
    inner = re.fullmatch(r"\|(.*)\|", line.strip())
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", inner[1])] if inner else []


def bare(cell: str) -> str:
    return cell.strip("`")


@pytest.fixture(scope="module")
def parameters() -> dict[str, Any]:
    declared: dict[str, Any] = resolver().template["Parameters"]
    return declared


# -- Metrics and log events ------------------------------------------------------------------------


def test_readme_and_docs_list_the_metrics_of_load_tests() -> None:
    documented: dict[str, tuple[str, set[tuple[str, ...]]]] = {}
    for text in (README, DASHBOARD):
        for metrics, unit, dimensions, _ in table(text, "metric", "unit", "dimensions"):
            sets = {tuple(re.sub(r" \(.*", "", one).split(", ")) for one in dimensions.split(" · ")}
            documented |= dict.fromkeys(metrics.split(", "), (unit, sets))
    published = names()
    assert documented == {
        metric: (published.units[metric], sets) for metric, sets in published.metrics.items()
    }
    assert f"namespace `{published.namespace}`" in README


def test_docs_list_the_relay_s_own_metrics() -> None:
    documented = {metric: unit for metric, unit, _ in table(DASHBOARD, "metric", "unit", "what")}
    published = names()
    assert documented == {metric: published.units[metric] for metric in published.relay_metrics}
    assert f"namespace `{published.relay_namespace}`" in DASHBOARD


def test_docs_list_the_fields_of_log_events() -> None:
    common = {"type", "test", "run", "source"}
    documented = {
        kind: common | set(fields.split(", ")) for kind, _, fields in table(DASHBOARD, "type", "one for")
    }
    assert documented == names().log_events


# -- Settings --------------------------------------------------------------------------------------


def test_readme_lists_the_relay_s_settings() -> None:
    documented = {
        bare(variable): (parameter or None, bare(default))
        for parameter, variable, default, _ in table(README, "parameter", "variable", "default")
    }
    log_group = documented.pop("RELAY_LOG_GROUP")
    assert log_group == (None, "/locust/<stack>")
    expected = {setting.name: (setting.parameter, setting.default) for setting in names().settings}
    assert expected.pop("RELAY_LOG_GROUP") == (None, None)
    assert documented == expected


def test_the_function_gets_every_setting_from_its_parameter(parameters: dict[str, Any]) -> None:
    function = resolver().template["Resources"]["RelayFunction"]["Properties"]
    environment = function["Environment"]["Variables"]
    for setting in names().settings:
        given = environment.pop(setting.name)
        if setting.parameter:
            assert given == {"Ref": setting.parameter}
            assert str(parameters[setting.parameter]["Default"]) == setting.default
        elif setting.name == "RELAY_LOG_GROUP":
            assert given == {"Ref": "LogGroup"}
        else:
            assert str(given) == setting.default
    assert environment == {}


def test_readme_lists_every_parameter_with_its_default(parameters: dict[str, Any]) -> None:
    documented = {
        parameter: bare(default) for parameter, _, default, _ in table(README, "parameter", "variable")
    }
    documented.pop("")
    for group, defaults, _ in table(README, "parameter", "default"):
        found = group.split(", ")
        values = defaults.split(", ")
        if len(values) == 1:
            values *= len(found)
        documented |= {name: bare(value) for name, value in zip(found, values, strict=True)}
    assert documented == {
        name: str(rules["Default"]) if rules["Default"] != "" else "none"
        for name, rules in parameters.items()
    }


def test_readme_lists_the_hook_s_options() -> None:
    documented: dict[str, str] = {}
    for flags, defaults, _ in table(README, "option", "default"):
        found = [bare(flag) for flag in flags.split(", ")]
        values = defaults.rsplit(", ", len(found) - 1) if len(found) > 1 else [defaults]
        documented |= dict(zip(found, map(bare, values), strict=True))
    assert set(documented) == {option.flag for option in OPTIONS}
    # Where the default is no value, README says what happens then.
    given = {option.flag: option.default for option in OPTIONS if option.default}
    assert {flag: documented[flag] for flag in given} == given


# -- Alarms, queries, outputs, messages ------------------------------------------------------------


def test_docs_list_the_alarms() -> None:
    resources = resolver(AlarmTest="checkout", AlarmFailurePercent="1", AlarmP95Ms="1").resources.values()
    existing = {
        resource["Properties"]["AlarmName"].replace("stack", "<stack>", 1)
        for resource in resources
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }
    assert {bare(alarm) for alarm, _, _ in table(DASHBOARD, "alarm", "goes off when")} == existing


def test_docs_list_the_saved_queries() -> None:
    existing = {
        resource["Properties"]["Name"].removeprefix("stack/")
        for resource in resolver().resources.values()
        if resource["Type"] == "AWS::Logs::QueryDefinition"
    }
    assert {query for query, _ in table(DASHBOARD, "query", "finds")} == existing


def test_docs_list_the_parameters_of_systems(parameters: dict[str, Any]) -> None:
    (systems,) = [
        group["Parameters"]
        for group in resolver().template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        if "DashboardName" in group["Parameters"]
    ]
    documented: dict[str, str] = {}
    for found, examples, _ in table(DASHBOARD, "parameter", "example"):
        documented |= dict(zip(found.split(", "), examples.split(", "), strict=True))
    assert {bare(name) for name in documented} == set(systems) - {"DashboardName", "ShowWorkers"}
    assert "`ShowWorkers=true`" in DASHBOARD
    for name, example in documented.items():
        assert re.fullmatch(parameters[bare(name)]["AllowedPattern"], bare(example))


def test_names_that_the_docs_quote_exist(parameters: dict[str, Any]) -> None:
    """Words like `DashboardUrl`: a parameter, an output, a resource, an error, or a field of AWS's."""
    template = resolver().template
    known = {*parameters, *template["Outputs"], *template["Resources"]}
    sources = " ".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.rs")))
    errors = set(re.findall(r'=> "([A-Z]\w+)"', sources))
    quoted = set(re.findall(r"`([A-Z][a-z]+[A-Z]\w+)`", README + DASHBOARD))
    assert {"DashboardUrl", "TimestampTooOld"} <= quoted
    assert quoted - known - errors - {"PutMetricData"} == set()


def test_messages_that_readme_explains_are_said() -> None:
    paths = [*(ROOT / "locust_hook").rglob("*.py"), *(ROOT / "src").rglob("*.rs")]
    sources = " ".join(path.read_text() for path in paths)
    # Texts that stand in several literals, one after the other.
    joined = re.sub(r'"\s*\n\s*f?"', "", sources)
    messages = [
        text
        for seen, _ in table(README, "you see", "it means")
        for text in re.findall(r"`([^`]+)`", seen)
        if " " in text
    ]
    assert len(messages) > 5
    for message in messages:
        assert message in joined, message
