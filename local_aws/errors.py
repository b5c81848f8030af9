"""AWS's errors, and their form in each protocol."""

from __future__ import annotations

import json
import uuid
from typing import Literal
from xml.sax.saxutils import escape

import cbor2

from local_aws.http import HttpResponse

Protocol = Literal["s3", "json", "cbor", "query"]

_CLIENT_ERRORS = range(400, 500)


class AwsError(Exception):
    """An error that the caller gets from AWS.

    `code` is the one that SDKs show; `shape` is the name of the error in the service's model, where that
    differs.
    """

    def __init__(self, status: int, code: str, message: str, shape: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.shape = shape or code


def request_id() -> str:
    """A new request id, as AWS puts one into each answer."""
    return str(uuid.uuid4())


def error_response(protocol: Protocol, error: AwsError) -> HttpResponse:
    """The answer that carries `error` in the given protocol."""
    identifier = request_id()
    fault = "Sender" if error.status in _CLIENT_ERRORS else "Receiver"
    # Both say the Query protocol's code to clients that ask for it: https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
    headers = [("x-amzn-RequestId", identifier), ("x-amzn-query-error", f"{error.code};{fault}")]
    if protocol == "cbor":
        body = cbor2.dumps({"__type": f"com.amazonaws#{error.shape}", "message": error.message})
        headers += [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]
        return HttpResponse(error.status, headers, body)
    if protocol == "json":
        text = json.dumps({"__type": f"com.amazonaws#{error.shape}", "message": error.message})
        return HttpResponse(
            error.status, [*headers, ("Content-Type", "application/x-amz-json-1.0")], text.encode()
        )
    code, message = escape(error.code), escape(error.message)
    if protocol == "s3":
        text = (
            f"<Error><Code>{code}</Code><Message>{message}</Message>"
            f"<RequestId>{identifier}</RequestId></Error>"
        )
        headers = [("x-amz-request-id", identifier), ("Content-Type", "application/xml")]
    else:
        text = (
            f"<ErrorResponse><Error><Type>{fault}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{identifier}</RequestId></ErrorResponse>"
        )
        headers = [("x-amzn-RequestId", identifier), ("Content-Type", "text/xml")]
    return HttpResponse(error.status, headers, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode())
