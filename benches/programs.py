"""The compiled programs that are measured; cargo builds what is not there or out of date."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benches.summary import FOLDER, ROOT, say
from cost.preview import Preview
from cost.preview import relay as planner

LOG_GROUP = "/locust/bench"
PYTHON = FOLDER / "venv" / "bin" / "python"
"""Python with requirements-bench.txt."""


@cache
def relay() -> Path:
    """The relay as it is deployed."""
    return _built("relay", "locust-cloudwatch-relay", ROOT, ROOT / "target")


@cache
def core() -> Path:
    """The relay's pure stages."""
    return _built("core", "core-bench", ROOT / "benches" / "core", FOLDER / "core")


@cache
def empty_function() -> Path:
    """The least Lambda function there can be."""
    folder = "empty-function"
    return _built(folder, folder, ROOT / "benches" / folder, FOLDER / folder)


def _built(what: str, binary: str, package: Path, target: Path) -> Path:
    say(f"building {what} (release), which takes minutes the first time …")
    command: Sequence[str | Path] = [
        "cargo", "build", "--release", "--locked", "--quiet",
        "--manifest-path", package / "Cargo.toml", "--target-dir", target,
    ]  # fmt: skip
    if subprocess.run(command, check=False, cwd=ROOT).returncode:  # noqa: S603  # our own packages
        sys.exit(f"expected {what} to compile, found the errors above")
    return target / "release" / binary


def preview(batch: Path) -> Preview:
    """What the relay says that publishing this batch would take, with its default settings."""
    found: Preview = planner(relay())([batch], {"RELAY_LOG_GROUP": LOG_GROUP})
    return found


def run(*command: str | Path) -> Any:
    """Runs a program to its end and returns the JSON that it prints.

    Raises `ProgramError` when it fails.
    """
    done = subprocess.run(  # noqa: S603  # our own programs
        command, capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode != 0:
        raise ProgramError(done.stderr.strip() or f"{command[0]} exited with {done.returncode}")
    return json.loads(done.stdout)


class ProgramError(Exception):
    """A program did not succeed; the text is what it said."""


def zip_bytes(binary: Path) -> int:
    """Size of the package that Lambda gets."""
    with TemporaryDirectory() as folder:
        package = Path(folder, "bootstrap.zip")
        with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(binary, "bootstrap")
        return package.stat().st_size
