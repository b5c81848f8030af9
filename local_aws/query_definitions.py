"""Saved Logs Insights queries: PutQueryDefinition, DescribeQueryDefinitions and DeleteQueryDefinition.

https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutQueryDefinition.html
"""

from __future__ import annotations

import base64
import threading
import uuid
from collections.abc import Mapping
from typing import Any, NoReturn

from local_aws.clock import Clock
from local_aws.errors import AwsError
from local_aws.insights.language import MAX_QUERY

OPERATIONS = frozenset({"PutQueryDefinition", "DescribeQueryDefinitions", "DeleteQueryDefinition"})
MAX_NAME = 255
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
MAX_DEFINITIONS = 1000
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_DescribeQueryDefinitions.html
MAX_PAGE = 1000


class QueryDefinitions:
    """The saved queries; a name such as `folder/query` stands in a folder."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._definitions: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def answer(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one of `OPERATIONS`."""
        with self._lock:
            match operation:
                case "PutQueryDefinition":
                    return self._put(parameters)
                case "DescribeQueryDefinitions":
                    return self._describe(parameters)
            del self._definitions[self._known(parameters)]
            return {"success": True}

    def _known(self, parameters: Mapping[str, Any]) -> str:
        identifier = str(parameters.get("queryDefinitionId"))
        if identifier not in self._definitions:
            raise AwsError(
                400, "ResourceNotFoundException", f"Query definition '{identifier}' does not exist"
            )
        return identifier

    def _put(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        name, query = str(parameters.get("name") or ""), str(parameters.get("queryString") or "")
        if not 1 <= len(name) <= MAX_NAME:
            _refuse(f"name: expected 1 to {MAX_NAME} characters, found {len(name)}")
        if not 1 <= len(query) <= MAX_QUERY:
            _refuse(f"queryString: expected 1 to {MAX_QUERY} characters, found {len(query)}")
        if parameters.get("queryDefinitionId"):
            identifier = self._known(parameters)
        elif len(self._definitions) >= MAX_DEFINITIONS:
            raise AwsError(400, "LimitExceededException", f"there can be {MAX_DEFINITIONS} query definitions")
        else:
            identifier = str(uuid.uuid4())
        self._definitions[identifier] = {
            "queryDefinitionId": identifier,
            "queryLanguage": parameters.get("queryLanguage", "CWLI"),
            "name": name,
            "queryString": query,
            "logGroupNames": list(parameters.get("logGroupNames") or []),
            "lastModified": int(self._clock.seconds() * 1000),
        }
        return {"queryDefinitionId": identifier}

    def _describe(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        prefix = str(parameters.get("queryDefinitionNamePrefix") or "")
        found = sorted(
            (one for one in self._definitions.values() if one["name"].startswith(prefix)),
            key=lambda one: (one["name"], one["queryDefinitionId"]),
        )
        count = int(parameters.get("maxResults") or MAX_PAGE)
        if not 1 <= count <= MAX_PAGE:
            _refuse(f"maxResults: expected 1 to {MAX_PAGE}, found {count}")
        start = position(parameters.get("nextToken"))
        more = {"nextToken": token(start + count)} if start + count < len(found) else {}
        return {"queryDefinitions": found[start : start + count], **more}


def token(at: int) -> str:
    """The `nextToken` that continues at a position."""
    return base64.urlsafe_b64encode(str(at).encode()).decode()


def position(given: str | None) -> int:
    """The position that a `nextToken` stands for; 0 without one."""
    if not given:
        return 0
    try:
        return int(base64.urlsafe_b64decode(given))
    except ValueError:
        _refuse("The specified nextToken is invalid.")


def _refuse(message: str) -> NoReturn:
    raise AwsError(400, "InvalidParameterException", message)
