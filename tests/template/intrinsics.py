"""What CloudFormation makes of the template, without deploying it: fast enough for many combinations."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
PSEUDO_PARAMETERS = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::StackName": "stack",
}
NO_VALUE = object()
"""What `AWS::NoValue` becomes; it leaves out the property or item."""


class Resolver:
    """Resolves intrinsic functions with parameters given; what refers to a resource becomes `<logical id>` or
    `<logical id>.<attribute>`."""

    def __init__(self, template: Mapping[str, Any], **parameters: str) -> None:
        self.template = template
        declared = template["Parameters"]
        assert parameters.keys() <= declared.keys()
        for name, value in parameters.items():
            assert re.fullmatch(declared[name].get("AllowedPattern", ".*"), value), f"{name}={value}"
        defaults = {name: str(rules["Default"]) for name, rules in declared.items() if "Default" in rules}
        self.values = PSEUDO_PARAMETERS | defaults | parameters

    @cached_property
    def resources(self) -> dict[str, dict[str, Any]]:
        """The resources that exist under these parameters, by logical id, resolved."""
        return {
            name: self.resolve(resource)
            for name, resource in self.template["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }

    def condition(self, name: str) -> bool:
        """Whether a condition of the template holds."""
        return bool(self.resolve(self.template["Conditions"][name]))

    def resolve(self, node: Any) -> Any:
        """A part of the template with all functions replaced by their values."""
        if isinstance(node, list):
            items = [self.resolve(item) for item in node]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if function := self._function(name, argument):
                return function(argument)
        resolved = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not NO_VALUE}

    def _function(self, name: str, argument: Any) -> Callable[[Any], Any] | None:
        functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._reference,
            "Fn::GetAtt": lambda value: self._reference(value if isinstance(value, str) else ".".join(value)),
            "Fn::If": lambda value: self.resolve(value[1 if self.condition(value[0]) else 2]),
            "Fn::Equals": lambda value: str(self.resolve(value[0])) == str(self.resolve(value[1])),
            "Fn::Not": lambda value: not self.resolve(value[0]),
            "Fn::And": lambda value: all(map(self.resolve, value)),
            "Fn::Or": lambda value: any(map(self.resolve, value)),
            "Fn::Join": lambda value: value[0].join(self.resolve(value[1])),
            "Fn::Sub": self._substitute,
        }
        if name == "Condition" and isinstance(argument, str):
            return self.condition
        assert name in functions or not name.startswith("Fn::"), f"{name} is not known here"
        return functions.get(name)

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.values:
            return self.values[name]
        assert name.split(".")[0] in self.template["Resources"], name
        return f"<{name}>"

    def _substitute(self, argument: str | list[Any]) -> str:
        text, values = (argument, {}) if isinstance(argument, str) else argument

        def value(found: re.Match[str]) -> str:
            literal, name = found.groups()
            if literal:
                return f"${{{name}}}"
            return str(self.resolve(values[name]) if name in values else self._reference(name))

        return re.sub(r"\$\{(!?)([^}]+)\}", value, text)


@cache
def _template() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_parse(TEMPLATE.read_text())
    return parsed


def resolver(**parameters: str) -> Resolver:
    """For the template, with parameters given."""
    return Resolver(_template(), **parameters)
