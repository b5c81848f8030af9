"""Connects the recorder to Locust's events: options, start and end of runs, users, lifecycle, exceptions."""

# mypy: disable-error-code="no-untyped-call"
# Locust's own functions carry no annotations.

from __future__ import annotations

import atexit
import logging
import os
import secrets
import socket
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

import gevent
import locust
from gevent.lock import RLock
from gevent.pool import Group
from locust.env import Environment
from locust.event import Events
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner, WorkerRunner
from locust.stats import StatsError

from .. import __version__
from ..destination import preload
from . import settings
from .columns import Columns
from .recorder import Recorder, Run
from .settings import OPTIONS, Option, Settings

logger = logging.getLogger(__name__)

FROM_MASTER = "relay_started"
"""Attribute of Locust's `parsed_options` by which the master tells its workers of the run: plain data or
None."""

_attached: WeakKeyDictionary[Events, Hook] = WeakKeyDictionary()


def attach(events: Events = locust.events) -> None:
    """Attaches the hook to Locust's events; doing it again changes nothing."""
    if events not in _attached:
        _attached[events] = Hook(events)


class Hook:
    """One process's listeners. A run lasts from `test_start` to the next one, or to the end of the process.

    Requests that other listeners of `test_stop` or `quitting` make are in Locust's statistics, so they are
    recorded.
    """

    def __init__(self, events: Events) -> None:
        """Listens to `events`; `attach` makes sure that it is done once."""
        self.events = events
        self.columns = Columns(Settings.max_endpoints, StatsError.parse_error)
        self.recorder: Recorder | None = None
        self.environment: Environment | None = None
        self._own: dict[str, str] = {}
        self._counted: tuple[int, dict[str, int]] = (-1, {})
        self._listening = False
        self._started = False
        self._reported = ""
        self._finishing = RLock()
        self._ending = Group()
        events.init_command_line_parser.add_listener(self.on_parser)
        events.init.add_listener(self.on_init)
        events.test_start.add_listener(self.on_test_start)
        events.test_stop.add_listener(self.on_test_stop)
        events.user_error.add_listener(self.on_user_error)
        events.spawning_complete.add_listener(self.on_spawning_complete)
        events.reset_stats.add_listener(self.on_reset_stats)
        events.worker_connect.add_listener(self.on_worker_connect)
        events.cpu_warning.add_listener(self.on_cpu_warning)
        events.quitting.add_listener(self.on_quitting)
        events.quit.add_listener(self.on_quit)

    def on_parser(self, parser: Any) -> None:
        """Adds the options."""
        group = parser.add_argument_group("Relay options", "Every request of the run, for CloudWatch.")
        for option in OPTIONS:
            action = group.add_argument(
                option.flag,
                dest=option.dest,
                env_var=option.env,
                default=option.default,
                type=partial(self._checked, option),
                metavar=option.metavar,
                help=option.help,
            )
            action.include_in_web_ui = option.in_web_ui

    def _checked(self, option: Option, value: str) -> str:
        """Argparse's `type`; remembers what this process was told, before its master's options come."""
        option.check(value)
        if value != option.default:
            self._own[option.name] = value
        return value

    def on_init(self, environment: Environment, **_: Any) -> None:
        """Reads the settings and listens for requests already: other listeners of `test_start` may make
        some."""
        self.environment = environment
        is_worker = _is_worker(environment)
        chosen = settings.parse(settings.texts(environment.parsed_options))
        if chosen is None and not is_worker:
            logger.info("relay: nothing is recorded, because --relay-to (or LOCUST_RELAY_TO) is not set")
            return
        if is_worker or (chosen is not None and chosen.to.bucket is not None):
            # A worker learns the destination only when its users start, which is too late to load boto3.
            preload()
        if not self._started:
            self._listen(True)
        process = os.getpid()
        # Some ways out of Locust (an error while waiting for workers) do not fire `quit`.
        atexit.register(lambda: self.finish() if os.getpid() == process else None)

    def _listen(self, listen: bool) -> None:
        if listen != self._listening:
            change = self.events.request.add_listener if listen else self.events.request.remove_listener
            change(self.columns.on_request)
            self._listening = listen

    def on_test_start(self, environment: Environment, **_: Any) -> None:
        """Begins a run: the master and a local runner make it, workers are told."""
        self.environment = environment
        self._started = True
        # Locust has just cleared its statistics: what they hold belongs to this run, what came before does
        # not.
        last = self.columns.pop_last(environment.stats.num_requests)
        if self.recorder is not None:
            self._end_run()
            last += self.columns.pop_last(self.columns.requests)  # came while the former run was being sealed
        begun = self._told_run(environment) if _is_worker(environment) else self._new_run(environment)
        if begun is None:
            self._listen(False)
            return
        chosen, run, source = begun
        self._listen(True)
        self.columns.begin(chosen.max_endpoints, last)
        self.recorder = Recorder(
            chosen,
            run,
            source,
            self.columns,
            versions=(locust.__version__, __version__),
            count_users=self._count_users if self._leads else None,
        )
        self.recorder.start()
        if self._leads:
            logger.info("relay: run %s of test %s goes to %s", run.run, run.test, chosen.to.url)
            self._event("test_start", _about(environment))

    def _new_run(self, environment: Environment) -> tuple[Settings, Run, str] | None:
        texts = settings.texts(environment.parsed_options)
        try:
            chosen = settings.parse(texts)
        except ValueError as error:  # from the web UI: those of the command line were checked
            logger.error("relay: this run is not recorded: %s", error)
            chosen = None
        if chosen is None:
            _tell_workers(environment, None)
            return None
        now = time.time()
        started = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        run = Run(
            test=chosen.test or _test_name(environment),
            run=chosen.run or f"{started}-{secrets.token_hex(2)}",
            run_started_ms=int(now * 1000),
            host=_host(environment),
            labels=chosen.labels,
        )
        _tell_workers(environment, {"settings": texts, "run": run.as_dict()})
        kind = "master" if isinstance(environment.runner, MasterRunner) else "local"
        source = f"{socket.gethostname()}-{kind}"
        if chosen.run:
            # A run id given twice must not make two processes one source: the second's batches would be taken
            # for repetitions of the first's. Ids made here are never the same.
            source += f"-{secrets.token_hex(2)}"
        return chosen, run, source

    def _told_run(self, environment: Environment) -> tuple[Settings, Run, str] | None:
        told: Mapping[str, Any] | None = getattr(environment.parsed_options, FROM_MASTER, None)
        if told is None:
            if self._own.get("to"):
                logger.warning("relay: nothing is recorded: this worker has --relay-to, its master does not")
            return None
        texts = settings.for_worker(self._own, told["settings"])
        try:
            chosen = settings.parse(texts)
        except ValueError as error:
            logger.error("relay: this worker is not recorded: %s", error)
            return None
        if chosen is None:
            return None
        # The beginning of the id that Locust shows for this worker, if it has one already.
        unique = getattr(environment.runner, "client_id", uuid4().hex).rpartition("_")[2][:8]
        source = f"{socket.gethostname()}-worker-{unique}"
        if chosen.run:
            # As in `_new_run`: this process may have two runs of that id.
            source += f"-{secrets.token_hex(2)}"
        return chosen, Run(**told["run"]), source

    def _event(self, kind: str, detail: dict[str, Any]) -> None:
        self.columns.event(int(time.time() * 1000), kind, detail)

    @property
    def _leads(self) -> bool:
        """Whether this process reports users and lifecycle events."""
        return self.environment is not None and not _is_worker(self.environment)

    def _count_users(self, at_ms: int, always: bool = False) -> None:
        runner = self.environment.runner if self.environment is not None else None
        if runner is None or not (always or runner.state in (STATE_RUNNING, STATE_SPAWNING)):
            return
        total = runner.user_count
        if total != self._counted[0]:  # counting by class visits every user
            by_class = (
                runner.reported_user_classes_count
                if isinstance(runner, MasterRunner)
                else runner.user_classes_count
            )
            self._counted = (total, dict(by_class))
        self.columns.users(at_ms, total, dict(self._counted[1]))

    def on_spawning_complete(self, user_count: int, **_: Any) -> None:
        """Notes that all users are there."""
        if self._leads:
            self._event("spawning_complete", {"user_count": user_count})

    def on_reset_stats(self, **_: Any) -> None:
        """Notes that Locust's statistics start anew; the record does not."""
        if self._leads:
            self._event("reset_stats", {})

    def on_worker_connect(self, client_id: str, **_: Any) -> None:
        """Notes a worker; before the first run too."""
        self._event("worker_connect", {"client_id": client_id})

    def on_cpu_warning(self, cpu_usage: float, **_: Any) -> None:
        """Notes a busy process, on workers too."""
        self._event("cpu_warning", {"cpu_usage": cpu_usage})

    def on_user_error(self, exception: BaseException, tb: TracebackType | None, **_: Any) -> None:
        """Notes an exception that a user raised."""
        if self._listening:
            self.columns.exception(int(time.time() * 1000), exception, tb)

    def on_test_stop(self, environment: Environment, **_: Any) -> None:
        """Flushes without making Locust wait: a worker has to send its last statistics to the master now."""
        if self.recorder is None:
            return
        if self._leads:
            self._counted = (-1, {})
            self._count_users(self.recorder.now_ms(), always=True)
            self._event("test_stop", {})
        self.columns.end()
        self.recorder.flush_soon()
        if environment.web_ui is not None:
            gevent.spawn(self._report_when_stored, self.recorder)

    def on_quitting(self, **_: Any) -> None:
        """Notes the end."""
        if self._leads:
            self._event("quitting", {})

    def on_quit(self, **_: Any) -> None:
        """The final flush."""
        self.finish()

    def finish(self) -> None:
        """Ends the run and waits until its batches are stored, but not longer than the setting says."""
        # On SIGTERM, Locust shuts down in two greenlets at once: neither may exit while the other waits.
        with self._finishing:
            recorder, self.recorder = self.recorder, None
            if recorder is not None:
                self._finish(recorder)
            self._ending.join()  # runs before this one, each within its own bound

    def _end_run(self) -> None:
        """Ends the run before the next one, whose start does not wait for the uploads."""
        recorder, self.recorder = self.recorder, None
        if recorder is not None:
            recorder.stop()
            self._ending.spawn(self._finish, recorder)

    def _finish(self, recorder: Recorder) -> None:
        recorder.finish()
        self._report(recorder)

    def _report_when_stored(self, recorder: Recorder) -> None:
        recorder.flush()
        recorder.uploader.drain(recorder.clock() + recorder.settings.final_flush_seconds)
        self._report(recorder)

    def _report(self, recorder: Recorder) -> None:
        summary = recorder.summary()
        if summary != self._reported:
            self._reported = summary
            logger.info("relay: run %s: %s", recorder.run.run, summary)
            if self._leads and (link := recorder.dashboard_link()) is not None:
                logger.info("relay: dashboard: %s", link)


