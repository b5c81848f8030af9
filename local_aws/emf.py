"""The embedded metric format: metrics that CloudWatch takes out of log events.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from local_aws.cloudwatch.limits import Datum, check_put
from local_aws.cloudwatch.store import MetricStore
from local_aws.errors import AwsError

MAX_METRICS = 100
MAX_VALUES = 100
# Where CloudWatch counts log events whose metrics it could not read.
ERRORS_NAMESPACE = "AWS/Logs"
ERRORS_METRIC = "EMFValidationErrors"


def extract(metrics: MetricStore, messages: Iterable[str], now: datetime) -> None:
    """Store the metrics of all log events that are EMF documents; count those that are broken ones."""
    for message in messages:
        if '"_aws"' not in message:
            continue
        try:
            document = json.loads(message)
        except ValueError:
            continue  # a text that only mentions it
        if not isinstance(document, dict) or "_aws" not in document:
            continue
        try:
            for namespace, datums in _requests(document):
                metrics.put(*check_put({"Namespace": namespace, "MetricData": datums}, now))
        except (AwsError, KeyError, TypeError, ValueError, AttributeError):
            broken = Datum(ERRORS_METRIC, (), "Count", int(now.timestamp()), 60, [(1.0, 1.0)])
            metrics.put(ERRORS_NAMESPACE, [broken])


def _requests(document: Mapping[str, Any]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    """Per directive, its namespace and what PutMetricData would be given."""
    meta = document["_aws"]
    moment = datetime.fromtimestamp(meta["Timestamp"] / 1000, timezone.utc)
    for directive in meta["CloudWatchMetrics"]:
        definitions = directive["Metrics"]
        if len(definitions) > MAX_METRICS:
            raise ValueError(f"expected at most {MAX_METRICS} metrics, found {len(definitions)}")
        datums = []
        for names in directive["Dimensions"]:
            dimensions = [{"Name": name, "Value": document[name]} for name in names]
            datums += [_datum(document, definition, dimensions, moment) for definition in definitions]
        yield directive["Namespace"], datums


def _datum(
    document: Mapping[str, Any],
    definition: Mapping[str, Any],
    dimensions: list[dict[str, Any]],
    moment: datetime,
) -> dict[str, Any]:
    target = document[definition["Name"]]
    values = target if isinstance(target, list) else [target]
    if len(values) > MAX_VALUES:
        raise ValueError(f"expected at most {MAX_VALUES} values, found {len(values)}")
    return {
        "MetricName": definition["Name"],
        "Dimensions": dimensions,
        "Values": values,
        "Unit": definition.get("Unit", "None"),
        "StorageResolution": definition.get("StorageResolution", 60),
        "Timestamp": moment,
    }
