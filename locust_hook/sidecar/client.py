"""HTTP to one Locust: certificates checked, login where it wants one, everything bounded."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from contextlib import closing
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

from .answers import template_arguments

MAX_ANSWER: Final = 64 * 2**20
"""Bytes of an answer. Ten thousand endpoints are 3 MB; a page with the history of a day's test is 20 MB."""

SILENCE_SECONDS: Final = 10.0
"""Time Locust may be silent; its web interface waits while a busy test computes."""

ANSWER_SECONDS: Final = 30.0
"""Time for a whole answer, its first line and headers included."""

MAX_COOKIES: Final = 50
"""Cookies kept (RFC 6265 section 6.1 asks for at least 50 per domain)."""

_PORTS: Final = {"http": http.client.HTTP_PORT, "https": http.client.HTTPS_PORT}
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))


class ClientError(Exception):
    """Locust could not be read; the text says why, without secrets."""


class UnreachableError(ClientError):
    """There is nobody, or nobody who can be trusted, at Locust's address."""


class LoginError(ClientError):
    """Locust wants a login, and does not accept ours (or there is none)."""


@dataclass(frozen=True)
class Login:
    """How to log in to Locust's web interface (`--web-login`).

    `path`: where the form goes, from the root of the server; empty: what the login page says.
    """

    username: str
    password: str = field(repr=False)
    path: str = ""
    username_field: str = "username"
    password_field: str = "password"  # noqa: S105  # the name of the form's field


@dataclass(frozen=True)
class Address:
    """Where Locust's web interface is; `path` without a slash at its end (`--web-base-path`)."""

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises ValueError that says what was expected."""
        expected = "expected http://host[:port][/path] or https://…"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{expected}: {error}") from error
        if parts.username is not None or parts.password is not None:
            raise ValueError(f"{expected} without a user name in it: set LOCUST_RELAY_USERNAME instead")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{expected}, found {url!r}")
        if parts.query or parts.fragment:
            raise ValueError(f"{expected} without ? and #, found {url!r}")
        return cls(url, parts.scheme, parts.hostname, port or _PORTS[parts.scheme], parts.path.rstrip("/"))


@dataclass(frozen=True)
class Answer:
    """An answer's status, the target of its redirect (empty without one), and its text."""

    status: int
    location: str
    text: str


