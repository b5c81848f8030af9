"""The state on disk, written in one step with the batch that it is the state after.

Killed at any moment, the sidecar must not count anything twice, nor lose it. A batch in the spool and a state
in a file would be two steps. So the file holds both: its rename is the moment at which a batch exists and its
requests are told. The batch is sealed in the spool after that, and again at the next start: batches have
names, so storing one twice changes nothing.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from ..destination import Address as Destination
from ..recording.spool import sync_folder, try_lock
from .client import Address
from .state import State

NAME: Final = "state.json"


class CheckpointError(Exception):
    """The state cannot be used; the text says what to do."""


@dataclass(frozen=True)
class Batch:
    """A batch, as the spool takes it."""

    key_prefix: str
    seq: int
    requests: int
    data: bytes


class Checkpoint:
    """The file of one sidecar: of what it reads (`url`) and where batches go (`to`), however spelled."""

    def __init__(self, root: Path, url: Address, to: Destination) -> None:
        """Makes and locks a folder under the spool's `root`. Raises `CheckpointError`."""
        identity = json.dumps([url.scheme, url.host, url.port, url.path, to.bucket, to.path])
        name = blake2b(identity.encode(), digest_size=6).hexdigest()
        # Hidden, so that the spool does not take it for a folder of batches.
        self.folder = root / f".sidecar-{name}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = try_lock(self.folder)
        except OSError as error:
            raise CheckpointError(
                f"expected a folder that can be written as --spool, found {error.strerror}: {error.filename}"
            ) from error
        if lock is None:
            raise CheckpointError(
                f"another sidecar brings {url.url} to {to.url} already: it holds the lock of {self.folder}"
            )
        self._lock = lock

    def load(self) -> tuple[State, Batch | None]:
        """The state, and the batch that may not be in the spool. Raises `CheckpointError`."""
        path = self.folder / NAME
        try:
            plain = json.loads(path.read_bytes())
            state = State.from_dict(plain["state"])
            batch = plain["batch"]
            pending = None if batch is None else Batch(**{**batch, "data": b64decode(batch["data"])})
        except FileNotFoundError:
            return State(), None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"expected the sidecar's state in {path}, found {error!r}. Without that file, all that "
                "Locust counts at this moment is taken for new"
            ) from error
        return state, pending

    def commit(self, state: State, batch: Batch | None) -> None:
        """Makes both durable, or neither. Raises OSError."""
        plain = {"state": state.as_dict(), "batch": None}
        if batch is not None:
            plain["batch"] = {**vars(batch), "data": b64encode(batch.data).decode()}
        content = json.dumps(plain, ensure_ascii=True, separators=(",", ":")).encode()
        part = self.folder / f"{NAME}.part"
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / NAME)
        sync_folder(self.folder)  # or the rename may be undone by a power cut

    def close(self) -> None:
        """Gives back the lock; the file stays."""
        os.close(self._lock)