def _is_worker(environment: Environment) -> bool:
    # A worker that joins late may be told to start while its runner is being made, even before `init`.
    return environment.runner is None or isinstance(environment.runner, WorkerRunner)


def _tell_workers(environment: Environment, told: dict[str, Any] | None) -> None:
    # Locust's spawn message carries all of the master's parsed options that are not its own.
    if environment.parsed_options is not None:
        setattr(environment.parsed_options, FROM_MASTER, told)


def _test_name(environment: Environment) -> str:
    # Of several locustfiles the first; older versions of Locust tell it only in the options.
    given = environment.locustfile or getattr(environment.parsed_options, "locustfile", None)
    return Path(str(given or "").partition(",")[0].strip()).stem or "locust"


def _host(environment: Environment) -> str:
    hosts = [environment.host, *(user_class.host for user_class in environment.user_classes)]
    return next((str(host) for host in hosts if host), "")


def _about(environment: Environment) -> dict[str, Any]:
    options = environment.parsed_options
    about: dict[str, Any] = {
        "user_classes": [user_class.__name__ for user_class in environment.user_classes],
        "locustfile": environment.locustfile,
        "shape": type(environment.shape_class).__name__ if environment.shape_class else None,
    }
    for name in ("num_users", "spawn_rate", "run_time"):
        about[name] = getattr(options, name, None)
    return about
