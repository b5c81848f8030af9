"""`python -m locust_hook sidecar`."""

from __future__ import annotations

import csv
import logging
import signal
import socket
import threading
from typing import Any

from .checkpoint import Checkpoint, CheckpointError
from .client import MAX_ANSWER, Client
from .interface import Interface
from .settings import read
from .sidecar import Sidecar
from .watch import Naming


def main(arguments: list[str]) -> int:
    """Runs until SIGINT or SIGTERM. The exit code: 0; 1 when requests were lost; 2 for wrong settings."""
    logging.basicConfig(level=logging.INFO, format="[%(asctime)s] %(levelname)s: %(message)s")
    settings = read(arguments)
    recording = settings.recording
    csv.field_size_limit(MAX_ANSWER)  # names and texts have no limit in Locust
    naming = Naming(recording.test, recording.run, f"{socket.gethostname()}-sidecar", recording.labels)
    try:
        sidecar = Sidecar(
            settings,
            naming,
            Interface(Client(settings.url, settings.login, settings.context)),
            Checkpoint(recording.spool, settings.url, recording.to),
        )
    except CheckpointError as error:
        logging.getLogger(__name__).error("relay: %s", error)
        return 2
    return 0 if sidecar.run(_stop_by_signals()) else 1


def _stop_by_signals() -> threading.Event:
    """Set by the first SIGINT or SIGTERM; the second one ends the process at once."""
    stop = threading.Event()

    def on_signal(*_: Any) -> None:
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop
