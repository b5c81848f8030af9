"""Where batches go: an S3 bucket or a folder, with the same layout."""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, unquote, urlsplit

logger = logging.getLogger(__name__)

MAX_KEY_PART: Final = 255
"""Bytes of one part of a key, so that it also fits a file name (ext4, APFS, NTFS)."""

MAX_KEY: Final = 1_024
"""Bytes of an S3 object key (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html)."""

CONNECT_SECONDS: Final = 5
"""Time to reach S3: four round trips are far below a second from anywhere."""

READ_SECONDS: Final = 20
"""Time S3 may be silent; a batch is below 5 MB."""

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""

_CREDENTIAL_ERRORS: Final = frozenset(
    ("ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired")
)


class Destination(Protocol):
    """Takes batches; putting the same key twice leaves the first in place and is no error."""

    def put(self, key: str, data: bytes) -> None:
        """Stores a batch; returns when it is stored. Raises `UploadError`."""


class UploadError(Exception):
    """A batch could not be stored; the text says why, without secrets."""


def key_part(part: str) -> str:
    """`part` percent-encoded (UTF-8, upper-case hex) outside `[A-Za-z0-9._@-]`."""
    return quote(part, safe="@", errors="replace").replace("~", "%7E")


def batch_prefix(test: str, run: str, source: str) -> str:
    """The key prefix of one source's batches, below the destination's own prefix."""
    return f"batches/{key_part(test)}/{key_part(run)}/{key_part(source)}/"


@dataclass(frozen=True)
class Address:
    """A parsed destination: `s3://bucket[/prefix]` or `file:///folder`."""

    url: str
    bucket: str | None
    path: str
    """Key prefix without slashes at its ends, or the folder."""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises ValueError that says what was expected."""
        expected = "expected s3://bucket[/prefix] or file:///folder"
        parts = urlsplit(url)
        if parts.scheme == "s3":
            if not _BUCKET.fullmatch(parts.netloc):
                raise ValueError(f"{expected}, found the bucket name {parts.netloc!r} in {url!r}")
            prefix = url.split("://", 1)[1][len(parts.netloc) :].strip("/")
            if len(prefix.encode()) > MAX_KEY // 4:
                raise ValueError(f"{expected} with a prefix of at most {MAX_KEY // 4} bytes, found {url!r}")
            return cls(url, parts.netloc, prefix)
        if parts.scheme == "file":
            folder = unquote(parts.path)
            if parts.netloc not in ("", "localhost") or not folder.startswith("/") or parts.query:
                raise ValueError(f"{expected} (three slashes, an absolute path), found {url!r}")
            return cls(url, None, folder)
        raise ValueError(f"{expected}, found {url!r}")


def connect(address: Address) -> Destination:
    """The destination at `address`; `put` says when it cannot be reached."""
    if address.bucket is None:
        return Folder(Path(address.path))
    return Bucket(address.bucket, f"{address.path}/" if address.path else "")


class Folder:
    """A folder on this machine, or a shared one."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder with the first batch."""
        self.folder = folder

    def put(self, key: str, data: bytes) -> None:
        """See `Destination`."""
        path = self.folder / key
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(data)
                os.link(part, path)  # unlike a rename, a link does not replace what is there
            except FileExistsError:
                pass
            finally:
                part.unlink(missing_ok=True)  # also a part of it, when the disk is full
        except OSError as error:
            raise UploadError(f"{error.strerror or error}: {error.filename or self.folder}") from error


class Bucket:
    """An S3 bucket; credentials, region and endpoint as boto3 finds them."""

    def __init__(self, bucket: str, prefix: str, make_client: Callable[[], Any] | None = None) -> None:
        """`prefix` is empty or ends in `/`; `make_client` makes a boto3 S3 client."""
        self.bucket = bucket
        self.prefix = prefix
        self._make_client = make_client or s3_client
        self._client: Any = None

    @property
    def region(self) -> str | None:
        """The client's region; None while there is no client."""
        return None if self._client is None else str(self._client.meta.region_name)

    def connect(self) -> Any:
        """The client, made when there is none. Raises `UploadError`."""
        from botocore.exceptions import BotoCoreError

        if self._client is None:
            try:
                self._client = self._make_client()
            except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no URL
                raise UploadError(f"{error}: s3://{self.bucket}") from error
        return self._client

    def _forget_client(self) -> None:
        self._client = None
        s3_client.cache_clear()

    def put(self, key: str, data: bytes) -> None:
        """See `Destination`. Neither boto3 nor this retries: the caller does."""
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            ConnectionError,
            HTTPClientError,
        )

        client = self.connect()
        try:
            client.put_object(
                Bucket=self.bucket,
                Key=self.prefix + key,
                Body=data,
                ContentType="application/gzip",
                # The batch is already there when an earlier attempt was stored and only its answer got lost.
                IfNoneMatch="*",
            )
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 412:
                return
            if error.response.get("Error", {}).get("Code") in _CREDENTIAL_ERRORS:
                self._forget_client()  # static credentials are read only once: look for renewed ones
            raise UploadError(f"{error}: s3://{self.bucket}/{self.prefix}{key}") from error
        except BotoCoreError as error:
            if not isinstance(error, (ConnectionError, HTTPClientError)):
                self._forget_client()  # no credentials, no token, a broken profile: likewise
            raise UploadError(f"{error}: s3://{self.bucket}/{self.prefix}{key}") from error
        except Exception as error:  # what botocore does not wrap: the batch waits all the same
            raise UploadError(f"{error!r}: s3://{self.bucket}/{self.prefix}{key}") from error


def preload() -> None:
    """Makes the S3 client now, which takes half a second of CPU, instead of under load."""
    from botocore.exceptions import BotoCoreError

    try:
        s3_client()
    except (BotoCoreError, ValueError) as error:
        logger.debug("relay: no S3 client yet: %s", error)  # the first upload will say it, if there is one


@lru_cache(maxsize=1)
def s3_client() -> Any:
    """The process's client, which tries once, within bounded time. Raises BotoCoreError."""
    from botocore.config import Config

    if (botocore := logging.getLogger("botocore")).level == logging.NOTSET:
        botocore.setLevel(logging.WARNING)  # at Locust's INFO it tells where each setting came from
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": 1},
        user_agent_extra="locust-cloudwatch-relay",
    )
    return aws_session().client("s3", config=config)


def aws_session() -> Any:
    """What clients are made of.

    Where AWS_REGION is set, it is the region, as for AWS's other tools: boto3 does not read it.
    """
    import boto3

    return boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)
