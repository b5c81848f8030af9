"""A SAM template made ready for moto's CloudFormation: pure functions from template to template."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

_SUBSTITUTION = re.compile(r"\$\{([^!}][^}]*)\}")
Template = dict[str, Any]


class TemplateError(ValueError):
    """A template or a parameter that CloudFormation would refuse, or that local AWS does not know."""


def translate(path: Path, parameters: Mapping[str, str], region: str) -> Template:
    """The template at `path`, translated by SAM's translator; functions get a placeholder as code."""
    template = yaml_parse(path.read_text())
    if not isinstance(template, dict) or "Resources" not in template:
        raise TemplateError(f"{path}: expected a template with Resources, found none")
    for resource in template["Resources"].values():
        if resource.get("Type") == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://placeholder/function.zip"
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=region))
    translated: Template = translator.translate(template, dict(parameters))
    for resource in translated["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"]["Code"] = {"ZipFile": "placeholder"}
    return translated


def check_parameters(template: Template, given: Mapping[str, str]) -> None:
    """Refuse what CloudFormation refuses: unknown, missing and out-of-bounds parameters."""
    declared = template.get("Parameters", {})
    if unknown := sorted(set(given) - set(declared)):
        raise TemplateError(
            f"expected parameters of {', '.join(sorted(declared))}, found {', '.join(unknown)}"
        )
    for name, rules in declared.items():
        if name not in given and "Default" not in rules:
            raise TemplateError(f"parameter {name}: expected a value, found none")
        value = str(given.get(name, rules.get("Default")))
        allowed = [str(item) for item in rules.get("AllowedValues", [])]
        if allowed and value not in allowed:
            raise TemplateError(f"parameter {name}: expected one of {', '.join(allowed)}, found {value!r}")
        # Of a list, each value has to match.
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
        for item in value.split(",") if rules.get("Type") == "CommaDelimitedList" else [value]:
            if "AllowedPattern" in rules and not re.fullmatch(rules["AllowedPattern"], item):
                raise TemplateError(
                    f"parameter {name}: expected a match of {rules['AllowedPattern']}, found {item!r}"
                )
        if not int(rules.get("MinLength", 0)) <= len(value) <= int(rules.get("MaxLength", 4096)):
            raise TemplateError(
                f"parameter {name}: found {len(value)} characters, outside MinLength..MaxLength"
            )
        if rules.get("Type") == "Number":
            _check_number(name, value, rules)


def _check_number(name: str, value: str, rules: Mapping[str, Any]) -> None:
    try:
        number = float(value)
    except ValueError:
        raise TemplateError(f"parameter {name}: expected a number, found {value!r}") from None
    low, high = float(rules.get("MinValue", "-inf")), float(rules.get("MaxValue", "inf"))
    if not low <= number <= high:
        raise TemplateError(f"parameter {name}: expected {low:g}..{high:g}, found {value}")


def check_cycles(template: Template) -> None:
    """Refuse resources that need each other, which CloudFormation cannot create; cfn-lint does not see it."""
    resources = template["Resources"]
    needs = {name: set(_references(resource)) & set(resources) for name, resource in resources.items()}
    path: list[str] = []
    done: set[str] = set()

    def visit(name: str) -> None:
        if name in path:
            raise TemplateError(
                f"Circular dependency between resources: {' -> '.join([*path[path.index(name) :], name])}"
            )
        if name not in done:
            path.append(name)
            for need in sorted(needs[name]):
                visit(need)
            done.add(path.pop())

    for name in resources:
        visit(name)


def _references(node: Any) -> Iterable[str]:
    """The logical ids that a part of a template refers to."""
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        match key:
            case "Ref":
                yield value
            case "DependsOn":
                yield from [value] if isinstance(value, str) else value
            case "Fn::GetAtt":
                yield value.partition(".")[0] if isinstance(value, str) else value[0]
            case "Fn::Sub":
                text = value if isinstance(value, str) else value[0]
                yield from (found.partition(".")[0] for found in _SUBSTITUTION.findall(text))
                yield from _references(value)
            case _:
                yield from _references(value)


def adapt(template: Template, elsewhere: Mapping[str, str]) -> Template:
    """The template with what moto gets wrong put right.

    - A log group's `Arn` ends in `:*`.
    - `Fn::Equals` compares texts, so numbers, booleans and parameters become text there; so do defaults.
    - The resources in `elsewhere` (logical id -> physical id) are left out, and references to them resolved.
    """
    groups = {n for n, resource in template["Resources"].items() if resource["Type"] == "AWS::Logs::LogGroup"}
    result: Template = copy.deepcopy({k: v for k, v in template.items() if k != "Transform"})
    for name in elsewhere:
        del result["Resources"][name]
    for rules in result.get("Parameters", {}).values():
        if "Default" in rules:
            rules["Default"] = _text(rules["Default"])

    references = _References(groups, elsewhere)
    for resource in result["Resources"].values():
        depends = resource.get("DependsOn", [])
        left = [
            name for name in ([depends] if isinstance(depends, str) else depends) if name not in elsewhere
        ]
        resource.pop("DependsOn", None)
        if left:
            resource["DependsOn"] = left
    for section in ("Conditions", "Resources", "Outputs"):
        if section in result:
            result[section] = transform(result[section], references.rewrite)
    return result


@dataclass(frozen=True)
class _References:
    """Rewrites references to log groups' ARNs, and to resources that moto does not create."""

    groups: set[str]
    elsewhere: Mapping[str, str]

    def rewrite(self, node: dict[str, Any]) -> Any:
        match node:
            case {"Ref": str(name)} if name in self.elsewhere:
                return self.elsewhere[name]
            case {"Fn::GetAtt": [str(name), "Arn"]} if name in self.groups:
                return {"Fn::Join": ["", [node, ":*"]]}
            case {"Fn::GetAtt": [str(name), attribute]} if name in self.elsewhere:
                raise TemplateError(f"local AWS does not know the attribute {attribute} of {name}")
            case {"Fn::Sub": str(text)}:
                return {"Fn::Sub": _SUBSTITUTION.sub(self._substitute, text)}
            case {"Fn::Sub": [str(text), values]}:
                return {"Fn::Sub": [_SUBSTITUTION.sub(self._substitute, text), values]}
            case {"Fn::Equals": [left, right]}:
                return {"Fn::Equals": [_compared(left), _compared(right)]}
        return node

    def _substitute(self, found: re.Match[str]) -> str:
        name, _, attribute = found[1].partition(".")
        if name in self.groups and attribute == "Arn":
            return f"{found[0]}:*"
        return found[0] if attribute else self.elsewhere.get(name, found[0])


def transform(node: Any, rewrite: Callable[[dict[str, Any]], Any]) -> Any:
    """`node` with every map in it, from the inside out, replaced by `rewrite` of it."""
    if isinstance(node, list):
        return [transform(item, rewrite) for item in node]
    if isinstance(node, dict):
        return rewrite({key: transform(value, rewrite) for key, value in node.items()})
    return node


def _compared(value: Any) -> Any:
    match value:
        case {"Ref": str(parameter)}:
            return {"Fn::Sub": f"${{{parameter}}}"}
    return _text(value)


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value
