"""AWS on one machine, for tests and for the demo: S3, Lambda, CloudWatch and what stands around them.

# Layout

From the outside in; each module imports only from those below it.

- `server`: `LocalAws`, everything put together.
- `deploy`, `template`: a SAM template becomes a stack.
- `functions`: runs a Lambda function's binary: queue, retries, Runtime API.
- `gateway`: what happens to every request.
- `access`, `policy`: IAM.
- `log_queries`, `query_definitions`, `insights`: Logs Insights' operations, and its query language.
- `logs`, `emf`, `cloudwatch`: strict PutLogEvents; metrics out of log events; metrics with every
  documented limit.
- `metric_maths`, `parsing`: the expressions of GetMetricData; what both languages share.
- `notifications`: S3's events.
- `moto_backend`: moto, which plays all other services.
- `calls`, `wire`, `errors`, `faults`, `clock`, `http`: requests and answers, and what is shared.

    with LocalAws() as aws:
        stack = aws.deploy(Path("template.yaml"))
        with aws.run_function(stack, "RelayFunction", ["target/debug/locust-cloudwatch-relay"]) as function:
            aws.client("s3").put_object(Bucket=stack.outputs["BucketName"], Key="batches/x", Body=b"...")
            function.wait_idle()
"""

from local_aws.calls import Call, CallRecord
from local_aws.deploy import Resource, Stack
from local_aws.faults import Fault
from local_aws.functions.function import Function
from local_aws.functions.invocation import Attempt, Invocation
from local_aws.server import LocalAws, LogEvent
from local_aws.template import TemplateError

__all__ = [
    "Attempt",
    "Call",
    "CallRecord",
    "Fault",
    "Function",
    "Invocation",
    "LocalAws",
    "LogEvent",
    "Resource",
    "Stack",
    "TemplateError",
]
