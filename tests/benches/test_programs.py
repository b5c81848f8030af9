"""What the relay is measured beside is built as the relay is: same profile, same versions."""

from pathlib import Path
from typing import Any

import pytest
import tomlkit

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "empty-function")


def toml(*parts: str) -> dict[str, Any]:
    return tomlkit.parse(ROOT.joinpath(*parts).read_text()).unwrap()


def versions(lock: dict[str, Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for package in lock["package"]:
        found.setdefault(package["name"], set()).add(package["version"])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_the_profile_is_the_relays(package: str) -> None:
    profile = toml("benches", package, "Cargo.toml")["profile"]["release"]
    assert profile == toml("Cargo.toml")["profile"]["release"]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_versions_are_the_relays(package: str) -> None:
    ours, theirs = versions(toml("benches", package, "Cargo.lock")), versions(toml("Cargo.lock"))
    different = {name: found for name, found in ours.items() if name in theirs and not found <= theirs[name]}
    assert not different, (
        f"cargo update --manifest-path benches/{package}/Cargo.toml --precise …: {different}"
    )
