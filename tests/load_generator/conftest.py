from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_aws import LocalAws, Stack
from tests.load_generator.generators import ROOT, Generators
from tests.load_generator.machine import refusal


@pytest.fixture(scope="package")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as running:
        yield running


@pytest.fixture(scope="package")
def relay(aws: LocalAws) -> Stack:
    """The relay's stack; its function does not run."""
    return aws.deploy(ROOT / "template.yaml", name="relay")


@pytest.fixture(scope="package")
def generators(aws: LocalAws, relay: Stack) -> Generators:
    return Generators(aws, relay)


@pytest.fixture
def as_root(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is an administrator of local AWS."""
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def may_unshare(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A process may have mounts and a network of its own; what needs them is skipped where it may not."""
    if why := refusal(tmp_path_factory.mktemp("tried")):
        pytest.skip(why)
