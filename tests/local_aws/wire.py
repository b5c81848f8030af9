"""CloudWatch calls in both protocols, without an SDK's own checks in between."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any, Literal, NamedTuple

import cbor2

from local_aws import LocalAws
from local_aws.access import ROOT_ACCESS_KEY

Protocol = Literal["cbor", "json"]
CREDENTIAL = f"AWS4-HMAC-SHA256 Credential={ROOT_ACCESS_KEY}/20260101/us-east-1/monitoring/aws4_request"
SERVICE = "GraniteServiceVersion20100801"


class Answer(NamedTuple):
    status: int
    body: Any
    headers: Any

    @property
    def code(self) -> str:
        return str(self.headers["x-amzn-query-error"]).partition(";")[0]


def call(
    aws: LocalAws,
    protocol: Protocol,
    operation: str,
    parameters: dict[str, Any],
    *,
    compress: bool = False,
    raw: bytes | None = None,
) -> Answer:
    """One call as root, answered with the decoded body."""
    headers = {"Authorization": CREDENTIAL}
    if protocol == "cbor":
        path = f"/service/{SERVICE}/operation/{operation}"
        headers |= {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
        body = cbor2.dumps(parameters, datetime_as_timestamp=True)
    else:
        path = "/"
        headers |= {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"{SERVICE}.{operation}"}
        body = json.dumps(parameters, default=datetime.timestamp).encode()
    body = body if raw is None else raw
    if compress:
        body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
    request = urllib.request.Request(aws.endpoint_url + path, body, headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310
            return Answer(response.status, _decode(protocol, response.read()), response.headers)
    except urllib.error.HTTPError as error:
        return Answer(error.code, _decode(protocol, error.read()), error.headers)


def _decode(protocol: Protocol, body: bytes) -> Any:
    return cbor2.loads(body) if protocol == "cbor" else json.loads(body)
