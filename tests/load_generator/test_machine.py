"""User data and setup.sh, run as on a new machine: what they install works, and what fails is said."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from examples import publish_hook
from local_aws import LocalAws, Stack
from tests.hook.locusts import Locust, free_port, site, wait_for
from tests.hook.reader import counts, read
from tests.load_generator.generators import Generator, Generators
from tests.load_generator.machine import Machine, refusal

Start = Callable[[Generator], Locust]


@pytest.fixture(scope="module")
def bundle() -> bytes:
    """The sample test's bundle, for this machine's processor."""
    if sys.version_info[:2] not in publish_hook.PYTHONS:
        pytest.skip(f"load generators do not run Python {platform.python_version()}")
    return publish_hook.make_bundle(publish_hook.SAMPLE_TEST, [platform.machine()])


@pytest.fixture(scope="module")
def address(aws: LocalAws, relay: Stack, bundle: bytes) -> str:
    """Where the bundle is."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment().items():
            patch.setenv(name, value)
        return publish_hook.publish(relay.outputs["BucketName"], bundle)


@pytest.fixture(scope="module")
def host() -> Any:
    with site() as address:
        yield address


OPTIONS = "--users 4 --spawn-rate 100 --headless --run-time 3s --exit-code-on-error 0 --only-summary"
SIGNAL = "cfn-signal --exit-code {code} --stack {stack} --resource {resource} --region us-east-1"


@pytest.fixture
def service(machine: Machine, tmp_path: Path) -> Iterator[Start]:
    """Starts the machine's service, as often as it is called, and ends what is left."""
    started: list[Locust] = []

    def start(generator: Generator) -> Locust:
        log = tmp_path / f"service-{len(started)}.log"
        started.append(Locust(machine.start_service(generator.environment, log), log))
        return started[-1]

    yield start
    for service in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(service.process.pid, signal.SIGKILL)
        service.process.wait()


@pytest.fixture(scope="module")
def alone(generators: Generators, address: str, host: str) -> Generator:
    port = free_port()
    options = (
        f"{OPTIONS} --host {host}/page/ --relay-test alone --master-bind-port {port} --master-port {port}"
    )
    return generators.deploy("alone", Bundle=address, Workers=0, LocustOptions=options)


@pytest.fixture(scope="module")
def machine(
    may_unshare: None, alone: Generator, bundle: bytes, address: str, tmp_path_factory: pytest.TempPathFactory
) -> Machine:
    """A machine that has booted as the one alone."""
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.can_fetch(address, bundle)
    booted = machine.boot(alone.user_data("MasterTemplate"))
    assert booted.returncode == 0, booted.stdout + booted.stderr
    assert "Visitor" in booted.stdout, "the test is loaded before the service is started"
    return machine


