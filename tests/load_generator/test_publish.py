"""What `make publish-hook` puts into the bucket."""

from __future__ import annotations

import io
import platform
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from examples import publish_hook
from examples.publish_hook import PublishError
from local_aws import LocalAws, Stack
from tests.load_generator.generators import Generators

# The first bytes of an ELF file for each processor: 64 bits, little-endian; at 18, the machine.
# https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
MACHINES = {"x86_64": 62, "aarch64": 183}


def test_the_hook_s_wheel_has_the_listener_for_another_processor(tmp_path: Path) -> None:
    (architecture,) = set(publish_hook.ARCHITECTURES) - {platform.machine()}
    publish_hook.build_hook(tmp_path / "wheels", architecture)
    (path,) = (tmp_path / "wheels").iterdir()
    assert path.name.endswith(f"-linux_{architecture}.whl")
    wheel = zipfile.ZipFile(path)
    (library,) = [name for name in wheel.namelist() if name.endswith(".so")]
    assert library.endswith(f"-{architecture}-linux-gnu.so")
    content = wheel.read(library)
    assert content[:4] == b"\x7fELF"
    assert int.from_bytes(content[18:20], "little") == MACHINES[architecture]


def test_the_hook_s_wheel_is_the_same_each_time(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        publish_hook.build_hook(tmp_path / folder, platform.machine())
    (one,), (two,) = (list((tmp_path / folder).iterdir()) for folder in ("one", "two"))
    assert one.name == two.name
    assert one.read_bytes() == two.read_bytes()


def test_a_bundle_has_the_test_s_files_readable_and_is_the_same_each_time(tmp_path: Path) -> None:
    wheels, test = tmp_path / "wheels", tmp_path / "test"
    for path, content in {
        wheels / "a.whl": "wheel",
        test / "locustfile.py": "import data",
        test / "data" / "items.csv": "1",
        test / "helper": "#!/bin/sh",
        test / "__pycache__" / "locustfile.pyc": "compiled",
        test / ".git" / "config": "secret",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o700 if path.name == "helper" else 0o600)
    bundle = publish_hook.pack(wheels, test)
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        modes = {member.name: oct(member.mode) for member in tar}
    assert modes == {
        "setup.sh": "0o755",
        "python-version": "0o644",
        "wheels/a.whl": "0o644",
        "test/data/items.csv": "0o644",
        "test/helper": "0o755",
        "test/locustfile.py": "0o644",
    }
    assert publish_hook.pack(wheels, test) == bundle
    (test / "locustfile.py").write_text("import other")
    assert publish_hook.pack(wheels, test) != bundle


@pytest.mark.usefixtures("as_root")
def test_it_goes_into_the_relay_s_bucket_and_starts_nothing(
    aws: LocalAws, relay: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[object] = []

    def make_bundle(*given: object) -> bytes:
        made.append(given)
        return b"a bundle"

    monkeypatch.setattr(publish_hook, "make_bundle", make_bundle)
    assert publish_hook.main(["--stack", "relay", "--architecture", "aarch64"]) == 0
    assert made == [(publish_hook.SAMPLE_TEST, ["aarch64"])]
    name = relay.outputs["BucketName"]
    listed = aws.client("s3").list_objects_v2(Bucket=name, Prefix="load-generator/")["Contents"]
    keys = [item["Key"] for item in listed if item["Size"] == len(b"a bundle")]
    said = capsys.readouterr().out
    assert f"Bundle=s3://{name}/{keys[0]}\n" in said
    assert f"RelayTo=s3://{name}\n" in said
    assert f"UploaderPolicyArn={relay.outputs['UploaderPolicyArn']}\n" in said
    started = relay.resources["Bucket"].properties["NotificationConfiguration"]["LambdaConfigurations"]
    prefixes = [rule["Value"] for item in started for rule in item["Filter"]["S3Key"]["Rules"]]
    assert not [prefix for prefix in prefixes if keys[0].startswith(prefix)]


@pytest.mark.usefixtures("as_root", "relay")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stack", "relay", "--test", "missing"], "expected a folder with a test, found none at missing"),
        (["--stack", "relay", "--test", "."], "expected a locustfile.py or locust.conf in ., found neither"),
        (["--stack", "another"], "another"),
        (["--bucket", "no-such-bucket-anywhere"], "NoSuchBucket"),
    ],
)
def test_what_cannot_be_published_is_said(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(publish_hook, "PYTHONS", [sys.version_info[:2]])
    if "--bucket" in arguments:
        monkeypatch.setattr(publish_hook, "make_bundle", lambda *_: b"a bundle")
    assert publish_hook.main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith("not published: ")
    assert words in said


@pytest.mark.usefixtures("as_root")
def test_another_stack_than_the_relay_s_is_refused_before_anything_is_built(
    generators: Generators, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generators.deploy("not-the-relay", Workers=0)
    monkeypatch.setattr(publish_hook, "make_bundle", lambda *_: pytest.fail("it was built"))
    assert publish_hook.main(["--stack", "not-the-relay"]) == 1
    assert capsys.readouterr().err == (
        "not published: expected the relay's stack, with the outputs BucketName, RelayTo, UploaderPolicyArn; "
        "found not-the-relay without BucketName, RelayTo, UploaderPolicyArn: "
        "name the relay's stack (--stack, make publish-hook STACK=...)\n"
    )


def test_another_python_than_the_machines_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_hook, "PYTHONS", ((3, 99),))
    with pytest.raises(
        PublishError, match=r"expected one of the Pythons of Amazon Linux 2023 \(3\.99\), found 3"
    ):
        publish_hook.make_bundle(publish_hook.SAMPLE_TEST)


def test_a_folder_given_by_mistake_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locustfile.py").write_text("x" * 2000)
    monkeypatch.setattr(publish_hook, "MAX_TEST_BYTES", 1000)
    with pytest.raises(PublishError, match=r"expected at most 1,000 bytes of files in .*, found 2,000"):
        publish_hook.check_test(tmp_path)


def test_what_pip_says_is_the_error(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("./no-such-folder")
    with pytest.raises(PublishError, match=r"pip download failed:\n.*no-such-folder"):
        publish_hook.download(tmp_path / "wheels", "x86_64", tmp_path / "requirements.txt")
