"""CloudWatch in Smithy RPC v2 CBOR and AWS JSON 1.0; everything but metrics goes to moto."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import cbor2
from botocore import loaders, parsers
from botocore.model import ServiceModel

from local_aws.calls import Call
from local_aws.clock import Clock
from local_aws.cloudwatch.alarms import evaluated
from local_aws.cloudwatch.limits import check_put
from local_aws.cloudwatch.metric_data import get_metric_data
from local_aws.cloudwatch.query import get_metric_statistics, list_metrics
from local_aws.cloudwatch.store import MetricStore
from local_aws.errors import AwsError, request_id
from local_aws.http import HttpResponse

# All others are moto's.
_METRICS = {"PutMetricData", "GetMetricData", "GetMetricStatistics", "ListMetrics"}
OPERATIONS = frozenset(_METRICS | {"DescribeAlarms", "DescribeAlarmsForMetric"})
_JSON = "application/x-amz-json-1.0"


class CloudWatch:
    """Metrics, and alarms over them, in a `MetricStore`; moto keeps what is defined."""

    def __init__(self, store: MetricStore, clock: Clock, moto: Callable[[Call], HttpResponse]) -> None:
        self._store = store
        self._clock = clock
        self._moto = moto
        self._model = ServiceModel(
            loaders.Loader().load_service_model("cloudwatch", "service-2"), "cloudwatch"
        )

    def serve(self, call: Call, parameters: dict[str, Any]) -> HttpResponse:
        """Answer a call with its decoded parameters."""
        if call.protocol == "query":
            # An answer of moto would be wrong without a word: it has none of the metrics here.
            if call.operation in OPERATIONS:
                raise AwsError(
                    400, "UnknownOperationException", f"{call.operation}: use CBOR or JSON, as newer SDKs do"
                )
            return self._moto(call)
        now = self._clock.now()
        match call.operation:
            case "PutMetricData":
                self._store.put(*check_put(parameters, now))
                result: dict[str, Any] = {}
            case "GetMetricData":
                result = get_metric_data(self._store, parameters, now)
            case "GetMetricStatistics":
                result = get_metric_statistics(self._store, parameters, now)
            case "ListMetrics":
                result = list_metrics(self._store, parameters, now)
            case "DescribeAlarms" | "DescribeAlarmsForMetric":
                result = self._describe_alarms(call, parameters)
            case _:
                result = self._ask_moto(call, parameters)
        return _encode(call, result)

    def _describe_alarms(self, call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
        asked = parameters.pop("StateValue", None)
        result = self._ask_moto(call, parameters)
        now = self._clock.now()
        alarms = [evaluated(alarm, self._store, now) for alarm in result.get("MetricAlarms") or []]
        return {**result, "MetricAlarms": [a for a in alarms if asked in (None, a["StateValue"])]}

    def _ask_moto(self, call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
        """Dashboards, alarms and the rest: moto speaks JSON, so CBOR is translated both ways."""
        if call.operation not in self._model.operation_names:
            raise AwsError(404, "UnknownOperationException", f"CloudWatch has no operation {call.operation}.")
        body = json.dumps(parameters, default=lambda value: value.timestamp()).encode()
        environ = call.http.environ
        environ.update(
            PATH_INFO="/", RAW_URI="/", REQUEST_URI="/", CONTENT_TYPE=_JSON, CONTENT_LENGTH=str(len(body))
        )
        environ["HTTP_X_AMZ_TARGET"] = f"{self._model.metadata['targetPrefix']}.{call.operation}"
        environ.pop("HTTP_CONTENT_ENCODING", None)
        call.http.body = body
        response = self._moto(call)
        if response.status >= 300:
            error = json.loads(response.body or b"{}")
            code = str(error.get("__type", "InternalServiceError")).rpartition("#")[2]
            raise AwsError(response.status, code, error.get("message") or error.get("Message") or "")
        shape = self._model.operation_model(call.operation).output_shape
        if shape is None:
            return {}
        raw = {"status_code": response.status, "headers": dict(response.headers), "body": response.body}
        result: dict[str, Any] = parsers.create_parser("json").parse(raw, shape)
        result.pop("ResponseMetadata", None)
        return result


def _encode(call: Call, result: dict[str, Any]) -> HttpResponse:
    headers = [("x-amzn-RequestId", request_id())]
    if call.protocol == "cbor":
        # Smithy wants times as tag 1 with a number: https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
        body = cbor2.dumps(result, datetime_as_timestamp=True, timezone=timezone.utc)
        headers += [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]
        return HttpResponse(200, headers, body)
    body = json.dumps(result, default=_json_time).encode()
    return HttpResponse(200, [*headers, ("Content-Type", _JSON)], body)


def _json_time(value: object) -> float:
    if not isinstance(value, datetime):
        raise TypeError(f"expected a time, found {type(value).__name__}")
    return value.timestamp()
