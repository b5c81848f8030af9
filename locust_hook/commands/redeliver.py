"""Two ways to have something delivered again: a copy of each object onto itself, or the function directly."""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from botocore.exceptions import BotoCoreError, ClientError

from ..destination import key_part
from .failed import Item, Object, RedriveError

HEADER_BYTES: Final = 64 * 1024
"""A batch's first line is a few kilobytes, before compression."""

_KEPT = (
    "BucketKeyEnabled", "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage",
    "ContentType", "Metadata", "ServerSideEncryption", "SSEKMSKeyId", "StorageClass",
    "WebsiteRedirectLocation",
)  # fmt: skip
"""What a copy would lose or set to a default. Tags and content are kept by themselves."""

_BATCH_KEY = re.compile(r"(?:batches|replays/[^/]+)/([^/]+)/([^/]+)/([^/]+)/(\d{6,})\.[^/]+$")
_REPLAY = re.compile(r"replays/([^/]+)/")


@dataclass
class Attempt:
    """One object's way through an in-place copy."""

    entry: str = ""
    """The ledger entry's key."""
    found: dict[str, Any] = field(default_factory=dict)
    """S3's answer about the object."""
    done: bool = False
    before: bool = False
    """Whether it was published before anything was done."""
    error: str = ""


@dataclass
class Copier:
    """Copies objects onto themselves and waits until the ledger says that they are published."""

    s3: Any
    ledger_prefix: str
    wait_seconds: float
    pool: ThreadPoolExecutor
    attempts: dict[Object, Attempt] = field(default_factory=dict)

    def look(self, items: Sequence[Item]) -> None:
        """Finds out what is published already; changes nothing but the items."""
        self.attempts = {found: Attempt() for item in items for found in item.objects}
        list(self.pool.map(self._look, self.attempts))
        self._settle(items)

    def deliver(self, items: Sequence[Item], on_done: Callable[[list[Item]], None]) -> None:
        """Delivers; `on_done` gets items as soon as they are published."""
        self.look(items)
        list(self.pool.map(self._copy, self.attempts))
        until, pause = time.monotonic() + self.wait_seconds, 0.2
        while True:
            self._settle(items)
            on_done([item for item in items if item.done])
            waiting = [
                found for found, attempt in self.attempts.items() if not (attempt.done or attempt.error)
            ]
            if not waiting:
                return
            if time.monotonic() >= until:
                break
            time.sleep(min(pause, max(until - time.monotonic(), 0)))
            pause = min(pause * 1.5, 5.0)
            list(self.pool.map(self._check, waiting))
        for found in waiting:
            entry = f"s3://{found.bucket}/{self.attempts[found].entry}"
            self.attempts[found].error = (
                f"copied, but after {self.wait_seconds:g} s {entry} does not say that it is published: "
                f"{self._why(found)}"
            )
        self._settle(items)

    def _look(self, found: Object) -> None:
        attempt = self.attempts[found]
        try:
            attempt.found = self.s3.get_object(Bucket=found.bucket, Key=found.key)
            with attempt.found["Body"] as body:
                beginning = body.read(HEADER_BYTES)
            attempt.entry = entry_key(self.ledger_prefix, found.key, beginning)
            attempt.done = attempt.before = self._state(found) == "done"
            if not attempt.done and found.version and attempt.found.get("VersionId") != found.version:
                raise RedriveError(
                    "a newer version of the object exists, a copy would put the old one in its place: "
                    "invoke the function directly (--function)"
                )
        except (ClientError, BotoCoreError, RedriveError) as error:
            attempt.error = str(error)

    def _copy(self, found: Object) -> None:
        attempt = self.attempts[found]
        if attempt.done or attempt.error:
            return
        try:
            self.s3.copy_object(
                Bucket=found.bucket, Key=found.key, CopySource={"Bucket": found.bucket, "Key": found.key},
                CopySourceIfMatch=attempt.found["ETag"], MetadataDirective="REPLACE",
                **{name: attempt.found[name] for name in _KEPT if name in attempt.found},
            )  # fmt: skip
        except (ClientError, BotoCoreError) as error:
            attempt.error = f"cannot be copied onto itself: {error}"

    def _check(self, found: Object) -> None:
        try:
            self.attempts[found].done = self._state(found) == "done"
        except (ClientError, BotoCoreError, RedriveError) as error:
            self.attempts[found].error = f"copied, but the ledger cannot be read: {error}"

    def _state(self, found: Object) -> str | None:
        """What the ledger says; None when there is no entry, or none that may be read."""
        try:
            answer = self.s3.get_object(Bucket=found.bucket, Key=self.attempts[found].entry)
        except ClientError as error:
            # Who may not list the bucket gets 403 for an entry that is missing.
            if error.response["ResponseMetadata"].get("HTTPStatusCode") in (403, 404):
                return None
            raise
        with answer["Body"] as body:
            try:
                return str(json.load(body).get("state"))
            except (ValueError, AttributeError):
                raise RedriveError(
                    f"expected a ledger entry at {self.attempts[found].entry}, found none"
                ) from None

    def _why(self, found: Object) -> str:
        try:
            state = self._state(found)
        except (ClientError, BotoCoreError, RedriveError) as error:
            return str(error)
        if state is not None:
            return f"its state is {state}; see the function's log, or wait longer (--wait-seconds)"
        return (
            "there is no entry, or these credentials may not read it (s3:GetObject on the ledger); see the "
            "function's log, wait longer (--wait-seconds), or invoke the function directly (--function)"
        )

    def _settle(self, items: Iterable[Item]) -> None:
        for item in items:
            attempts = [self.attempts[found] for found in item.objects]
            errors = [f"{o}: {a.error}" for o, a in zip(item.objects, attempts, strict=True) if a.error]
            item.error = item.error or "; ".join(errors)
            item.done = not item.error and all(attempt.done for attempt in attempts)


