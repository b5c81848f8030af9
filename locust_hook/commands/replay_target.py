"""The relay's bucket, into which a replay is copied."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from ..destination import key_part
from .archive import Archive, Bucket, Item, RunItems, explained

MAX_ANCHOR_BYTES: Final = 4096

CONFLICTS: Final = 3
"""How often a write that met another one at the same time is tried."""


class ReplayError(Exception):
    """What was asked for cannot be replayed; the text says why and what to do."""


@dataclass
class Target:
    """The relay's bucket, and a replay's name in it."""

    client: Any
    bucket: str
    name: str
    ledger_prefix: str

    def key(self, item: Item) -> str:
        """Where a batch is put."""
        return f"replays/{key_part(self.name)}/{item.batch_key}"

    def anchor_key(self, run: RunItems) -> str:
        """Where the relay looks for the run's shift."""
        return f"{self.ledger_prefix}{'/'.join(map(key_part, (self.name, run.test, run.run)))}/anchor.json"

    def there(self, run: RunItems) -> set[str]:
        """The keys of the run's batches that are in place."""
        prefix = f"replays/{'/'.join(map(key_part, (self.name, run.test, run.run)))}/"
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        try:
            return {entry["Key"] for page in pages for entry in page.get("Contents", [])}
        except (ClientError, BotoCoreError) as error:
            raise explained(error, f"s3://{self.bucket}/{prefix}") from error

    def anchor(self, run: RunItems) -> int | None:
        """By how much the run's times are moved, in milliseconds; None while nobody has said it."""
        key = self.anchor_key(run)
        address = f"s3://{self.bucket}/{key}"
        try:
            body = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read(MAX_ANCHOR_BYTES)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise explained(error, address) from error
        except BotoCoreError as error:
            raise explained(error, address) from error
        try:
            shift = json.loads(body)["shift_ms"]
        except (ValueError, KeyError, TypeError):
            shift = None
        if type(shift) is not int:
            raise ReplayError(f'{address}: expected {{"shift_ms": <integer>}}, found {body[:80]!r}')
        return shift

    def set_anchor(self, run: RunItems, shift_ms: int) -> None:
        """Says by how much the run's times are moved; raises when somebody has said otherwise."""
        body = json.dumps({"shift_ms": shift_ms}).encode()
        self._put(self.anchor_key(run), body, "application/json")
        if (found := self.anchor(run)) != shift_ms:
            raise ReplayError(
                f"run {run.run}: somebody else began the replay {self.name!r} at this moment, with times "
                f"moved by {found} ms and not {shift_ms} ms: run the same command again to join it, or "
                "choose another --name"
            )

    def bring(self, source: Archive, item: Item) -> None:
        """Copies a batch; what is in place stays."""
        if isinstance(source, Bucket):
            arguments: dict[str, Any] = {
                "CopySource": {"Bucket": source.bucket, "Key": item.key},
                "StorageClass": "STANDARD",
                # Tags are of no use to the copy, and need further permissions.
                "TaggingDirective": "REPLACE",
            }
            if self._copies_conditionally:
                arguments["IfNoneMatch"] = "*"
            self._write(self.client.copy_object, self.key(item), source.address(item), arguments)
        else:
            self._put(self.key(item), source.read(item), "application/gzip")

    @cached_property
    def _copies_conditionally(self) -> bool:
        """Whether this botocore knows the condition, which copies have only since October 2025.

        Without it, two commands at once may copy a batch twice; the relay skips the second.
        """
        shape = self.client.meta.service_model.operation_model("CopyObject").input_shape
        return "IfNoneMatch" in shape.members

    def _put(self, key: str, body: bytes, content_type: str) -> None:
        arguments = {"Body": body, "ContentType": content_type, "IfNoneMatch": "*"}
        self._write(self.client.put_object, key, f"s3://{self.bucket}/{key}", arguments)

    def _write(self, call: Callable[..., Any], key: str, address: str, arguments: dict[str, Any]) -> None:
        for attempt in range(1, CONFLICTS + 1):
            try:
                call(Bucket=self.bucket, Key=key, **arguments)
                return
            except ClientError as error:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                if status == 412:  # it is there
                    return
                if status != 409 or attempt == CONFLICTS:
                    raise explained(error, address) from error
            except BotoCoreError as error:
                raise explained(error, address) from error
