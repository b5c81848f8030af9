"""`python -m locust_hook run` beside Locust itself: what one accepts, refuses and says, so does the other."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hook.locusts import PATIENCE, Locust, free_port, wait_for
from tests.hook.reader import counts, read_folder

ROOT = Path(__file__).parents[2]
PYTHON = os.path.abspath(os.environ.get("HOOK_TESTS_PYTHON", sys.executable))
PLAIN = (str(Path(PYTHON).parent / "locust"),)
WRAPPED = (PYTHON, "-m", "locust_hook", "run")

HEADER = "from locust import User, constant, events, task\n"
FINE = """
class {name}(User):
    wait_time = constant(0.05)

    @task
    def work(self):
        self.environment.events.request.fire(
            request_type="DO", name="{name}", response_time=1, response_length=1,
            exception={exception}, context={{}},
        )
"""
WORKER = HEADER + FINE.format(name="Worker", exception=None)
FAILING = HEADER + FINE.format(name="Failing", exception="ValueError('no')")
ENDS_WITH_42 = (
    WORKER
    + "\n@events.quitting.add_listener\ndef end(environment, **_):\n    environment.process_exit_code = 42\n"
)
SHORT = ("--headless", "--users", "2", "--spawn-rate", "100", "--run-time", "1s", "--only-summary")


@dataclass
class End:
    """How a process ended."""

    code: int
    out: str
    err: str


@dataclass
class Folder:
    """A folder of somebody's test, and commands run in it."""

    path: Path

    def write(self, **files: str) -> None:
        """Writes files; `__` stands for `.`, and `_in_` for `/`."""
        for name, content in files.items():
            path = self.path / name.replace("_in_", "/").replace("__", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)

    def start(self, program: Sequence[str], *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Starts Locust, or the wrapper."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
        environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "100", **variables}
        return subprocess.Popen(
            [*program, *arguments], cwd=self.path, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def both(self, *arguments: str, **variables: str) -> tuple[End, End]:
        """How Locust ends, and how the wrapper ends, run side by side."""
        running = [self.start(program, *arguments, **variables) for program in (PLAIN, WRAPPED)]
        ends = []
        for process in running:
            out, err = process.communicate(timeout=PATIENCE)
            ends.append(End(process.returncode, out.decode(), err.decode()))
        return ends[0], ends[1]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def comparable(text: str) -> list[str]:
    """What is said, without times and what only the hook says."""
    lines = [line for line in text.splitlines() if "relay: " not in line]
    return [re.sub(r"^\[[^]]+\] ", "", line) for line in lines]


def without_frames(lines: list[str]) -> list[str]:
    """The lines without a traceback's frames: Locust has other callers."""
    return [line for line in lines if not line.startswith("  ")]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--nosuch"], 2, "unrecognized arguments: --nosuch"),
        (["--users", "many"], 2, "invalid int value: 'many'"),
        (["-f", "missing.py"], 1, "Could not find 'missing.py'"),
        (["-f", "broken.py"], 1, "SyntaxError"),
        (["-f", "raising.py"], 1, "RuntimeError: not today"),
        (["-f", "empty.py"], 1, "No User class found!"),
        (["--headless", "Nobody"], 1, "Unknown User(s): Nobody"),
        (["--master", "--worker"], None, "The --master argument cannot be combined with --worker"),
        (["--list", "-f", "locustfile.py,other.py"], 0, "Worker"),
        (["--list", "-f", "folder"], 0, "Folded"),
        (["--show-task-ratio", "Worker"], 0, "Worker"),
        (["--version"], 0, "locust "),
        (["--list", "--config", "other.conf"], 0, "Other"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_it_says_and_ends_what_locust_does(
    folder: Folder, arguments: list[str], code: int | None, words: str
) -> None:
    folder.write(
        locustfile__py=WORKER,
        other__py=HEADER + FINE.format(name="Other", exception=None),
        broken__py="class User(:\n",
        raising__py="raise RuntimeError('not today')\n",
        empty__py="import locust\n",
        folder_in_one__py=HEADER + FINE.format(name="Folded", exception=None),
        other__conf="locustfile = other.py\nheadless = true\n",
    )
    plain, wrapped = folder.both(*arguments)
    assert words in plain.out + plain.err
    assert comparable(wrapped.out) == comparable(plain.out)
    assert without_frames(comparable(wrapped.err)) == without_frames(comparable(plain.err))
    assert wrapped.code == plain.code
    assert code in (None, wrapped.code)


def test_the_help_is_locust_s_with_a_group_more(folder: Folder) -> None:
    plain, wrapped = folder.both("--help")
    assert (plain.code, wrapped.code) == (0, 0)
    group = re.search(r"^Relay options:\n(?:.*\n)*?\n(?=\S)", wrapped.out, re.MULTILINE)
    assert group is not None
    assert "--relay-to" in group[0]
    usual = wrapped.out.replace(group[0], "")
    assert [line.split() for line in usual.splitlines()] == [line.split() for line in plain.out.splitlines()]


@pytest.mark.parametrize(
    ("locustfile", "arguments", "code"),
    [
        (WORKER, [], 0),
        (FAILING, [], 1),
        (FAILING, ["--exit-code-on-error", "7"], 7),
        (ENDS_WITH_42, [], 42),
        (ENDS_WITH_42, ["--processes", "2"], 42),
    ],
    ids=["fine", "failures", "own code", "listener's code", "listener's code with processes"],
)
def test_a_run_ends_with_locust_s_exit_code(
    folder: Folder, locustfile: str, arguments: list[str], code: int
) -> None:
    folder.write(locustfile__py=locustfile)
    ports = [free_port(), free_port()]
    running = [
        folder.start(program, *SHORT, *arguments, "--master-bind-port", str(port), "--master-port", str(port))
        for program, port in zip((PLAIN, WRAPPED), ports, strict=True)
    ]
    said = [process.communicate(timeout=PATIENCE) for process in running]
    assert [process.returncode for process in running] == [code, code], said


def test_files_of_the_test_do_not_stand_for_modules_that_locust_imports(folder: Folder) -> None:
    broken = "raise RuntimeError('not meant for Locust')\n"
    folder.write(locust__py=WORKER, calendar__py=broken, queue__py=broken)
    for end in folder.both("-f", "locust.py", "--list"):
        assert (end.code, end.out.split()) == (0, ["Available", "Users:", "Worker"]), end


def test_modules_beside_the_locustfile_are_found(folder: Folder) -> None:
    folder.write(locustfile__py="from shared import Worker\n", shared__py=WORKER)
    for end in folder.both("--list"):
        assert (end.code, end.out.split()) == (0, ["Available", "Users:", "Worker"]), end


def recorded(folder: Folder, to: Path) -> set[str]:
    """Names of the requests in the batches."""
    sources = read_folder(to)
    return {name for _, name in counts(batch for source in sources.values() for batch in source)}


@pytest.mark.parametrize("how", ["locust.conf", "--config", "pyproject.toml", "environment"])
def test_options_may_stand_where_locust_reads_them(folder: Folder, how: str) -> None:
    to, spool = folder.path / "out", folder.path / "spool"
    options = {
        "locustfile": "first.py,second.py",
        "users": "2",
        "spawn-rate": "100",
        "run-time": "1s",
        "relay-to": to.as_uri(),
        "relay-spool": str(spool),
    }
    folder.write(
        first__py=HEADER + FINE.format(name="First", exception=None),
        second__py=HEADER + FINE.format(name="Second", exception=None),
    )
    text = "".join(f"{name} = {value}\n" for name, value in options.items()) + "headless = true\n"
    arguments: list[str] = []
    variables: dict[str, str] = {}
    if how == "locust.conf":
        folder.write(locust__conf=text)
    elif how == "--config":
        folder.write(mine__conf=text)
        arguments = ["--config", "mine.conf"]
    elif how == "pyproject.toml":
        quoted = "".join(f'{name} = "{value}"\n' for name, value in options.items())
        folder.write(pyproject__toml=f"[tool.locust]\n{quoted}headless = true\n")
    else:
        variables = {f"LOCUST_{name.replace('-', '_').upper()}": value for name, value in options.items()}
        variables["LOCUST_HEADLESS"] = "true"
    process = folder.start(WRAPPED, *arguments, **variables)
    said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert recorded(folder, to) == {"First", "Second"}, said


def test_a_worker_may_get_the_locustfile_from_its_master(folder: Folder) -> None:
    folder.write(locustfile__py=WORKER)
    port, to = str(free_port()), folder.path / "out"
    master = folder.start(
        *(WRAPPED, "--master", "--expect-workers", "1", "--master-bind-port", port, *SHORT),
        *("--relay-to", to.as_uri(), "--relay-spool", str(folder.path / "spool")),
    )  # fmt: skip
    worker = folder.start(WRAPPED, "--worker", "-f", "-", "--master-port", port)
    said = [process.communicate(timeout=PATIENCE) for process in (worker, master)]
    assert (worker.returncode, master.returncode) == (0, 0), said
    assert recorded(folder, to) == {"Worker"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_as_they_end_locust(folder: Folder, number: signal.Signals) -> None:
    folder.write(locustfile__py=FAILING)
    logs = []
    for index, program in enumerate((PLAIN, WRAPPED)):
        process = folder.start(program, "--headless", "--logfile", f"{index}.log", "--only-summary")
        logs.append(Locust(process, folder.path / f"{index}.log"))
    for locust in logs:
        wait_for(locust.log.exists, "a log", locust)
        locust.says("All users spawned")
        locust.signal(number)
    for locust in logs:
        locust.process.communicate(timeout=PATIENCE)
    plain, wrapped = (locust.process.returncode for locust in logs)
    assert wrapped == plain
    assert [line.rpartition("INFO/")[2] for line in comparable(logs[1].output)] == [
        line.rpartition("INFO/")[2] for line in comparable(logs[0].output)
    ]


def test_without_locust_it_says_so() -> None:
    done = subprocess.run(
        [PYTHON, "-S", "-m", "locust_hook", "run"],  # -S: no installed packages
        env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("expected Locust beside ")
    assert done.stderr.endswith("found none: pip install 'locust>=2.32'\n")


@pytest.mark.parametrize(
    ("arguments", "found"), [([], "none"), (["publish"], "publish"), (["--nosuch"], "--nosuch")]
)
def test_an_unknown_command_is_refused(arguments: list[str], found: str) -> None:
    done = subprocess.run(
        [PYTHON, "-m", "locust_hook", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: python -m locust_hook <command>")
    assert done.stderr.endswith(f"expected a command, found {found}\n")
