"""Spool, uploader and destinations without Locust: order, limits, losses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from locust_hook.destination import Address, Bucket, Folder, UploadError, batch_prefix, key_part, s3_client
from locust_hook.recording import outbox as outbox_module
from locust_hook.recording import spool as spool_module
from locust_hook.recording import uploader as uploader_module
from locust_hook.recording.settings import OPTIONS, Settings, for_worker, parse, parse_labels
from locust_hook.recording.spool import Orphan, Sealed, Spool
from locust_hook.recording.uploader import Uploader

TO = "file:///somewhere"


class Store:
    """A destination in memory that can be told to fail."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.fails = False
        self.attempts = 0
        self.error: Exception = UploadError("away")

    def put(self, key: str, data: bytes) -> None:
        self.attempts += 1
        if self.fails:
            raise self.error
        self.stored.append(key)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(uploader_module, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(uploader_module, "LONGEST_PAUSE_SECONDS", 0.002)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", 1_000, TO, "batches/t/r/s/")
    yield spool
    spool.close()


@pytest.fixture
def uploader(spool: Spool, store: Store) -> Iterator[Uploader]:
    uploader = Uploader(spool, lambda _: store)
    uploader.start()
    yield uploader
    uploader.close()


def until(condition: Callable[[], Any]) -> None:
    """Lets greenlets run until the condition holds."""
    with gevent.Timeout(10):
        while not condition():
            gevent.sleep(0.001)


def keys(*numbers: int) -> list[str]:
    return [f"batches/t/r/s/{number:06}.ndjson.gz" for number in numbers]


def test_batches_are_stored_in_order_and_leave_the_spool(
    spool: Spool, uploader: Uploader, store: Store
) -> None:
    store.fails = True
    for seq in range(3):
        uploader.add(spool.seal(seq, 10, b"x" * 100))
    until(lambda: store.attempts > 2)
    assert len(list(spool.root.glob("*/*.ndjson.gz"))) == 3
    assert not uploader.drain(time.time() + 0.01)
    store.fails = False
    assert uploader.drain(time.time() + 10)
    assert store.stored == keys(0, 1, 2)
    assert list(spool.root.glob("*/*.ndjson.gz")) == []
    assert (uploader.totals.requests, uploader.totals.lost_requests) == (30, 0)
    spool.close()
    assert list(spool.root.iterdir()) == []


def test_beyond_the_limit_the_oldest_batch_goes_and_is_counted(
    spool: Spool, uploader: Uploader, store: Store
) -> None:
    store.fails = True
    for seq in range(4):
        uploader.add(spool.seal(seq, 10 + seq, b"x" * 300))
        uploader.trim(spool.excess())
    assert [sealed.key for sealed in uploader.waiting] == keys(1, 2, 3)
    assert (uploader.totals.lost_batches, uploader.totals.lost_requests) == (1, 10)
    store.fails = False
    assert uploader.drain(time.time() + 10)
    assert store.stored == keys(1, 2, 3)


def test_the_limit_holds_for_all_processes_together(spool: Spool, tmp_path: Path) -> None:
    other = Spool(spool.root, 1_000, TO, "batches/t/r/other/")
    other.seal(0, 1, b"x" * 900)
    spool.seal(0, 1, b"x" * 200)
    assert spool.excess() == 100
    other.close()


def test_a_spool_that_others_fill_costs_nothing_while_uploads_work(
    spool: Spool, uploader: Uploader, store: Store
) -> None:
    other = Spool(spool.root, 1_000, TO, "batches/t/r/other/")
    other.seal(0, 1, b"x" * 5_000)
    uploader.add(spool.seal(0, 1, b"x" * 900))
    uploader.trim(spool.excess())
    assert uploader.totals.lost_batches == 0
    assert uploader.drain(time.time() + 10)
    assert store.stored == keys(0)
    other.close()


def test_each_process_drops_its_share_of_a_full_spool(spool: Spool, store: Store) -> None:
    store.fails = True
    others = [Spool(spool.root, 1_000, TO, f"batches/t/r/{n}/") for n in range(3)]
    uploaders = [Uploader(other, lambda _: store) for other in others]
    for uploader, other in zip(uploaders, others, strict=True):
        uploader.start()
        for seq in range(10):
            uploader.add(other.seal(seq, 1, b"x" * 40))
    until(lambda: all(uploader._failing_since for uploader in uploaders))
    excess = others[0].excess()
    assert excess == 200
    for uploader in uploaders:  # at once: none knows what the others drop
        uploader.trim(excess)
    assert [uploader.totals.lost_batches for uploader in uploaders] == [2, 2, 2]  # 67 bytes each
    for uploader, other in zip(uploaders, others, strict=True):
        uploader.close()
        other.close()


def test_what_others_left_goes_before_the_own_batches(spool: Spool, store: Store) -> None:
    die(spool.root)
    store.fails = True
    uploader = Uploader(spool, lambda _: store)
    uploader.start()
    uploader.adopt()
    uploader.add(spool.seal(0, 1, b"x" * 1_000))
    until(lambda: store.attempts)
    uploader.trim(spool.excess())
    assert [sealed.key for sealed in uploader.waiting] == keys(0)
    assert uploader.totals.lost_requests == 10
    store.fails = False
    assert uploader.drain(time.time() + 10)
    assert store.stored == keys(0)
    uploader.close()


def test_what_the_disk_refuses_waits_in_memory_within_bounds(
    spool: Spool, uploader: Uploader, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "MAX_MEMORY", 250)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    store.fails = True
    for seq in range(4):
        sealed = spool.seal(seq, 10, b"x" * 100)
        assert sealed.path is None
        uploader.add(sealed)
        uploader.trim(spool.excess())
    assert "No space left" in str(spool.error)
    assert uploader.totals.lost_requests == 20
    store.fails = False
    assert uploader.drain(time.time() + 10)
    assert store.stored == keys(2, 3)


def test_a_batch_that_somebody_removed_is_counted_as_lost(
    spool: Spool, uploader: Uploader, store: Store
) -> None:
    store.fails = True
    sealed = spool.seal(0, 7, b"x")
    uploader.add(sealed)
    until(lambda: store.attempts)
    assert sealed.path is not None
    sealed.path.unlink()
    store.fails = False
    assert uploader.drain(time.time() + 10)
    assert (store.stored, uploader.totals.lost_requests) == ([], 7)


def test_files_that_cannot_be_deleted_do_not_end_the_uploads(
    spool: Spool,
    uploader: Uploader,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as broke:
        broke.setattr(Path, "unlink", denied)
        for seq in range(2):
            uploader.add(spool.seal(seq, 1, b"x" * 300))
        assert uploader.drain(time.time() + 2)
        store.fails = True
        uploader.add(spool.seal(2, 1, b"x" * 900))
        until(lambda: store.attempts > 2)
        uploader.trim(spool.excess())
    assert (store.stored, uploader.totals.lost_batches) == (keys(0, 1), 1)
    assert caplog.text.count("cannot delete") == 1


def test_an_error_that_nobody_expects_does_not_end_the_uploads(
    spool: Spool, uploader: Uploader, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.error = RuntimeError("nobody expects this")
    store.fails = True
    uploader.add(spool.seal(0, 1, b"x"))
    until(lambda: store.attempts > 2)
    store.fails = False
    assert uploader.drain(time.time() + 10)
    assert store.stored == keys(0)
    assert caplog.text.count("RuntimeError('nobody expects this')") == 1


DIES = """
import os, sys, pathlib
from locust_hook.recording.spool import Spool
spool = Spool(pathlib.Path(sys.argv[1]), 10**6, sys.argv[2], "batches/t/r/dead/")
for seq in range(2):
    spool.seal(seq, 5, b"x")
os._exit(0)
"""


def die(root: Path, to: str = TO) -> None:
    """Leaves a spool folder behind, as a process that is killed."""
    subprocess.run([sys.executable, "-c", DIES, str(root), to], check=True)


def test_orphans_are_adopted_once_and_go_where_they_belong(spool: Spool, tmp_path: Path) -> None:
    die(spool.root)
    die(spool.root, "file:///elsewhere")
    other = Spool(spool.root, 1_000, TO, "batches/t/r/other/")
    stores: dict[str, Store] = {}
    uploader = Uploader(spool, lambda address: stores.setdefault(address.url, Store()))
    uploader.start()
    uploader.adopt()
    assert list(other.adopt()) == [], "they have an owner again"
    assert uploader.drain(time.time() + 10)
    assert stores[TO].stored == stores["file:///elsewhere"].stored == [
        f"batches/t/r/dead/{seq:06}.ndjson.gz" for seq in range(2)
    ]  # fmt: skip
    uploader.close()
    assert [path for path in spool.root.iterdir() if not path.name.startswith(".")] == []


def test_orphans_whose_destination_is_away_do_not_hold_up_others(spool: Spool) -> None:
    die(spool.root, "file:///elsewhere")
    away, here = Store(), Store()
    away.fails = True
    uploader = Uploader(spool, lambda address: here if address.url == TO else away)
    uploader.start()
    uploader.adopt()
    until(lambda: away.attempts)
    uploader.add(spool.seal(0, 1, b"x"))
    until(lambda: here.stored == keys(0))
    uploader.close()
    assert len(list(spool.root.glob("*/*.ndjson.gz"))) == 2


@pytest.mark.parametrize("about", ["", "[]", '{"to": "http://x", "key_prefix": "p/"}', '{"to": "file:///x"}'])
def test_a_folder_that_is_no_spool_is_left_alone(
    spool: Spool, uploader: Uploader, about: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = spool.root / "123-abc"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    (folder / "owner.json").write_text(about)
    (folder / "000000.5.ndjson.gz").write_bytes(b"x")
    uploader.adopt()
    assert "left alone" in caplog.text
    assert (folder / "000000.5.ndjson.gz").exists()
    (orphan,) = spool.adopt()
    assert isinstance(orphan, Orphan)
    orphan.release()


def test_folders_that_cannot_be_locked_do_not_hold_up_others(
    spool: Spool, uploader: Uploader, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    die(spool.root)
    (spool.root / "0-foreign").mkdir()
    (spool.root / "0-locked/lock").mkdir(parents=True)  # cannot be opened, also by root
    uploader.adopt()
    assert "left alone: [Errno 21] Is a directory" in caplog.text
    assert uploader.drain(time.time() + 10)
    assert len(store.stored) == 2
    assert list((spool.root / "0-foreign").iterdir()) == []


def test_a_new_folder_is_never_taken_for_an_orphan(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Spool(spool.root, 1_000, TO, "batches/t/r/other/")
    found: list[Orphan] = []
    real = spool_module.try_lock

    def lock(
        folder: Path, *create: int
    ) -> int | None:  # another process looks while the folder is being made
        monkeypatch.setattr(spool_module, "try_lock", real)
        found.extend(other.adopt())
        return real(folder)

    monkeypatch.setattr(spool_module, "try_lock", lock)
    spool.seal(0, 1, b"x")
    found.extend(other.adopt())
    assert found == []


def test_a_folder_keeps_the_first_batch_of_a_key(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out")
    folder.put("a/b.ndjson.gz", b"first")
    folder.put("a/b.ndjson.gz", b"second")
    assert (tmp_path / "out/a/b.ndjson.gz").read_bytes() == b"first"
    assert [path.name for path in (tmp_path / "out/a").iterdir()] == ["b.ndjson.gz"]
    (tmp_path / "out/c").write_text("a file in the way")
    with pytest.raises(UploadError, match=r"Not a directory|File exists"):
        folder.put("c/d.ndjson.gz", b"x")


def test_a_full_folder_is_not_filled_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        write(path, data[:1])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UploadError, match="No space left"):
        Folder(tmp_path / "out").put("a/b.ndjson.gz", b"content")
    assert list((tmp_path / "out/a").iterdir()) == []


class Client:
    """An S3 client that fails as it is told."""

    class meta:  # noqa: N801  # as boto3 has it
        region_name = "eu-west-1"

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.calls: list[dict[str, Any]] = []

    def put_object(self, **call: Any) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error


def s3_error(status: int, code: str) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutObject")


def test_a_bucket_is_asked_not_to_replace() -> None:
    client = Client(None)
    Bucket("bucket", "some/prefix/", lambda: client).put("batches/a", b"x")
    (call,) = client.calls
    assert (call["Bucket"], call["Key"], call["IfNoneMatch"]) == ("bucket", "some/prefix/batches/a", "*")


def test_a_batch_that_is_there_already_counts_as_stored() -> None:
    Bucket("bucket", "", lambda: Client(s3_error(412, "PreconditionFailed"))).put("a", b"x")


@pytest.mark.parametrize(
    ("error", "clients"),
    [
        (s3_error(403, "AccessDenied"), 1),
        (s3_error(503, "SlowDown"), 1),
        (s3_error(400, "ExpiredToken"), 2),
        (NoCredentialsError(), 2),
        (RuntimeError("nobody expects this"), 1),
    ],
)
def test_credentials_are_read_anew_only_when_they_were_wrong(error: Exception, clients: int) -> None:
    made: list[Client] = []

    def make() -> Client:
        made.append(Client(error))
        return made[-1]

    bucket = Bucket("bucket", "", make)
    for _ in range(2):
        with pytest.raises(UploadError, match="s3://bucket/a"):
            bucket.put("a", b"x")
    assert len(made) == clients


@pytest.mark.parametrize(
    ("environment", "region"),
    [
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
        ({"AWS_REGION": ""}, "eu-north-1"),
    ],
)
def test_the_region_is_found_as_every_aws_tool_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], region: str
) -> None:
    (tmp_path / "config").write_text("[default]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    s3_client.cache_clear()
    try:
        assert s3_client().meta.region_name == region
    finally:
        s3_client.cache_clear()


@pytest.mark.parametrize(
    ("part", "encoded"),
    [("a b/ä", "a%20b%2F%C3%A4"), ("A.z_0-9@", "A.z_0-9@"), ("~+*", "%7E%2B%2A"), ("\ud800", "%3F")],
)
def test_key_parts_are_encoded(part: str, encoded: str) -> None:
    assert key_part(part) == encoded
    assert batch_prefix(part, "r", "s") == f"batches/{encoded}/r/s/"


def test_addresses() -> None:
    assert Address.parse("s3://bucket/a/b/").path == "a/b"
    assert Address.parse("s3://bucket").path == ""
    assert Address.parse("file:///a%20b").path == "/a b"
    for wrong in (
        "",
        "s3://",
        "s3:/bucket",
        "s3://B",
        "ftp://x",
        "file://host/x",
        "file:x",
        "s3://b" + "x" * 70,
    ):
        with pytest.raises(ValueError, match="expected s3://bucket"):
            Address.parse(wrong)


def test_settings_have_defaults_and_workers_keep_what_belongs_to_their_machine() -> None:
    texts = {option.name: option.default for option in OPTIONS}
    assert parse(texts) is None
    found = parse({**texts, "to": TO})
    assert found is not None
    expected = Settings(to=Address.parse(TO), spool=found.spool)
    assert found == expected
    masters = {**texts, "to": TO, "spool": "/masters", "flush-seconds": "3"}
    worker = parse(for_worker({"spool": "/mine", "flush-seconds": "7"}, masters))
    assert worker is not None
    assert (str(worker.spool), worker.flush_seconds) == ("/mine", 3.0)
    worker = parse(for_worker({}, masters))
    assert worker is not None
    assert str(worker.spool) == "/masters"


@pytest.mark.parametrize(
    "text", ["a", "=b", "a=1,a=2", "a=" + "x" * 300, ",".join(f"k{n}=v" for n in range(21))]
)
def test_labels_that_are_wrong(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_labels(text)


def test_labels() -> None:
    assert parse_labels(" a = b , c=d=e,, f= ") == {"a": "b", "c": "d=e", "f": ""}
    assert json.loads(json.dumps(parse_labels(""))) == {}


def test_reading_what_is_sealed(spool: Spool) -> None:
    sealed = spool.seal(3, 1, b"content")
    assert sealed.read() == b"content"
    assert Sealed(TO, "k", 1, 1, data=b"m").read() == b"m"
    sealed.forget()
    assert sealed.read() is None
