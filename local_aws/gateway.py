"""What happens to every request: recognised, hit by a fault or not, authorised, answered, recorded."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from local_aws.access import ROOT, Access, Principal, resource_of
from local_aws.calls import Call, CallLog, CallRecord, classify
from local_aws.clock import Clock
from local_aws.cloudwatch.limits import MAX_REQUEST_BYTES
from local_aws.cloudwatch.service import CloudWatch
from local_aws.cloudwatch.store import MetricStore
from local_aws.errors import AwsError, error_response, request_id
from local_aws.faults import Fault, Faults, fault_error
from local_aws.http import HttpRequest, HttpResponse
from local_aws.log_queries import OPERATIONS as LOG_QUERIES
from local_aws.log_queries import LogQueries
from local_aws.logs import Logs
from local_aws.moto_backend import MotoBackend
from local_aws.notifications import Cause, cause
from local_aws.vended_metrics import VendedMetrics
from local_aws.wire import MAX_BODY_BYTES, parameters_of

_log = logging.getLogger(__name__)
_XML_CODE = re.compile(rb"<Code>([^<]+)</Code>")


class Gateway:
    """The application behind the port."""

    def __init__(self, moto: MotoBackend, clock: Clock, metrics: MetricStore) -> None:
        self._moto = moto
        self._clock = clock
        # Not moto's, which applies bucket policies without their conditions.
        self.bucket_policies: MutableMapping[str, str] = {}
        self.access = Access(moto, self.bucket_policies)
        self.calls = CallLog()
        self.faults = Faults()
        self.logs = Logs(moto, clock, metrics)
        self._log_queries = LogQueries(moto, clock)
        self._cloudwatch = CloudWatch(metrics, clock, moto.serve)
        self.vended_metrics = VendedMetrics(metrics, clock)

    def __call__(self, http: HttpRequest) -> HttpResponse | None:
        """Answer a request; None closes the connection."""
        began, at = time.perf_counter(), self._clock.now()
        size = len(http.body)
        call = classify(http)
        fault: Fault | None = None
        try:
            parameters = parameters_of(
                call, MAX_REQUEST_BYTES if call.service == "cloudwatch" else MAX_BODY_BYTES
            )
            principal = self.access.principal(call)
            call.principal = principal.arn
            call.resource = resource_of(call, parameters, principal.account or ROOT.account)
            fault = self.faults.take(call)
            response = self._with_fault(fault, call, lambda: self._answer(call, principal, parameters))
        except AwsError as error:
            response = error_response(call.protocol, error)
        except Exception as error:  # noqa: BLE001  # the outermost place, which tells everybody
            # A fault of local AWS itself: said here in full, and to the caller.
            _log.exception("%s %s", call.service, call.operation)
            response = error_response(
                call.protocol, AwsError(500, "LocalAwsBug", f"{type(error).__name__}: {error}")
            )
        self.calls.append(
            CallRecord(
                call.service,
                call.operation,
                call.principal,
                call.resource,
                size,
                len(response.body) if response else 0,
                response.status if response else None,
                _error_code(call, response) if response else None,
                at,
                time.perf_counter() - began,
                fault.kind if fault else None,
            )
        )
        return response

    def _with_fault(
        self, fault: Fault | None, call: Call, answer: Callable[[], HttpResponse]
    ) -> HttpResponse | None:
        match fault.kind if fault else None:
            case None:
                return answer()
            case "cut_before":
                return None
            case "cut_after":
                with contextlib.suppress(AwsError):  # the caller does not get this answer either
                    answer()
                return None
            case "timeout" if fault:
                fault.wait_released(fault.hold_seconds)
                return None
            case "latency_ms" if fault:
                fault.wait_released(fault.latency_ms / 1000)
                return answer()
            case kind:
                raise fault_error(str(kind), call.service)

    def _answer(self, call: Call, principal: Principal, parameters: dict[str, Any]) -> HttpResponse:
        with self._moto.lock:
            self.access.check(call, principal, parameters)
            if call.service == "s3":
                # In the same hold of the lock, so that nothing changes between the check and the work.
                token = cause.set(Cause(principal.unique_id, request_id()))
                try:
                    return self._bucket_policy(call) or self._moto.serve(call)
                finally:
                    cause.reset(token)
        if call.service == "sts" and call.operation == "GetCallerIdentity":
            return _caller_identity(principal)
        if call.service == "cloudwatch":
            return self._cloudwatch.serve(call, parameters)
        if call.service == "logs" and call.operation == "PutLogEvents":
            return self.logs.put_log_events(call, parameters, principal.account)
        if call.service == "logs" and call.operation in LOG_QUERIES:
            return self._log_queries.serve(call, parameters, principal.account)
        response = self._moto.serve(call)
        if call.service == "sqs" and ":" in call.resource:  # not so for ListQueues
            depth = self._moto.queue_depth(call.resource)
            if depth is not None:
                self.vended_metrics.waiting(call.resource.rpartition(":")[2], depth)
        return response

    def _bucket_policy(self, call: Call) -> HttpResponse | None:
        if call.operation == "DeleteBucket":
            self.bucket_policies.pop(call.bucket or "", None)
        if not call.operation.endswith("BucketPolicy") or call.bucket is None:
            return None
        if self._moto.bucket(call.bucket) is None:
            raise AwsError(404, "NoSuchBucket", "The specified bucket does not exist")
        match call.operation:
            case "PutBucketPolicy":
                try:
                    json.loads(call.http.body)
                except ValueError as error:
                    raise AwsError(
                        400, "MalformedPolicy", f"This policy contains invalid Json: {error}"
                    ) from None
                self.bucket_policies[call.bucket] = call.http.body.decode()
            case "DeleteBucketPolicy":
                self.bucket_policies.pop(call.bucket, None)
            case _:
                if call.bucket not in self.bucket_policies:
                    raise AwsError(404, "NoSuchBucketPolicy", "The bucket policy does not exist")
                text = self.bucket_policies[call.bucket].encode()
                return HttpResponse(200, [("Content-Type", "application/json")], text)
        return HttpResponse(204)


def _caller_identity(principal: Principal) -> HttpResponse:
    """moto names root as a user of its own."""
    fields = {"Arn": principal.arn, "UserId": principal.unique_id, "Account": principal.account}
    members = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    text = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<GetCallerIdentityResult>{members}</GetCallerIdentityResult>"
        f"<ResponseMetadata><RequestId>{request_id()}</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
    return HttpResponse(200, [("Content-Type", "text/xml")], text.encode())


def _error_code(call: Call, response: HttpResponse) -> str | None:
    if response.status < 400:
        return None
    if query_error := response.header("x-amzn-query-error"):
        return query_error.partition(";")[0]
    if call.protocol == "json":
        try:
            return str(json.loads(response.body).get("__type", "")).rpartition("#")[2] or str(response.status)
        except ValueError:
            return str(response.status)
    found = _XML_CODE.search(response.body)
    return found.group(1).decode() if found else str(response.status)
