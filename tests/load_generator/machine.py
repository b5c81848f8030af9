"""A machine to try user data on: a folder that scripts see as the whole disk. What is particular to Amazon
Linux is played by commands that write down how they were called.

Nothing of this machine's own disk is written to. Scripts run without a network, so that whatever would ask a
package index fails; the service has one.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SECONDS = 120
"""How long a command may take, on a busy machine."""

PATH = "/stubs:/usr/sbin:/usr/bin:/sbin:/bin"

STUB = """#!/bin/bash
printf '%s\\n' "$(basename "$0") $*" >>/calls
"""
# What the image's `aws s3 cp` does, of objects that lie in a folder.
AWS = f"""{STUB}
[[ "$1 $2" == "s3 cp" ]] || exit 1
source=${{*: -2:1}}
cp "/s3/${{source#s3://}}" "${{*: -1}}"
"""
# A service runs until the file /failed says that it has failed: after how many questions.
SYSTEMCTL = f"""{STUB}
[[ $1 == is-failed ]] || exit 0
[[ -e /failed ]] || exit 3
left=$(</failed)
echo $((left - 1)) >/failed
((left <= 0))
"""
JOURNALCTL = f"""{STUB}
echo 'ValueError: not today'
"""
SLEEP = """#!/bin/bash
# Nothing is waited for.
"""
# There is no Python but the one that is asked for. It is this machine's, if it has the version.
DNF = f"""{STUB}
[[ -e /broken-dnf ]] && {{ echo 'Error: Unable to find a match' >&2; exit 1; }}
name=${{*: -1}}
[[ $name == python{sys.version_info.major}.{sys.version_info.minor} ]] || exit 1
printf '#!/bin/bash\\nexec {{python}} "$@"\\n' >/stubs/$name
chmod +x /stubs/$name
"""


def unshare(*, network: bool) -> list[str]:
    """The beginning of a command line that has its own mounts, and its own network or this machine's."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", "--mount", *([] if network else ["--net"]), *as_root]


def refusal(folder: Path) -> str:
    """Why no machine can be played here, tried in a folder; nothing where it can."""
    if shutil.which("unshare") is None:
        return "expected the command unshare (Linux), found none"
    command = [*unshare(network=False), "sh", "-c", 'mount --rbind /proc "$0" && chroot / true', str(folder)]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if tried.returncode == 0:
        return ""
    return f"expected to be allowed namespaces, mounts and chroot, found: {tried.stderr.strip()}"


class Machine:
    """The machine's disk is the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("etc/systemd/system", "opt/aws/bin", "tmp", "var/lib/locust", "s3", "stubs"):
            (root / name).mkdir(parents=True)
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
        python = os.path.realpath(sys.executable)
        self._stub("stubs/aws", AWS)
        self._stub("stubs/dnf", DNF.replace("{python}", python))
        self._stub("stubs/systemctl", SYSTEMCTL)
        self._stub("stubs/journalctl", JOURNALCTL)
        self._stub("stubs/sleep", SLEEP)
        self._stub("opt/aws/bin/cfn-signal", STUB)
        # Where this machine's programs are.
        seen = {"/usr", "/proc", "/dev", sys.base_prefix}
        self._mounts: list[str] = []
        for path in sorted(seen):
            if not any(path.startswith(f"{other}/") for other in self._mounts):
                self._mounts.append(path)
        for top in (Path("/bin"), Path("/sbin"), Path("/lib"), Path("/lib64")):
            if top.is_symlink():
                (root / top.name).symlink_to(os.readlink(top))
            elif top.is_dir():
                self._mounts.append(str(top))
        for path in self._mounts:
            (root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _stub(self, name: str, text: str) -> None:
        path = self.root / name
        path.write_text(text)
        path.chmod(0o755)

    def can_fetch(self, address: str, content: bytes) -> None:
        """Puts an object where the machine's `aws s3 cp` finds it."""
        path = self.root / "s3" / address.removeprefix("s3://")
        path.parent.mkdir(parents=True)
        path.write_bytes(content)

    def command(self, *command: str, network: bool) -> list[str]:
        """A command line that runs a command on the machine; it has to be found by its full path."""
        root = shlex.quote(str(self.root))
        mounts = "".join(
            f"mount --rbind {shlex.quote(path)} {root}{shlex.quote(path)}\n" for path in self._mounts
        )
        script = f'set -e\n{mounts}exec chroot {root} "$@"'
        return [*unshare(network=network), "sh", "-c", script, "sh", *command]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command as cloud-init does: as root, with hardly any environment. There is no network."""
        return subprocess.run(
            self.command(*command, network=False),
            env={"PATH": PATH},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip

    def boot(self, user_data: str) -> subprocess.CompletedProcess[str]:
        """Runs user data."""
        path = self.root / "user-data"
        path.write_text(user_data)
        path.chmod(0o700)
        return self.run("/user-data")

    @property
    def calls(self) -> list[str]:
        """The calls of what is played, in order."""
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def unit(self) -> dict[str, list[str]]:
        """The service's settings: name -> values, in order."""
        found: dict[str, list[str]] = {}
        for line in (self.root / "etc/systemd/system/locust.service").read_text().splitlines():
            if match := re.fullmatch(r"(\w+)=(.*)", line):
                found.setdefault(match[1], []).append(match[2])
        return found

    def start_service(self, environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Runs what systemd would run; `environment` is added to the unit's own."""
        unit = self.unit
        own = dict(value.split("=", 1) for value in unit["Environment"])
        (folder,) = unit["WorkingDirectory"]
        in_folder = ("/bin/sh", "-c", 'cd "$0" && exec "$@"', folder)
        command = self.command(*in_folder, *self.exec_start, network=True)
        with log.open("wb") as output:
            return subprocess.Popen(
                command, env={"PATH": PATH, **own, **environment},
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    @property
    def exec_start(self) -> Sequence[str]:
        """The service's command line, as systemd reads it."""
        (line,) = self.unit["ExecStart"]
        return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)]
