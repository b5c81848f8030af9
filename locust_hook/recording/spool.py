"""Sealed batches waiting for their destination: one folder per process and run, under a common root.

A folder is made with its lock held, so a folder whose lock is free belongs to a process that died: the next
process with the same root adopts it. Layout: `<root>/<owner>/{lock,owner.json,<seq>.<requests>.ndjson.gz}`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

SUFFIX: Final = ".ndjson.gz"
OWNER: Final = "owner.json"
MAX_MEMORY: Final = 16 * 2**20
"""Bytes of sealed batches kept in memory while the spool folder cannot be written."""

_BATCH_NAME: Final = re.compile(r"(\d{6,})\.(\d+)\.ndjson\.gz")


@dataclass(frozen=True)
class Sealed:
    """A batch that waits: where it goes (`to`, `key`), its number of requests, and its bytes or their
    file."""

    to: str
    key: str
    requests: int
    size: int
    path: Path | None = None
    data: bytes | None = None

    def read(self) -> bytes | None:
        """The batch's bytes, or None when its file is gone (somebody emptied the spool)."""
        if self.data is not None or self.path is None:
            return self.data
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def forget(self) -> None:
        """Deletes the file."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class Spool:
    """The folder of this process and run. All methods may block on the disk: call them in a native thread.

    `root`: folder shared by all processes of a machine. `limit`: bytes that all of them together may take.
    `to`, `key_prefix`: where this run's batches go; the prefix ends in `/`. `synced`: batches outlast a
    power cut. The sidecar needs that, whose state says that they exist. The hook does not wait for the disk:
    most of its batches are stored and deleted before they would ever reach it, and to force them there could
    hold up whatever else the load generator writes.
    """

    def __init__(self, root: Path, limit: int, to: str, key_prefix: str, synced: bool = False) -> None:
        """Makes the folder with the first batch."""
        self.root = root
        self.limit = limit
        self.to = to
        self.key_prefix = key_prefix
        self.synced = synced
        self.error: OSError | None = None
        """Why the folder could not be written, the last time; None while it can."""
        self._owner: _Owner | None = None

    def seal(self, seq: int, requests: int, data: bytes) -> Sealed:
        """Writes a batch by write and rename; if the disk refuses, the batch stays in memory (see
        `error`)."""
        key = f"{self.key_prefix}{seq:06}{SUFFIX}"
        try:
            if self._owner is None:
                self._owner = _Owner.create(self.root, {"to": self.to, "key_prefix": self.key_prefix})
                if self.synced:
                    sync_file(self._owner.folder / OWNER)
                    sync_folder(self.root)
            path = self._owner.write(f"{seq:06}.{requests}{SUFFIX}", data, self.synced)
        except OSError as error:
            self.error = error
            return Sealed(self.to, key, requests, len(data), data=data)
        self.error = None
        return Sealed(self.to, key, requests, len(data), path=path)

    def excess(self) -> int:
        """Bytes by which the batches of all processes under the root exceed the limit; negative: there is
        room."""
        total = 0
        for folder in _entries(self.root):
            for path in _entries(Path(folder)):
                try:
                    total += path.stat().st_size if path.name.endswith(SUFFIX) else 0
                except OSError:
                    continue  # uploaded by its owner meanwhile, or not ours to see
        return total - self.limit

    def adopt(self) -> Iterator[Orphan]:
        """The folders whose process died, locked for us."""
        if not self.root.is_dir():
            return
        for folder in sorted(self.root.iterdir()):
            if not folder.name.startswith(".") and (self._owner is None or folder != self._owner.folder):
                orphan = Orphan.lock(folder)
                if orphan is not None:
                    yield orphan

    def close(self) -> None:
        """Gives up the folder: it is deleted when empty, else left for the next process."""
        if self._owner is not None:
            self._owner.close()
            self._owner = None


class _Owner:
    """A locked spool folder."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock

    @classmethod
    def create(cls, root: Path, about: dict[str, Any]) -> _Owner:
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        # Under a hidden name until the lock is held, so that nobody takes the new folder for an orphan.
        hidden = root / f".{name}"
        hidden.mkdir(parents=True, mode=0o700)
        try:
            lock = try_lock(hidden)
            assert lock is not None  # noqa: S101  # the name is random: nobody else can hold it
            (hidden / OWNER).write_text(json.dumps(about))
            hidden.rename(root / name)
        except OSError:
            shutil.rmtree(hidden, ignore_errors=True)
            raise
        return cls(root / name, lock)

    def write(self, name: str, data: bytes, synced: bool) -> Path:
        path = self.folder / name
        part = self.folder / f"{name}.part"
        try:
            part.write_bytes(data)
            if synced:
                sync_file(part)
            part.rename(path)
            if synced:
                sync_folder(self.folder)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return path

    def release(self) -> None:
        """Gives the lock back and leaves the folder as it is."""
        os.close(self._lock)

    def close(self) -> None:
        """Gives the lock back; deletes the folder when nothing waits in it."""
        if not any(self.folder.glob(f"*{SUFFIX}")):
            shutil.rmtree(self.folder, ignore_errors=True)
        self.release()


class Orphan(_Owner):
    """A folder left by a process that died; this process holds its lock now."""

    @classmethod
    def lock(cls, folder: Path) -> Orphan | None:
        """None when its owner lives, another process was faster, or it is no folder that we may lock."""
        try:
            lock = try_lock(folder, create=0)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            logger.warning("relay: left alone: %s", error)
            return None
        return None if lock is None else cls(folder, lock)

    def batches(self) -> list[Sealed]:
        """What waits in it, oldest first. Raises ValueError when the folder does not say where it belongs."""
        try:
            about = json.loads((self.folder / OWNER).read_text())
            to, prefix = str(about["to"]), str(about["key_prefix"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"expected {OWNER} with `to` and `key_prefix` in {self.folder}: {error!r}"
            ) from error
        found = []
        for path in sorted(self.folder.iterdir()):
            if match := _BATCH_NAME.fullmatch(path.name):
                key = f"{prefix}{match[1]}{SUFFIX}"
                found.append(Sealed(to, key, int(match[2]), path.stat().st_size, path=path))
        return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing when it is no folder, gone, or not ours to see."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def sync_file(path: Path) -> None:
    """Brings a file's content to the disk itself. Raises OSError."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Brings a folder's names to the disk itself; Windows does so without being asked. Raises OSError."""
    if sys.platform != "win32":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def try_lock(folder: Path, create: int = os.O_CREAT) -> int | None:
    """Takes the lock, which the system gives back when the process ends in any way; None when it is taken.

    `create`: 0 when only a lock that is there will do: making one in a folder that its owner deletes, or in a
    foreign one, would leave it behind.
    """
    lock = os.open(folder / "lock", create | os.O_RDWR, 0o600)
    if sys.platform == "win32":
        return lock
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        os.close(lock)
        raise
    return lock
