"""What Lambda and SQS say about themselves in CloudWatch. AWS samples once a minute; here each event counts.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
"""

from __future__ import annotations

from local_aws.clock import Clock
from local_aws.cloudwatch.limits import Datum
from local_aws.cloudwatch.store import MetricStore
from local_aws.functions.invocation import Attempt

RESOLUTION_SECONDS = 60


class VendedMetrics:
    """Puts them into `store`."""

    def __init__(self, store: MetricStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def attempted(self, function: str, attempt: Attempt, running: int) -> None:
        """A function's invocation ended; `running` of them were at work when it began, itself included."""
        dimensions = (("FunctionName", function),)
        self._put("AWS/Lambda", "Invocations", dimensions, "Count", 1)
        self._put("AWS/Lambda", "Errors", dimensions, "Count", attempt.outcome != "success")
        # Events wait in the queue until there is a place for them, and none is thrown back.
        self._put("AWS/Lambda", "Throttles", dimensions, "Count", 0)
        self._put("AWS/Lambda", "Duration", dimensions, "Milliseconds", attempt.seconds * 1000)
        self._put("AWS/Lambda", "ConcurrentExecutions", dimensions, "Count", running)

    def waiting(self, queue: str, messages: int) -> None:
        """So many messages can be received from a queue."""
        metric = "ApproximateNumberOfMessagesVisible"
        self._put("AWS/SQS", metric, (("QueueName", queue),), "Count", messages)

    def _put(
        self, namespace: str, name: str, dimensions: tuple[tuple[str, str], ...], unit: str, value: float
    ) -> None:
        second = int(self._clock.now().timestamp())
        datum = Datum(name, dimensions, unit, second, RESOLUTION_SECONDS, [(float(value), 1.0)])
        self._store.put(namespace, [datum])
