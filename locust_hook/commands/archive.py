"""Archived batches in a bucket or a folder: finding and reading them. Nothing here changes an archive."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import unquote

from botocore.exceptions import BotoCoreError, ClientError

from ..destination import CONNECT_SECONDS, READ_SECONDS, Address, aws_session, key_part
from .archive_reader import (
    BEGINNING_BYTES,
    MAX_BATCH_BYTES,
    BatchError,
    Group,
    Header,
    read_header,
    read_requests,
)

MAX_ITEMS: Final = 2_000_000
"""Batches that a command takes in hand at once (about 1 GB of memory): 600 days of one process."""

AHEAD: Final = 2
"""Things per thread that are fetched before they are asked for."""

COLD: Final = frozenset(("GLACIER", "DEEP_ARCHIVE"))
"""Storage classes whose objects must be restored before they can be read
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/archived-objects.html)."""

_NOT_RESTORED: Final = frozenset(("InvalidObjectState", "ObjectNotInActiveTierError"))
_RUN: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
_KEY: Final = re.compile(r"(?:^|/)([^/]+)/([^/]+)/([^/]+)/(\d{6,18})(\.ndjson\.(?:gz|zst))$")


class ArchiveError(Exception):
    """An archive cannot be read as asked; the text says why and what to do."""


@dataclass(frozen=True)
class Item:
    """One archived batch: its identity, where it is, and its size in bytes."""

    test: str
    run: str
    source: str
    seq: int
    key: str
    """The object's key, or the file's path."""
    size: int
    storage: str = "STANDARD"
    """S3's storage class."""

    @property
    def batch_key(self) -> str:
        """`<test>/<run>/<source>/<seq>.ndjson.gz`, as the format's description wants it."""
        parts = "/".join(map(key_part, (self.test, self.run, self.source)))
        return f"{parts}/{self.seq:06}.ndjson.{'zst' if self.key.endswith('.zst') else 'gz'}"


class Archive(Protocol):
    """Where batches are kept."""

    def address(self, item: Item) -> str:
        """An item as people name it."""

    def items(
        self, test: str | None = None, run: str | None = None, seen: Callable[[int], None] | None = None
    ) -> list[Item]:
        """The batches of a test and a run, or of all, ordered by test, run, source and number.

        `seen` is told how many more objects were looked at. Raises `ArchiveError` and `BatchError`.
        """

    def header(self, item: Item) -> Header:
        """A batch's header. Raises `ArchiveError` and `BatchError`."""

    def read(self, item: Item) -> bytes:
        """A batch's bytes. Raises `ArchiveError`."""


def open_archive(address: str, parallel: int = 8) -> Archive:
    """The archive at `s3://bucket[/prefix]`, `file:///folder` or a folder's path.

    `parallel` is how many threads use it. Raises `ArchiveError` for what is no address.
    """
    if "://" not in address:
        return Folder(Path(address))
    try:
        parsed = Address.parse(address)
    except ValueError as error:
        raise ArchiveError(f"{error}, or a folder's path") from None
    if parsed.bucket is None:
        return Folder(Path(parsed.path))
    return Bucket(s3_client(parallel), parsed.bucket, parsed.path)


def s3_client(parallel: int) -> Any:
    """An S3 client for `parallel` threads that tries again for a while, unlike the hook's own."""
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=parallel,
        retries={"mode": "standard", "max_attempts": 6},
        user_agent_extra="locust-cloudwatch-relay",
    )
    return aws_session().client("s3", config=config)


