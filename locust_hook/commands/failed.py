"""What could not be published: the messages of the on-failure queue, and the objects that they are about."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus, unquote_plus

MAX_MESSAGES: Final = 10_000
"""Messages taken in one go; far below the 120,000 that a queue hands out at the same time
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html)."""

MAX_RECEIVED: Final = 10
"""Messages of one answer, and of one deletion (SQS API: ReceiveMessage, DeleteMessageBatch)."""

MAX_HIDDEN_SECONDS: Final = 43_200
"""Longest time that a message stays hidden (SQS API: ReceiveMessage, VisibilityTimeout)."""

MAX_ENVELOPES: Final = 4
"""Envelopes inside one another, as the relay takes them."""


class RedriveError(Exception):
    """One object or message that cannot be delivered; the text says why and what to do."""


@dataclass(frozen=True)
class Object:
    """An object that is to be published."""

    bucket: str
    key: str
    version: str | None = None

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass
class Item:
    """What is delivered, or not, as a whole: an event with its objects; `receipt` if it came from a queue."""

    name: str
    event: Any
    objects: list[Object]
    receipt: str | None = None
    reason: str = ""
    """The error that brought it into the queue."""
    done: bool = False
    error: str = ""


def objects_of(event: Any, depth: int = 0) -> Iterator[Object]:
    """The objects that an event tells of, in any of the envelopes that the relay takes.

    Raises `RedriveError` for anything else, and KeyError, TypeError or ValueError for one with a hole in it.
    """
    match event:
        case _ if depth > MAX_ENVELOPES:
            raise RedriveError(f"expected at most {MAX_ENVELOPES} envelopes inside one another, found more")
        case {"requestPayload": payload, "requestContext": {}}:
            yield from objects_of(payload, depth + 1)
        case {"detail-type": "Object Created", "detail": {"bucket": bucket, "object": found}}:
            yield Object(bucket["name"], found["key"], found.get("version-id"))
        case {"Type": "Notification", "Message": message} | {"body": message} | {"Sns": {"Message": message}}:
            yield from objects_of(json.loads(message), depth + 1)
        case {"Event": "s3:TestEvent"}:
            return
        case {"Records": [_, *_] as records}:
            for record in records:
                yield from objects_of(record, depth)
        case {"s3": {"bucket": bucket, "object": found}}:
            if str(event.get("eventName", "ObjectCreated:")).removeprefix("s3:").startswith("ObjectCreated:"):
                # S3 encodes keys as forms do.
                key = unquote_plus(found["key"], errors="strict")
                yield Object(bucket["name"], key, found.get("versionId"))
        case _:
            raise RedriveError(f"expected an S3 notification, found {json.dumps(event)[:120]}")


def item_of(message: dict[str, Any]) -> Item:
    """A message of the on-failure queue: Lambda's record of an event and its error."""
    name, receipt = f"message {message['MessageId']}", message["ReceiptHandle"]
    try:
        record = json.loads(message["Body"])
        if not isinstance(record, dict) or "requestPayload" not in record:
            raise RedriveError("expected Lambda's on-failure record, found no `requestPayload`")
        objects = list(objects_of(record))
    except (ValueError, KeyError, TypeError, AttributeError, RedriveError) as error:
        text = f"{type(error).__name__}: {error}" if not isinstance(error, RedriveError) else str(error)
        return Item(name, None, [], receipt, error=f"not an event of the relay: {text}")
    response = record.get("responsePayload") or {}
    condition = (record.get("requestContext") or {}).get("condition", "")
    reason = response.get("errorType") or condition if isinstance(response, dict) else condition
    name = ", ".join(map(str, objects)) or name
    return Item(name, record["requestPayload"], objects, receipt, str(reason))


def item_of_key(address: str) -> Item:
    """An object named by its address; raises `RedriveError` for what is none."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not address.startswith("s3://") or not bucket or not key:
        raise RedriveError(f"expected s3://bucket/key, found {address!r}")
    encoded = quote_plus(key, safe="/")
    thing = {"bucket": {"name": bucket}, "object": {"key": encoded}}
    record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Copy", "s3": thing}
    return Item(address, {"Records": [record]}, [Object(bucket, key)])


def items_of_keys(sources: Sequence[str]) -> list[Item]:
    """Addresses, files with one address a line, and `-` for standard input."""
    addresses: list[str] = []
    for source in sources:
        if source.startswith("s3://"):
            addresses.append(source)
        else:
            text = sys.stdin.read() if source == "-" else Path(source).read_text("utf-8")
            addresses += [line.strip() for line in text.splitlines() if line.strip()]
    return [item_of_key(address) for address in dict.fromkeys(addresses)]


class Queue:
    """The on-failure queue."""

    def __init__(self, sqs: Any, url: str, hidden_seconds: int) -> None:
        """Messages that are taken are hidden from others for `hidden_seconds`."""
        self._sqs, self._url, self._hidden = sqs, url, min(hidden_seconds, MAX_HIDDEN_SECONDS)

    def take(self) -> list[Item]:
        """Everything that is in the queue, up to `MAX_MESSAGES`."""
        found: dict[str, Item] = {}
        while len(found) < MAX_MESSAGES:
            answer = self._sqs.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=MAX_RECEIVED, WaitTimeSeconds=1,
                VisibilityTimeout=self._hidden,
            )  # fmt: skip
            messages = answer.get("Messages", [])
            if not messages:
                break
            found.update({message["MessageId"]: item_of(message) for message in messages})
        return list(found.values())

    def delete(self, items: Iterable[Item]) -> list[str]:
        """Deletes messages; returns what went wrong."""
        return self._each(items, self._sqs.delete_message_batch)

    def put_back(self, items: Iterable[Item]) -> list[str]:
        """Lets others see messages again at once; returns what went wrong."""
        return self._each(items, self._sqs.change_message_visibility_batch, VisibilityTimeout=0)

    def _each(self, items: Iterable[Item], call: Callable[..., Any], **fields: int) -> list[str]:
        errors = []
        handles = [item.receipt for item in items if item.receipt]
        for start in range(0, len(handles), MAX_RECEIVED):
            entries = [
                {"Id": str(number), "ReceiptHandle": handle, **fields}
                for number, handle in enumerate(handles[start : start + MAX_RECEIVED])
            ]
            failed = call(QueueUrl=self._url, Entries=entries).get("Failed", [])
            errors += [f"{failure.get('Code')}: {failure.get('Message')}" for failure in failed]
        return errors
