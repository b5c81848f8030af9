"""A Lambda "binary" for tests: a runtime client that does what its event says."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import time
from typing import Any

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
BASE = "/2018-06-01/runtime"


def call(method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    connection = http.client.HTTPConnection(API)
    connection.request(method, path, None if body is None else json.dumps(body), headers or {})
    response = connection.getresponse()
    return response, json.loads(response.read() or b"null")


def command_of(event: Any) -> str:
    """What to do: `do` of a direct event; else the object's key after its last '/'."""
    if "do" in event:
        return str(event["do"])
    return str(event["Records"][0]["s3"]["object"]["key"]).rsplit("/", 1)[-1]


def handle(event: Any, identifier: str) -> None:
    print(f"working on {identifier}", flush=True)
    match command_of(event):
        case "fail":
            error = {"errorType": "BatchError", "errorMessage": "line 3: expected JSON"}
            call("POST", f"{BASE}/invocation/{identifier}/error", error)
            return
        case "exit":
            print("leaving", file=sys.stderr, flush=True)
            os._exit(7)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            time.sleep(60)
        case "environment":
            call("POST", f"{BASE}/invocation/{identifier}/response", dict(os.environ))
            return
    call("POST", f"{BASE}/invocation/{identifier}/response", {"pid": os.getpid(), "event": event})


def main() -> None:
    if os.environ.get("TEST_INIT") == "fail":
        call(
            "POST",
            f"{BASE}/init/error",
            {"errorType": "ConfigError", "errorMessage": "RELAY_X: expected a number"},
        )
        sys.exit(1)
    if os.environ.get("TEST_INIT") == "exit":
        print("bad setting", flush=True)
        sys.exit(3)
    headers = {"Lambda-Extension-Name": "graceful", "Content-Type": "application/json"}
    response, body = call("POST", "/2020-01-01/extension/register", {"events": []}, headers)
    assert response.getheader("Lambda-Extension-Identifier"), response.getheaders()
    assert body["functionName"] == os.environ["AWS_LAMBDA_FUNCTION_NAME"], body
    while True:
        response, event = call("GET", f"{BASE}/invocation/next")
        left = int(response.getheader("Lambda-Runtime-Deadline-Ms")) / 1000 - time.time()
        assert 0 < left <= 900, left
        assert response.getheader("Lambda-Runtime-Invoked-Function-Arn").startswith("arn:aws:lambda:")
        assert response.getheader("Lambda-Runtime-Trace-Id").startswith("Root=")
        handle(event, response.getheader("Lambda-Runtime-Aws-Request-Id"))


main()
