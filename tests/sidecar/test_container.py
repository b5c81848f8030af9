"""The container's files, as far as they can be tested without a container."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from locust_hook.sidecar.settings import read

if sys.version_info >= (3, 11):
    import tomllib

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "sidecar"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()


def test_what_the_image_is_made_of_is_there_and_not_ignored() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    kept = [line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().split() if line[0] == "!"]
    assert sorted(copied) == sorted(kept)
    for source in copied:
        assert (ROOT / source).exists()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="reads TOML with the library of Python 3.11")
def test_the_wheel_holds_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "locust_hook").rglob("__init__.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == {".".join(folder.parts) for folder in folders}
    assert [re.split("[>=<]", name)[0] for name in project["project"]["dependencies"]] == ["boto3"]


def test_the_image_starts_the_sidecar_as_nobody_in_particular() -> None:
    (entrypoint,) = re.findall(r"^ENTRYPOINT (\[.+\])$", DOCKERFILE, re.MULTILINE)
    python, *arguments = yaml.safe_load(entrypoint)
    assert python.endswith("/bin/python")
    said = subprocess.run([sys.executable, *arguments, "--help"], check=True, capture_output=True, text=True)
    assert "--url" in said.stdout
    (user,) = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)
    assert int(user) > 0


def test_the_composed_services_fit_together() -> None:
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    command = re.sub(r"\$\{RELAY_TO:\?[^}]*\}", "s3://bucket", services["sidecar"]["command"])
    found = read(shlex.split(command), {})
    assert found.url.host in services
    assert str(found.url.port) == services["locust"]["ports"][0].rpartition(":")[2]
    build = services["sidecar"]["build"]
    assert (FOLDER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).samefile(FOLDER / "Dockerfile")
    (mounted,) = services["locust"]["volumes"]
    assert (FOLDER / mounted.split(":")[0]).exists()
    spool = re.search(r"^ENV LOCUST_RELAY_SPOOL=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert spool
    assert any(fnmatch(volume, f"*:{spool[1]}") for volume in services["sidecar"]["volumes"])
    assert {"AWS_REGION", "AWS_DEFAULT_REGION"} <= services["sidecar"]["environment"].keys()
    subprocess.run([sys.executable, "-m", "py_compile", FOLDER / "locustfile.py"], check=True)
