"""A small evaluator of IAM policies: pure functions from documents to a decision.

What it does not know (NotAction, policy variables, unknown operators and context keys …) it refuses with
`PolicyError`, so that a policy is never half understood.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Context = Mapping[str, str]
"""Condition keys that the request has, in lower case, with their values."""

KNOWN_KEYS = frozenset(
    {
        "aws:principalaccount",
        "aws:principalarn",
        "aws:securetransport",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceip",
        "cloudwatch:namespace",
        "s3:prefix",
        "s3:x-amz-acl",
        "s3:x-amz-server-side-encryption",
    }
)
_ELEMENTS = {"Sid", "Effect", "Action", "Resource", "Condition", "Principal"}


class PolicyError(ValueError):
    """A policy that is broken, or uses what this evaluator does not know."""


class Decision(enum.Enum):
    """What policies say about a request."""

    ALLOW = "allow"
    EXPLICIT_DENY = "explicit deny"
    IMPLICIT_DENY = "implicit deny"


@dataclass(frozen=True)
class Statement:
    """One checked statement. `principals` None: an identity's own policy."""

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    principals: tuple[str, ...] | None
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]


@functools.lru_cache(maxsize=1024)
def parse(document: str) -> tuple[Statement, ...]:
    """A policy document (JSON text) as statements."""
    try:
        policy = json.loads(document)
    except ValueError as error:
        raise PolicyError(f"expected a policy in JSON, found: {error}") from None
    statements = policy.get("Statement") if isinstance(policy, dict) else None
    if not statements:
        raise PolicyError("expected a policy with at least one Statement, found none")
    return tuple(_statement(statement) for statement in _list(statements))


def _statement(raw: Mapping[str, Any]) -> Statement:
    if unknown := set(raw) - _ELEMENTS:
        raise PolicyError(f"local AWS does not evaluate the policy element {', '.join(sorted(unknown))}")
    effect = raw.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise PolicyError(f"expected the Effect Allow or Deny, found {effect!r}")
    actions, resources = _list(raw.get("Action", [])), _list(raw.get("Resource", []))
    if not actions:
        raise PolicyError("expected a statement with an Action, found none")
    for text in [*actions, *resources]:
        if "${" in text:
            raise PolicyError(f"local AWS does not evaluate policy variables, found {text}")
    principals = _principals(raw["Principal"]) if "Principal" in raw else None
    return Statement(effect, tuple(actions), tuple(resources), principals, tuple(_conditions(raw)))


def _principals(raw: str | Mapping[str, Any]) -> tuple[str, ...]:
    if isinstance(raw, str):
        return (raw,)
    found: list[str] = []
    for kind, values in raw.items():
        if kind not in ("AWS", "Service"):
            raise PolicyError(f"local AWS does not evaluate principals of kind {kind}")
        found += _list(values)
    return tuple(found)


def _conditions(raw: Mapping[str, Any]) -> Iterable[tuple[str, str, tuple[str, ...]]]:
    for operator, keys in raw.get("Condition", {}).items():
        if operator.removesuffix("IfExists") not in _OPERATORS:
            raise PolicyError(f"local AWS does not evaluate the condition operator {operator}")
        for key, values in keys.items():
            if key.lower() not in KNOWN_KEYS:
                raise PolicyError(f"local AWS does not know the condition key {key}")
            texts = tuple(
                str(value).lower() if isinstance(value, bool) else str(value) for value in _list(values)
            )
            if any("${" in text for text in texts):
                raise PolicyError(f"local AWS does not evaluate policy variables, found in {key}")
            yield operator, key.lower(), texts


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@functools.lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in text), re.DOTALL)


def like(value: str, pattern: str) -> bool:
    """Whether `value` matches an IAM pattern, in which `*` stands for any text and `?` for one character."""
    return _pattern(pattern).fullmatch(value) is not None


def _in_network(value: str, network: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(network, strict=False)


_Operator = tuple[Callable[[str, str], bool], bool]
# The comparison of the request's value with one of the policy's, and whether the operator negates it.
_OPERATORS: dict[str, _Operator] = {
    "StringEquals": (str.__eq__, False),
    "StringNotEquals": (str.__eq__, True),
    "StringLike": (like, False),
    "StringNotLike": (like, True),
    "ArnEquals": (like, False),
    "ArnLike": (like, False),
    "ArnNotLike": (like, True),
    "Bool": (lambda value, wanted: value.lower() == wanted.lower(), False),
    "IpAddress": (_in_network, False),
    "NotIpAddress": (_in_network, True),
}


def _condition_holds(operator: str, key: str, wanted: Sequence[str], context: Context) -> bool:
    compare, negated = _OPERATORS[operator.removesuffix("IfExists")]
    value = context.get(key)
    if value is None:
        # A missing key fails a positive operator and passes a negated one and any ...IfExists.
        return negated or operator.endswith("IfExists")
    return any(compare(value, text) for text in wanted) != negated


def _applies(
    statement: Statement, action: str, resource: str, principal: Sequence[str], context: Context
) -> bool:
    return (
        any(like(action.lower(), pattern.lower()) for pattern in statement.actions)
        # A trust policy has no Resource: it stands on its role.
        and (not statement.resources or any(like(resource, pattern) for pattern in statement.resources))
        and (statement.principals is None or bool({"*", *principal} & set(statement.principals)))
        and all(_condition_holds(*condition, context) for condition in statement.conditions)
    )


def evaluate(
    documents: Iterable[str], action: str, resource: str, context: Context, principal: Sequence[str] = ()
) -> Decision:
    """What the policies say: a Deny that applies wins, then an Allow; else the answer is an implicit deny.

    `principal` holds every name under which a resource's policy may name the caller.
    """
    decision = Decision.IMPLICIT_DENY
    for document in documents:
        for statement in parse(document):
            if _applies(statement, action, resource, principal, context):
                if statement.effect == "Deny":
                    return Decision.EXPLICIT_DENY
                decision = Decision.ALLOW
    return decision
