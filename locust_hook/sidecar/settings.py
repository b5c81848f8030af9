"""The sidecar's settings: options, their environment twins, and files for secrets."""

from __future__ import annotations

import argparse
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..recording.settings import OPTIONS as RECORDING_OPTIONS
from ..recording.settings import Option, Settings, in_range
from .client import Address, Login

PASSWORD: Final = "LOCUST_RELAY_PASSWORD"  # noqa: S105  # the name of the variable
"""The only place of the password beside a file: command lines can be read by everybody on the machine."""

MAX_PASSWORD_FILE: Final = 4_096
"""Bytes of the password's file."""


@dataclass(frozen=True)
class SidecarSettings:
    """Validated settings; `recording` are those that the hook has as well. Durations in seconds."""

    recording: Settings
    url: Address
    poll_seconds: float
    login: Login | None
    context: ssl.SSLContext | None


def _text(value: str) -> str:
    return value


SHARED: Final = tuple(option for option in RECORDING_OPTIONS)

OPTIONS: Final = (
    Option(
        "url",
        Address.parse,
        "",
        "<url>",
        "Locust's web interface, e.g. http://locust:8089: of a master, or of a Locust without workers.",
    ),
    Option(
        "poll-seconds",
        in_range(0.1, 60),
        "1",
        "<seconds>",
        "Time between two looks; what is counted after the last one before Locust ends is lost.",
    ),
    Option("ca-bundle", _text, "", "<file>", "Authorities' certificates (PEM) to check Locust's by."),
    Option("username", _text, "", "<name>", "User of Locust's web login."),
    Option(
        "password-file",
        _text,
        "",
        "<file>",
        f"File with the password. It can also be given in the environment, as {PASSWORD}; not here.",
    ),
    Option("login-path", _text, "", "<path>", "Where the login form goes. Default: as the login page says."),
    Option("username-field", _text, "username", "<name>", "Name of the form's field for the user."),
    Option("password-field", _text, "password", "<name>", "Name of the form's field for the password."),
)
"""Every setting of its own; what it shares with the hook is in `SHARED`."""


def read(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> SidecarSettings:
    """The settings; exits with 2 and a message when one is missing or does not parse."""
    parser = argparse.ArgumentParser(
        "python -m locust_hook sidecar",
        description="Reads Locust's statistics through its web interface and ships them as batches.",
        epilog="Each option has a twin in the environment: --flush-seconds is LOCUST_RELAY_FLUSH_SECONDS.",
        allow_abbrev=False,
    )
    for option in (*OPTIONS, *SHARED):
        default = environment.get(option.env) or option.default
        shown = f" ({option.default})" if option.default else ""
        parser.add_argument(
            f"--{option.name}", default=default, metavar=option.metavar, help=f"{option.help}{shown}"
        )
    given = vars(parser.parse_args(arguments))
    parsed: dict[str, Any] = {}
    for option in (*OPTIONS, *SHARED):
        name = option.name.replace("-", "_")
        try:
            parsed[name] = option.parse(given[name] or option.default)
        except ValueError as error:
            parser.error(f"{error} (option --{option.name}, environment {option.env})")
    try:
        context = _context(parsed["ca_bundle"])
        login = _login(parsed, environment)
    except ValueError as error:
        parser.error(str(error))
    if parsed["to"] is None:
        parser.error("expected where batches go as --to (or LOCUST_RELAY_TO): s3://bucket or file:///folder")
    return SidecarSettings(
        Settings(
            **{option.name.replace("-", "_"): parsed[option.name.replace("-", "_")] for option in SHARED}
        ),
        parsed["url"],
        parsed["poll_seconds"],
        login,
        context,
    )


def _context(ca_bundle: str) -> ssl.SSLContext | None:
    if not ca_bundle:
        return None
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"expected certificates in PEM as --ca-bundle {ca_bundle}: {error}") from error


def _login(parsed: Mapping[str, Any], environment: Mapping[str, str]) -> Login | None:
    username, file, password = parsed["username"], parsed["password_file"], environment.get(PASSWORD, "")
    if not (username or file or password):
        return None
    if file and password:
        raise ValueError(f"expected --password-file or {PASSWORD}, found both")
    if not username or not (file or password):
        raise ValueError(
            f"expected both --username (or LOCUST_RELAY_USERNAME) and --password-file or {PASSWORD}"
        )
    path = parsed["login_path"]
    if path and not path.startswith("/"):
        raise ValueError(f"expected a path that begins with a slash as --login-path, found {path!r}")
    return Login(
        username, password or _secret(Path(file)), path, parsed["username_field"], parsed["password_field"]
    )


def _secret(file: Path) -> str:
    try:
        with open(file, "rb") as opened:
            content = opened.read(MAX_PASSWORD_FILE + 1)
        secret = content.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ValueError(f"expected the password in --password-file {file}: {reason}") from None
    if not secret or len(content) > MAX_PASSWORD_FILE:
        raise ValueError(f"expected a password of 1 to {MAX_PASSWORD_FILE} bytes in --password-file {file}")
    return secret
