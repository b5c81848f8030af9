"""S3 event notifications in AWS's own form, to Lambda functions and SQS queues.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

from __future__ import annotations

import contextvars
import itertools
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus

from moto.s3 import notifications as moto_notifications
from moto.s3.models import FakeBucket, FakeKey
from moto.sqs.models import sqs_backends

from local_aws.clock import Clock

EVENT_VERSION = "2.1"


@dataclass(frozen=True)
class Cause:
    """The call that an event comes from."""

    principal_id: str
    request_id: str


cause: contextvars.ContextVar[Cause] = contextvars.ContextVar("cause")
"""Set around each call that moto answers."""


def encoded_key(key: str) -> str:
    """A key as S3 writes it into events: form-encoded, with '/' kept."""
    return quote_plus(key, safe="/")


def s3_event(
    event_name: str, bucket: FakeBucket, key: FakeKey, configuration_id: str, at: datetime, sequence: int
) -> dict[str, Any]:
    """The event of one object; `event_name` such as `s3:ObjectCreated:Put`."""
    by = cause.get()
    thing: dict[str, Any] = {"key": encoded_key(key.name)}
    if event_name.startswith("s3:ObjectCreated:"):
        thing |= {"size": key.size, "eTag": key.etag.strip('"')}
    if bucket.is_versioned:
        thing["versionId"] = key.version_id
    thing["sequencer"] = f"{int(at.timestamp() * 1000):012X}{sequence:06X}"
    record = {
        "eventVersion": EVENT_VERSION,
        "eventSource": "aws:s3",
        "awsRegion": bucket.region_name,
        "eventTime": at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z",
        "eventName": event_name.removeprefix("s3:"),
        "userIdentity": {"principalId": f"AWS:{by.principal_id}"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": by.request_id, "x-amz-id-2": by.request_id},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration_id,
            "bucket": {
                "name": bucket.name,
                "ownerIdentity": {"principalId": bucket.account_id},
                "arn": f"arn:aws:s3:::{bucket.name}",
            },
            "object": thing,
        },
    }
    return {"Records": [record]}


class Notifications:
    """Delivers S3's events, and can deliver them badly: doubled, late, in another order."""

    def __init__(self, clock: Clock, invoke: Callable[[str, dict[str, Any]], None]) -> None:
        self._clock = clock
        self._invoke = invoke
        self._sequence = itertools.count(1)
        self._lock = threading.Lock()
        self._held: list[tuple[str, dict[str, Any]]] | None = None
        self._original = moto_notifications.send_event
        self.duplicates = 0
        """How many further times each event for a function is delivered."""

    def install(self) -> None:
        """Take the place of moto's own sender."""
        moto_notifications.send_event = self._on_event

    def uninstall(self) -> None:
        """Give moto its sender back."""
        moto_notifications.send_event = self._original

    def hold(self) -> None:
        """Keep back all events for functions until `release`."""
        with self._lock:
            self._held = self._held or []

    def release(self, shuffle: random.Random | None = None) -> int:
        """Deliver what was held back, in its order or shuffled; returns how many events."""
        with self._lock:
            held, self._held = self._held or [], None
        if shuffle:
            shuffle.shuffle(held)
        for arn, event in held:
            self._invoke(arn, event)
        return len(held)

    def _on_event(self, account_id: str, event_name: Any, bucket: FakeBucket, key: FakeKey) -> None:
        configuration = bucket.notification_configuration
        if configuration is None:
            return
        name = getattr(event_name, "value", event_name)
        targets = [
            (target, deliver)
            for targets, deliver in (
                (configuration.cloud_function, self._to_function),
                (configuration.queue, self._to_queue),
            )
            for target in targets
            if target.matches(name, key.name)
        ]
        for target, deliver in targets:
            event = s3_event(name, bucket, key, target.id, self._clock.now(), next(self._sequence))
            deliver(target.arn, event)

    def _to_function(self, arn: str, event: dict[str, Any]) -> None:
        for _ in range(1 + self.duplicates):
            with self._lock:
                if self._held is not None:
                    self._held.append((arn, event))
                    continue
            self._invoke(arn, event)

    @staticmethod
    def _to_queue(arn: str, event: dict[str, Any]) -> None:
        region, account, name = arn.split(":")[3:6]
        sqs_backends[account][region].send_message(queue_name=name, message_body=json.dumps(event))