class _TimedReader(io.RawIOBase):
    """Reads a socket for `ANSWER_SECONDS` at most; the socket's own timeout bounds each wait."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)  # keeps the socket open until it is closed itself
        self._silence_seconds = sock.gettimeout() or SILENCE_SECONDS
        self._deadline = time.monotonic() + ANSWER_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"the answer took more than {ANSWER_SECONDS:g} s")
        self._sock.settimeout(min(self._silence_seconds, left))
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response that is read by a deadline, from its first line on."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_TimedReader(sock))


class Client:
    """Asks one Locust. Redirects are not followed, but for a login."""

    def __init__(
        self, address: Address, login: Login | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        """`context`: for https; checks certificates against the system's authorities if None."""
        self.address = address
        self.silence_seconds = SILENCE_SECONDS
        self._login = login
        self._context = context or ssl.create_default_context()
        self._cookies: dict[str, str] = {}

    def get(self, path: str) -> str:
        """The text at a path below the address. Raises `ClientError`."""
        target = self.address.path + path
        answer = self._ask("GET", target)
        if answer.status in _REDIRECTS or answer.status == http.client.UNAUTHORIZED:
            self._log_in(target, answer)
            answer = self._ask("GET", target)
            if answer.status in _REDIRECTS or answer.status == http.client.UNAUTHORIZED:
                raise LoginError(f"the login is not accepted: {target} still answers {_shown(answer)}")
        if answer.status != http.client.OK:
            raise ClientError(f"expected status 200 from {target}, found {_shown(answer)}")
        return answer.text

    def _log_in(self, target: str, answer: Answer) -> None:
        if self._login is None:
            raise LoginError(
                f"{target} answers {_shown(answer)}. If Locust wants a login, set LOCUST_RELAY_USERNAME and "
                "LOCUST_RELAY_PASSWORD; else give the right --url"
            )
        self._cookies.clear()
        form = self._login.path or self._form(self._here(target, answer.location or "/login"))
        fields = {
            self._login.username_field: self._login.username,
            self._login.password_field: self._login.password,
        }
        found = self._ask("POST", form, urlencode(fields))
        if found.status != http.client.OK and found.status not in _REDIRECTS:
            raise LoginError(f"expected {form} to accept the login, found {_shown(found)}")

    def _form(self, page: str) -> str:
        """Where the login page wants its form sent."""
        arguments = template_arguments(self._ask("GET", page).text)
        custom = arguments.get("custom_form")
        form = arguments.get("username_password_callback") or (
            custom.get("callback_url") if isinstance(custom, dict) else None
        )
        if not isinstance(form, str) or not form:
            raise LoginError(f"expected a login form in {page}, found none: give its path as --login-path")
        return self._here(page, form)

    def _here(self, target: str, location: str) -> str:
        """The path of a link or redirect, which must not lead to another server."""
        root = f"{self.address.scheme}://{self.address.host}:{self.address.port}"
        try:
            parts = urlsplit(urljoin(root + target, location))
            there = (parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme))
        except ValueError as error:
            raise LoginError(
                f"expected an address for the login, found {location[:200]!r}: {error}"
            ) from error
        if there != (self.address.scheme, self.address.host, self.address.port):
            raise LoginError(
                f"expected the login to stay at {root}, found that it leads to {location[:200]!r}"
            )
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def _ask(self, method: str, target: str, form: str | None = None) -> Answer:
        # A connection for each question: on one that is kept, an answer in two parts waits for the system's
        # delayed acknowledgement, 40 ms each time.
        try:
            with closing(self._connect()) as connection:
                return self._exchange(connection, method, target, form)
        except ssl.SSLCertVerificationError as error:
            raise UnreachableError(
                f"{error.verify_message or error} (give the certificate of Locust, or of its authority, as "
                "--ca-bundle)"
            ) from error
        except (TimeoutError, http.client.IncompleteRead) as error:  # there is somebody
            raise ClientError(f"{target}: {str(error) or repr(error)}") from error
        except OSError as error:
            raise UnreachableError(str(error) or repr(error)) from error
        except (http.client.HTTPException, ValueError) as error:
            raise ClientError(str(error) or repr(error)) from error

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, target: str, form: str | None
    ) -> Answer:
        headers = {"Accept-Encoding": "identity", "Connection": "close"}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.response_class = _Response
        connection.request(method, target, form, headers)
        response = connection.getresponse()
        for cookie in response.headers.get_all("Set-Cookie", ()):
            self._keep(cookie)
        body = bytearray()
        while part := response.read1(2**16):
            body += part
            if len(body) > MAX_ANSWER:
                raise ClientError(f"expected at most {MAX_ANSWER // 2**20} MB from {target}, found more")
        if response.length:
            raise ClientError(f"{target}: the answer ends {response.length} bytes too early")
        return Answer(response.status, response.headers.get("Location", ""), body.decode("utf-8", "replace"))

    def _connect(self) -> http.client.HTTPConnection:
        address = self.address
        if address.scheme == "http":
            return http.client.HTTPConnection(address.host, address.port, timeout=self.silence_seconds)
        return http.client.HTTPSConnection(
            address.host, address.port, timeout=self.silence_seconds, context=self._context
        )

    def _keep(self, header: str) -> None:
        """Keeps a cookie. There is one server, whose cookies all go back to it."""
        try:
            cookies = SimpleCookie(header)
        except CookieError:
            return  # as browsers do it (RFC 6265 section 5.2)
        for name, morsel in cookies.items():
            if morsel.value == "" or morsel["max-age"] == "0":
                self._cookies.pop(name, None)
            elif name in self._cookies or len(self._cookies) < MAX_COOKIES:
                self._cookies[name] = morsel.coded_value


def _shown(answer: Answer) -> str:
    """An answer in a message: its status, and where it leads or how it begins."""
    if answer.location:
        return f"{answer.status}, a redirect to {answer.location[:200]!r}"
    return f"{answer.status}: {answer.text[:80]!r}"