def set_up(machine: Machine, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs setup.sh again."""
    script = "/opt/load-generator/setup.sh"
    return machine.run("/usr/bin/env", "AWS_DEFAULT_REGION=us-east-1", script, *options)


def handed_in(aws: LocalAws, relay: Stack, test: str) -> tuple[list[str], int]:
    """What the bucket has of a test: kinds of sources, and the number of requests."""
    s3, bucket = aws.client("s3"), relay.outputs["BucketName"]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"batches/{test}/").get("Contents", [])
    batches = [read(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()) for item in listed]
    sources = {batch.header["source"] for batch in batches}
    kinds = sorted("worker" if "-worker-" in source else "master" for source in sources)
    numbers = counts(batches)
    assert list(numbers) == [("GET", "/")]
    ((requests, failures, _),) = numbers.values()
    assert failures == 0
    return kinds, requests


def test_it_installs_what_the_bundle_has_and_nothing_else(
    machine: Machine, alone: Generator, address: str
) -> None:
    version = (machine.root / "opt/load-generator/python-version").read_text().strip()
    assert machine.calls == [
        f"aws s3 cp --only-show-errors {address} bundle.tar.gz",
        f"dnf install --assumeyes --quiet python{version}",
        "systemctl daemon-reload",
        "systemctl disable locust.service",
        "systemctl restart locust.service",
        *["systemctl is-failed --quiet locust.service"] * 10,
        SIGNAL.format(code=0, stack="alone", resource="Master"),
    ]
    code = "import locust_hook.recording._fast as fast, locust; print(fast.__file__, locust.__version__)"
    said = machine.run("/opt/load-generator/venv/bin/python", "-c", code).stdout.split()
    assert said[0].startswith("/opt/load-generator/venv/")
    assert said[1] == metadata.version("locust")


def test_the_service_has_no_rights_it_does_not_need(machine: Machine, alone: Generator) -> None:
    machine.boot(alone.user_data("MasterTemplate"))
    unit = machine.unit
    assert unit["DynamicUser"] == ["yes"]
    assert "User" not in unit
    assert unit["StateDirectory"] == ["locust"]
    assert "LOCUST_RELAY_SPOOL=/var/lib/locust/spool" in unit["Environment"]
    assert unit["Restart"] == ["no"], "a load test does not begin again by itself"
    assert unit["KillMode"] == ["mixed"]
    readable = [path for path in (machine.root / "opt").rglob("*") if not path.is_symlink()]
    assert all(path.stat().st_mode & 0o004 for path in readable), "the service's user is nobody's friend"


def test_a_machine_alone_hands_in_its_results(
    machine: Machine, alone: Generator, aws: LocalAws, relay: Stack, service: Start
) -> None:
    machine.boot(alone.user_data("MasterTemplate"))
    started = service(alone)
    started.ends()
    kinds, requests = handed_in(aws, relay, "alone")
    assert kinds == ["master", *["worker"] * (os.cpu_count() or 1)]
    assert requests > 4
    assert "batches wait" not in started.output
    assert "nothing lost" in started.output


def test_master_and_workers_find_each_other_and_end_well(
    machine: Machine, generators: Generators, address: str, host: str, service: Start
) -> None:
    aws, relay = generators.aws, generators.relay
    port, processes = free_port(), os.cpu_count() or 1
    options = (
        f"--host {host}/page/ --users 4 --spawn-rate 100 --headless --exit-code-on-error 0 --relay-test many"
        f" --relay-flush-seconds 1 --master-bind-port {port} --expect-workers {processes}"
    )
    many = generators.deploy("many", Bundle=address, Workers=1, LocustOptions=options)
    assert machine.boot(many.user_data("MasterTemplate")).returncode == 0
    assert machine.calls[-1] == SIGNAL.format(code=0, stack="many", resource="Master")
    assert machine.exec_start[4:] == ["--master", "--relay-to", relay.outputs["RelayTo"], *options.split()]
    master = service(many)

    user_data = many.user_data("WorkerTemplate")
    (of_master,) = re.findall(r"--master-host '([0-9.]+)'", user_data)
    described = aws.client("ec2").describe_instances(InstanceIds=[many.stack.outputs["MasterId"]])
    assert of_master == described["Reservations"][0]["Instances"][0]["PrivateIpAddress"]
    # Here, both are one machine, and Locust's usual port may be another's.
    booted = machine.boot(user_data.replace(f"'{of_master}'", f"127.0.0.1 --master-port {port}"))
    assert booted.returncode == 0, booted.stderr
    assert machine.calls[-1] == SIGNAL.format(code=0, stack="many", resource="WorkerMachines")
    assert (machine.unit["Restart"], machine.unit["KillSignal"]) == (["always"], ["SIGINT"])
    of_boot = [call for call in machine.calls if re.match("systemctl (en|dis)able ", call)]
    assert of_boot[-2:] == ["systemctl disable locust.service", "systemctl enable locust.service"]
    worker = service(many)

    def every_worker_has_handed_in() -> bool:
        listed = aws.client("s3").list_objects_v2(Bucket=relay.outputs["BucketName"], Prefix="batches/many/")
        sources = {item["Key"].split("/")[3] for item in listed.get("Contents", [])}
        return sum("-worker-" in source for source in sources) == processes

    wait_for(every_worker_has_handed_in, f"batches of {processes} workers", worker)
    # As systemd does it: each process of a worker's service is told, and of the master's the first.
    os.killpg(worker.process.pid, signal.SIGINT)
    worker.ends()
    master.process.send_signal(signal.SIGTERM)
    master.ends()
    kinds, requests = handed_in(aws, relay, "many")
    assert kinds == ["master", *["worker"] * processes]
    said = re.findall(r"([0-9,]+) requests in .*nothing lost", worker.output)
    assert len(said) == processes, worker.output
    assert sum(int(number.replace(",", "")) for number in said) == requests > 0


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        ({"broken-dnf": ""}, "Unable to find a match"),
        ({"opt/load-generator/test/requirements.txt": "no-such-package"}, "no-such-package"),
        ({"opt/load-generator/test/locust.conf": "locustfile = missing.py"}, "missing.py"),
        (
            {"opt/load-generator/test/locust.conf": "expect-workers-max-wait = soon"},
            "invalid int value: 'soon'",
        ),
    ],
    ids=["package", "requirement", "locustfile", "option"],
)
def test_what_fails_is_said_and_signalled(
    machine: Machine, alone: Generator, breakage: dict[str, str], words: str
) -> None:
    for name, content in breakage.items():
        (machine.root / name).write_text(content)
    before = len(machine.calls)
    try:
        booted = machine.boot(alone.user_data("MasterTemplate"))
    finally:
        for name in breakage:
            (machine.root / name).unlink()
    assert booted.returncode != 0
    assert words in booted.stdout + booted.stderr
    calls = machine.calls[before:]
    assert calls[-1] == SIGNAL.format(code=booted.returncode, stack="alone", resource="Master")
    assert not [call for call in calls if call.startswith("systemctl")], "nothing is started"


@pytest.mark.parametrize("after", [0, 9])
def test_locust_that_ends_at_once_with_an_error_is_said_and_signalled(
    machine: Machine, alone: Generator, after: int
) -> None:
    failed = machine.root / "failed"
    failed.write_text(str(after))
    try:
        booted = machine.boot(alone.user_data("MasterTemplate"))
    finally:
        failed.unlink()
    assert booted.returncode == 1
    assert "expected Locust to run, found that it has ended with an error:" in booted.stderr
    assert "ValueError: not today" in booted.stderr
    asked, journal, signalled = machine.calls[-3:]
    assert asked == "systemctl is-failed --quiet locust.service"
    assert journal == "journalctl --unit locust.service --no-pager --lines 50"
    assert signalled == SIGNAL.format(code=1, stack="alone", resource="Master")


@pytest.mark.usefixtures("may_unshare")
def test_a_bundle_that_cannot_be_fetched_is_signalled(alone: Generator, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "disk")
    assert machine.boot(alone.user_data("MasterTemplate")).returncode == 1
    assert machine.calls[-1] == SIGNAL.format(code=1, stack="alone", resource="Master")


def test_options_reach_locust_as_they_are(machine: Machine) -> None:
    odd = ["--host", 'https://a.example/?q="x y"&p=50%', "--tags", "$HOME", "back\\slash", "it's", ""]
    done = set_up(machine, *odd)
    assert done.returncode == 0, done.stderr
    assert machine.exec_start[4:] == odd


def test_an_environment_that_is_not_whole_or_of_another_wheel_is_made_anew(machine: Machine) -> None:
    folder = machine.root / "opt/load-generator"
    (path,) = (folder / "wheels").glob("locust_cloudwatch_relay-*.whl")
    content = path.read_bytes()
    path.write_bytes(b"broken")
    assert set_up(machine).returncode != 0
    assert not (folder / "venv/made-of").exists()
    path.write_bytes(content)
    with zipfile.ZipFile(path, "a") as wheel:
        wheel.writestr("locust_hook/_changed.py", "")
    (pip,) = (folder / "venv").glob("lib/python*/site-packages/pip")
    shutil.rmtree(pip)
    done = set_up(machine)
    assert done.returncode == 0, done.stderr
    assert list((folder / "venv").rglob("_changed.py"))


def test_where_no_machine_can_be_played_it_is_said_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal(tmp_path) == "expected the command unshare (Linux), found none"
    (tmp_path / "unshare").write_text(
        "#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n"
    )
    (tmp_path / "unshare").chmod(0o755)
    assert refusal(tmp_path) == (
        "expected to be allowed namespaces, mounts and chroot, found: unshare failed: Operation not permitted"
    )


@pytest.mark.parametrize("script", ["setup.sh", "MasterTemplate", "WorkerTemplate"])
def test_shellcheck_finds_nothing(script: str, generators: Generators, tmp_path: Path) -> None:
    path = publish_hook.SETUP
    if script != "setup.sh":
        deployed = generators.deploy(f"shellcheck-{script}", Workers=1)
        path = tmp_path / script
        path.write_text(deployed.user_data(script))
    command = [Path(sys.executable).parent / "shellcheck", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