class Bucket:
    """An archive in S3. The keys say which batch is where; headers that are read are held against them."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        """`prefix` has no slash at its ends."""
        self.client = client
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""

    def address(self, item: Item) -> str:
        """See `Archive`."""
        return f"s3://{self.bucket}/{item.key}"

    def items(
        self, test: str | None = None, run: str | None = None, seen: Callable[[int], None] | None = None
    ) -> list[Item]:
        """See `Archive`."""
        prefix = self.prefix
        if self._any(f"{prefix}batches/"):
            prefix += "batches/"
            if test is not None:
                prefix += f"{key_part(test)}/"
                if run is not None:
                    prefix += f"{key_part(run)}/"
        found = []
        for page in self._pages(prefix):
            for entry in page:
                if (item := _item(entry)) and test in (None, item.test) and run in (None, item.run):
                    found.append(item)
            if seen:
                seen(len(page))
        return _checked(found, self.address)

    def _any(self, prefix: str) -> bool:
        with _explained(f"s3://{self.bucket}/{prefix}"):
            answer = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, MaxKeys=1)
        return bool(answer.get("Contents"))

    def _pages(self, prefix: str) -> Iterator[list[dict[str, Any]]]:
        pages = iter(self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix))
        while True:
            with _explained(f"s3://{self.bucket}/{prefix}"):
                page = next(pages, None)
            if page is None:
                return
            yield page.get("Contents", [])

    def header(self, item: Item) -> Header:
        """See `Archive`."""
        header = read_header(self._get(item, Range=f"bytes=0-{BEGINNING_BYTES - 1}"), self.address(item))
        _same(header, item, self.address(item))
        return header

    def read(self, item: Item) -> bytes:
        """See `Archive`."""
        _bounded(item, self.address(item))
        return self._get(item)

    def _get(self, item: Item, **more: str) -> bytes:
        if not item.size:  # S3 has no range of nothing
            return b""
        with _explained(self.address(item)):
            body = self.client.get_object(Bucket=self.bucket, Key=item.key, **more)["Body"]
            with body:
                return bytes(body.read())

    def frozen(self, items: Iterable[Item], pool: ThreadPoolExecutor) -> tuple[list[Item], int]:
        """The items that must be restored before they can be read, and how many are being restored."""
        cold = [item for item in items if item.storage in COLD]
        states = list(pool.map(self._restore_state, cold))
        frozen = [item for item, state in zip(cold, states, strict=True) if 'request="false"' not in state]
        return frozen, sum('request="true"' in state for state in states)

    def _restore_state(self, item: Item) -> str:
        with _explained(self.address(item)):
            return str(self.client.head_object(Bucket=self.bucket, Key=item.key).get("Restore", ""))


class Folder:
    """An archive on disk. The headers say which batch is where, so that any layout will do."""

    def __init__(self, folder: Path) -> None:
        """Raises `ArchiveError` when there is no such folder."""
        if not folder.is_dir():
            raise ArchiveError(f"expected a folder or s3://bucket[/prefix], found {str(folder)!r}")
        self.folder = folder / "batches" if (folder / "batches").is_dir() else folder

    def address(self, item: Item) -> str:
        """See `Archive`."""
        return item.key

    def items(
        self, test: str | None = None, run: str | None = None, seen: Callable[[int], None] | None = None
    ) -> list[Item]:
        """See `Archive`."""
        found = []
        for path in self.folder.rglob("*.ndjson.*"):
            if path.suffix not in (".gz", ".zst") or path.name.startswith(".") or not path.is_file():
                continue
            with path.open("rb") as file:
                header = read_header(file.read(BEGINNING_BYTES), str(path))
            if test in (None, header.test) and run in (None, header.run):
                found.append(Item(*identity(header), str(path), path.stat().st_size))
            if seen:
                seen(1)
        return _checked(found, self.address)

    def header(self, item: Item) -> Header:
        """See `Archive`."""
        with Path(item.key).open("rb") as file:
            return read_header(file.read(BEGINNING_BYTES), item.key)

    def read(self, item: Item) -> bytes:
        """See `Archive`."""
        _bounded(item, item.key)
        return Path(item.key).read_bytes()


def identity(batch: Header | Item) -> tuple[str, str, str, int]:
    """What makes a batch the same batch, wherever it is."""
    return batch.test, batch.run, batch.source, batch.seq


def requests_of(source: Archive, item: Item, data: bytes) -> Iterator[Group]:
    """The requests in a batch's bytes, checked. Raises `ArchiveError` and `BatchError`."""
    header, groups = read_requests(data, source.address(item))
    _same(header, item, source.address(item))
    return groups


def _same(header: Header, item: Item, address: str) -> None:
    if identity(header) != identity(item):
        raise ArchiveError(
            f"{address}: expected the batch {identity(item)} by its key, found {identity(header)} in its "
            "header: copy it to where it belongs, or name a source without it"
        )


def _item(entry: dict[str, Any]) -> Item | None:
    """A listed object, if its key is that of a batch."""
    if match := _KEY.search(entry["Key"]):
        test, run, source = map(unquote, match.group(1, 2, 3))
        storage = entry.get("StorageClass", "STANDARD")
        return Item(test, run, source, int(match[4]), entry["Key"], entry["Size"], storage)
    return None


