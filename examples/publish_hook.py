"""Packs what load generators run (hook, Locust, a test) into one bundle and puts it into the relay's bucket.

`make publish-hook`; docs/load-generator.md. The bundle is a `.tar.gz` that `load-generator/setup.sh` installs
without asking a package index: wheels of everything for each architecture, the version of Python that they
are made for, and the test's folder.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import boto3
import botocore.exceptions
import ziglang  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]
SETUP = ROOT / "examples" / "load-generator" / "setup.sh"
SAMPLE_TEST = ROOT / "examples" / "load-generator" / "test"
PINNED = ROOT / "requirements-dev.txt"

PREFIX = "load-generator/"
"""Where bundles stand in the bucket: it starts no relay, and load generators may not write there."""

PACKAGE = "locust_hook"
PACKAGE_FILES = ("pyproject.toml", "README.md", "LICENSE")
"""What the hook's wheel is built from."""

ARCHITECTURES = ("x86_64", "aarch64")

PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
"""The versions that Amazon Linux 2023 has and Locust supports.
https://docs.aws.amazon.com/linux/al2023/ug/python.html"""

GLIBC_MINOR = 34
"""Amazon Linux 2023 has glibc 2.34. https://docs.aws.amazon.com/linux/al2023/ug/glibc-gcc-and-binutils.html"""

EARLIEST = str(315_532_800)
"""1980-01-01 in seconds of Unix time: the earliest that a wheel, a zip file, can hold.
https://reproducible-builds.org/specs/source-date-epoch/"""

MAX_TEST_BYTES = 100 * 1024 * 1024
"""Largest test folder: more is a folder given by mistake."""

RELAY_OUTPUTS = ("BucketName", "RelayTo", "UploaderPolicyArn")
"""Outputs of the relay's stack that are needed here."""


class PublishError(Exception):
    """The bundle could not be made or published; the text says why, and what to do."""


def publish(bucket: str, bundle: bytes) -> str:
    """Puts a bundle into the bucket; its address. The name is made of the content: a bundle never changes."""
    key = f"{PREFIX}{hashlib.sha256(bundle).hexdigest()[:16]}.tar.gz"
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=bundle)
    return f"s3://{bucket}/{key}"


def make_bundle(test: Path, architectures: Sequence[str] = ARCHITECTURES) -> bytes:
    """The bundle with the test in the folder `test`."""
    if sys.version_info[:2] not in PYTHONS:
        wanted = ", ".join(f"{major}.{minor}" for major, minor in PYTHONS)
        raise PublishError(
            f"expected one of the Pythons of Amazon Linux 2023 ({wanted}), found {sys.version.split()[0]}: "
            "make the environment anew with another one (make clean, make publish-hook PYTHON=python3.11)"
        )
    check_test(test)
    with tempfile.TemporaryDirectory(prefix="load-generator-") as folder:
        wheels = Path(folder, "wheels")
        for architecture in architectures:
            build_hook(wheels, architecture)
            download(wheels, architecture, test / "requirements.txt")
        return pack(wheels, test)


def check_test(test: Path) -> None:
    """Refuses a folder that Locust would not find a test in."""
    if not test.is_dir():
        raise PublishError(f"expected a folder with a test, found none at {test}")
    if not (test / "locustfile.py").is_file() and not (test / "locust.conf").is_file():
        raise PublishError(f"expected a locustfile.py or locust.conf in {test}, found neither")
    size = sum(path.stat().st_size for path in files_of(test))
    if size > MAX_TEST_BYTES:
        raise PublishError(f"expected at most {MAX_TEST_BYTES:,} bytes of files in {test}, found {size:,}")