def entry_key(prefix: str, key: str, beginning: bytes) -> str:
    """The key of a batch's ledger entry: by its header, or by its own key if that is zstd.

    Raises `RedriveError` for what is no batch.
    """
    if beginning[:4] == b"\x28\xb5\x2f\xfd":
        found = _BATCH_KEY.search(key)
        if found is None:
            raise RedriveError(
                "expected a key batches/<test>/<run>/<source>/<seq>.<ending> of a zstd batch, found another: "
                "invoke the function directly (--function)"
            )
        test, run, source, seq = (unquote(part) for part in found.groups())
    else:
        try:
            line = zlib.decompressobj(wbits=31).decompress(beginning, HEADER_BYTES).split(b"\n", 1)[0]
            header = json.loads(line)
            test, run, source, seq = (str(header[name]) for name in ("test", "run", "source", "seq"))
            int(seq)
        except (zlib.error, ValueError, KeyError, TypeError) as error:
            raise RedriveError(f"not a batch: no delivery can publish it ({error or 'empty'})") from None
    parts = "/".join(key_part(part) for part in (test, run, source))
    replay = _REPLAY.match(key)
    lane = key_part(unquote(replay[1])) if replay else "live"
    return f"{prefix}{lane}/{parts}/{int(seq):06}.json"


@dataclass
class Invoker:
    """Invokes the function with each item's event, and waits for its answer."""

    client: Any
    function: str
    pool: ThreadPoolExecutor

    def deliver(self, items: Sequence[Item], on_done: Callable[[list[Item]], None]) -> None:
        """Delivers; `on_done` gets items as soon as they are published."""
        for item in self.pool.map(self._invoke, [item for item in items if not item.error]):
            on_done([item] if item.done else [])

    def _invoke(self, item: Item) -> Item:
        try:
            answer = self.client.invoke(FunctionName=self.function, Payload=json.dumps(item.event).encode())
            payload = json.loads(answer["Payload"].read() or b"null")
        except (ClientError, BotoCoreError, ValueError) as error:
            item.error = f"{self.function} cannot be invoked: {error}"
            return item
        match payload:
            case {"errorMessage": message, **rest} if answer.get("FunctionError"):
                item.error = f"{rest.get('errorType')}: {message}"
            case {"batchItemFailures": []} | {"objects": int()}:
                item.done = True
            case {"batchItemFailures": list(failures)}:
                item.error = f"{len(failures)} messages of the event failed: see the function's log"
            case _:
                item.error = (
                    f"expected the relay's answer from {self.function}, found {json.dumps(payload)[:200]}"
                )
        return item
