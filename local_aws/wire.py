"""A call's parameters, decoded from its body."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from typing import Any
from urllib.parse import parse_qsl

import cbor2

from local_aws.calls import Call
from local_aws.errors import AwsError

# JSON of a full PutLogEvents (1 MiB of messages) can be six times as large when every character is escaped.
MAX_BODY_BYTES = 8 * 1024 * 1024


def parameters_of(call: Call, max_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """A call's parameters; {} for S3. What cannot be read, or has more than `max_bytes`, is an `AwsError`.

    gzip is undone, so that moto need not know of it.
    """
    if call.protocol == "s3":
        return {}
    _unpack(call, max_bytes)
    body = call.http.body
    if len(body) > max_bytes:
        raise AwsError(413, "RequestEntityTooLarge", f"Request size exceeded {max_bytes} bytes")
    try:
        match call.protocol:
            case "cbor":
                parameters = cbor2.loads(body) if body else {}
            case "json" if call.operation.partition(" ")[2]:
                parameters = {}  # a REST service, of which only moto knows the form
            case "json":
                parameters = json.loads(body or b"{}")
            case _:
                parameters = dict(parse_qsl(body.decode()))
    except (ValueError, cbor2.CBORDecodeError) as error:
        raise AwsError(400, "SerializationException", f"the body is not {call.protocol}: {error}") from None
    if not isinstance(parameters, dict):
        raise AwsError(400, "SerializationException", f"expected a map, found {type(parameters).__name__}")
    return parameters


def _unpack(call: Call, max_bytes: int) -> None:
    if call.http.environ.get("HTTP_CONTENT_ENCODING") != "gzip":
        return
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(call.http.body)) as packed:
            call.http.body = packed.read(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise AwsError(400, "SerializationException", f"expected a gzip body, found: {error}") from None
    del call.http.environ["HTTP_CONTENT_ENCODING"]
    call.http.environ["CONTENT_LENGTH"] = str(len(call.http.body))