def files_of(folder: Path) -> list[Path]:
    """The folder's files, but for what Python and version control leave there."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", ".git", ".venv"} & set(path.relative_to(folder).parts)
    )


def build_hook(wheels: Path, architecture: str) -> None:
    """Builds the hook's wheel, with its listener in C for the machines' processor and C library."""
    compiler = f"{Path(ziglang.__file__).parent / 'zig'} cc -target {architecture}-linux-gnu.2.{GLIBC_MINOR}"
    python = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
    environment = {
        **os.environ,
        "CC": compiler,
        "LDSHARED": f"{compiler} -shared",
        # What the wheel and the library in it are named after, instead of this machine.
        "_PYTHON_HOST_PLATFORM": f"linux-{architecture}",
        "SETUPTOOLS_EXT_SUFFIX": f".{python}-{architecture}-linux-gnu.so",
        # The same wheel each time: without the time, and without the folder, which debug information names.
        "SOURCE_DATE_EPOCH": EARLIEST,
        "CFLAGS": "-g0",
    }
    with tempfile.TemporaryDirectory(prefix="hook-") as folder:
        # Not in the checkout, where an earlier build may have left files that are no longer part of the hook.
        source, built = Path(folder, "source"), Path(folder, "built")
        source.mkdir()
        for name in PACKAGE_FILES:
            shutil.copy(ROOT / name, source)
        shutil.copytree(
            ROOT / PACKAGE, source / PACKAGE, ignore=shutil.ignore_patterns("*.so", "__pycache__")
        )
        pip("wheel", "--no-deps", "--wheel-dir", str(built), str(source), environment=environment)
        (wheel,) = built.iterdir()
        # The library is optional, where there is no compiler. Here there is one.
        if not any(name.endswith(".so") for name in zipfile.ZipFile(wheel).namelist()):
            raise PublishError(f"expected the listener in C in {wheel.name}, found none: does zig run here?")
        wheels.mkdir(exist_ok=True)
        (wheels / wheel.name).write_bytes(wheel.read_bytes())


def download(wheels: Path, architecture: str, requirements: Path) -> None:
    """Fetches Locust, what the hook needs and what the test requires, in the versions tested here."""
    platforms = [f"manylinux_2_{minor}_{architecture}" for minor in range(5, GLIBC_MINOR + 1)]
    platforms += [f"manylinux{year}_{architecture}" for year in (1, 2010, 2014)]
    pip(
        *("download", "--dest", str(wheels), "--only-binary", ":all:"),
        *("--python-version", f"{sys.version_info.major}.{sys.version_info.minor}"),
        *("--implementation", "cp"),
        *(word for platform in platforms for word in ("--platform", platform)),
        *("--constraint", str(PINNED)),
        *(f"locust=={version('locust')}", f"boto3=={version('boto3')}"),
        *(("--requirement", str(requirements)) if requirements.is_file() else ()),
    )  # fmt: skip


def pip(*arguments: str, environment: dict[str, str] | None = None) -> None:
    """Runs pip; what it says, if it fails, is the error."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        *arguments,
    ]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise PublishError(f"pip {arguments[0]} failed:\n{done.stderr.strip()}")


def pack(wheels: Path, test: Path) -> bytes:
    """Everything in one archive, the same for the same files. All may read it, and run what its owner may."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}\n"
    members = {"setup.sh": (SETUP.read_bytes(), True), "python-version": (python.encode(), False)}
    members |= {f"wheels/{path.name}": (path.read_bytes(), False) for path in sorted(wheels.iterdir())}
    for path in files_of(test):
        executable = bool(path.stat().st_mode & stat.S_IXUSR)
        members[f"test/{path.relative_to(test).as_posix()}"] = (path.read_bytes(), executable)
    archive = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=archive, mode="wb", compresslevel=1, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, (content, executable) in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755 if executable else 0o644
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def outputs_of(stack: str) -> dict[str, str]:
    """The outputs of the relay's stack; refuses another stack."""
    (found,) = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    if missing := [name for name in RELAY_OUTPUTS if name not in outputs]:
        raise PublishError(
            f"expected the relay's stack, with the outputs {', '.join(RELAY_OUTPUTS)}; found {stack} without "
            f"{', '.join(missing)}: name the relay's stack (--stack, make publish-hook STACK=...)"
        )
    return outputs


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.publish_hook", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--stack", default="locust-cloudwatch-relay", help="the relay's stack")
    parser.add_argument("--bucket", help="another bucket than the relay's, such as one of another account")
    parser.add_argument("--test", type=Path, default=SAMPLE_TEST, help="folder of the test")
    parser.add_argument(
        *("--architecture", "-a"), action="append", choices=ARCHITECTURES, help="default: all (repeatable)"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Publishes; says with which parameters to deploy. The exit status is 1 when that was not possible."""
    options = parse(arguments)
    try:
        outputs = {} if options.bucket else outputs_of(options.stack)
        bundle = make_bundle(options.test, options.architecture or ARCHITECTURES)
        address = publish(options.bucket or outputs["BucketName"], bundle)
    except (
        PublishError,
        botocore.exceptions.ClientError,
        botocore.exceptions.BotoCoreError,
        OSError,
    ) as error:
        print(f"not published: {error}", file=sys.stderr)
        return 1
    size = f"{len(bundle) / 1024**2:.0f} MB"
    print(f"published {size}. Parameters of examples/load-generator.yaml:\n  Bundle={address}")
    for name in ("RelayTo", "UploaderPolicyArn"):
        if name in outputs:
            print(f"  {name}={outputs[name]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