def _checked(found: list[Item], address: Callable[[Item], str]) -> list[Item]:
    if len(found) > MAX_ITEMS:
        raise ArchiveError(f"expected at most {MAX_ITEMS:,} batches, found {len(found):,}: name a test")
    found.sort(key=identity)
    for one, other in pairwise(found):
        if identity(one) == identity(other):
            raise ArchiveError(
                f"expected each batch once, found it twice, as {address(one)} and {address(other)}: "
                "name a source with only one of them"
            )
    return found


def _bounded(item: Item, address: str) -> None:
    if item.size > MAX_BATCH_BYTES:
        raise BatchError(f"{address}: expected at most {MAX_BATCH_BYTES:,} bytes, found {item.size:,}")


class _explained:  # noqa: N801  # reads as a word of the `with` line
    """Turns S3's errors into `ArchiveError`s that name the object and say what to do."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, (ClientError, BotoCoreError)):
            raise explained(error, self._address) from error


def explained(error: ClientError | BotoCoreError, address: str) -> ArchiveError:
    """An error of S3 about one object or prefix, with what to do."""
    code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
    if code in _NOT_RESTORED:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        return ArchiveError(f"{address} lies in cold storage. {restore_help(bucket, key)}")
    return ArchiveError(f"{address}: {error}")


def restore_help(bucket: str, key: str) -> str:
    """How to restore objects like this one."""
    request = '{"Days":3,"GlacierJobParameters":{"Tier":"Bulk"}}'
    return (
        "It cannot be read at once: have a readable copy of each object made for some days, which leaves the "
        "archive as it is,\n"
        f"  aws s3api restore-object --bucket '{bucket}' --key '{key}' --restore-request '{request}'\n"
        "and try again when that is done: after 5 to 12 hours from GLACIER, up to 48 hours from DEEP_ARCHIVE "
        "(Tier Standard: 3 to 5, and 12 hours)."
    )


@dataclass(frozen=True)
class RunItems:
    """The batches of one run."""

    test: str
    run: str
    items: Sequence[Item]

    @property
    def sources(self) -> dict[str, list[Item]]:
        """The batches of each source, by number."""
        sources: dict[str, list[Item]] = {}
        for item in self.items:
            sources.setdefault(item.source, []).append(item)
        return sources

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(item.size for item in self.items)

    def missing(self) -> int:
        """Batches that must have been there, as their numbers are skipped."""
        return sum(items[-1].seq + 1 - len(items) for items in self.sources.values())

    def edges(self) -> list[Item]:
        """The first and the last batch of each source, between which the run lies."""
        return [item for items in self.sources.values() for item in dict.fromkeys((items[0], items[-1]))]


def by_run(items: Iterable[Item]) -> list[RunItems]:
    """Batches put together by run."""
    runs: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        runs.setdefault((item.test, item.run), []).append(item)
    return [RunItems(test, run, items) for (test, run), items in runs.items()]


def started_ms(source: Archive, run: RunItems) -> int:
    """When a run began, milliseconds since 1970: by the id that the hook gave it, or by its first batch."""
    if _RUN.fullmatch(run.run):
        try:
            moment = datetime.strptime(run.run[:16], "%Y%m%dT%H%M%SZ")
        except ValueError:
            pass
        else:
            return int(moment.replace(tzinfo=timezone.utc).timestamp() * 1000)
    return source.header(run.items[0]).run_started_ms


def span_ms(headers: Iterable[Header]) -> tuple[int, int]:
    """First and last time of some batches, milliseconds since 1970."""
    headers = list(headers)
    return (
        min(min(header.run_started_ms, header.from_ms) for header in headers),
        max(header.to_ms for header in headers),
    )


T = TypeVar("T")
R = TypeVar("R")


def in_order(
    pool: ThreadPoolExecutor, parallel: int, work: Callable[[T], R], things: Iterable[T]
) -> Iterator[R]:
    """The results of `work`, in order, with a bounded number of them done ahead."""
    waiting: deque[Future[R]] = deque()
    try:
        for thing in things:
            waiting.append(pool.submit(work, thing))
            if len(waiting) >= parallel * AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
