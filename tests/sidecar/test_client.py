"""What comes from outside: addresses, answers of every kind, logins."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest

from locust_hook.sidecar import answers, client
from locust_hook.sidecar.answers import (
    About,
    AnswerError,
    read_about,
    read_errors,
    read_exceptions,
    read_started,
    read_statistics,
    read_status,
    read_users_by_class,
)
from locust_hook.sidecar.client import Address, Client, ClientError, Login, LoginError, UnreachableError
from tests.sidecar.server import PAGE, REPORT, Answer, FakeLocust, served


@pytest.fixture
def locust() -> Iterator[FakeLocust]:
    with served(FakeLocust()) as locust:
        yield locust


def connected(locust: FakeLocust, login: Login | None = None, path: str = "") -> Client:
    return Client(Address.parse(locust.url + path), login)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("locust:8089", "expected http://host"),
        ("ftp://locust", "found 'ftp://locust'"),
        ("http://", "expected http://host"),
        ("http://ann:secret@locust", "without a user name"),
        ("http://locust:99999", "expected http://host"),
        ("http://locust/?a=b", "without ? and #"),
    ],
)
def test_addresses_that_are_none(url: str, words: str) -> None:
    with pytest.raises(ValueError, match="expected http") as error:
        Address.parse(url)
    assert words in str(error.value)
    assert "secret" not in str(error.value)


def test_addresses() -> None:
    assert Address.parse("http://locust") == Address("http://locust", "http", "locust", 80, "")
    assert Address.parse("https://[::1]:8/base/").port == 8
    assert Address.parse("https://[::1]:8/base/").path == "/base"
    assert Address.parse("https://locust").port == 443


def test_a_question_below_the_base_path(locust: FakeLocust) -> None:
    locust.answers["/base/exceptions"] = lambda *_: (200, {}, "größe".encode())
    assert connected(locust, path="/base/").get("/exceptions") == "größe"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((500, {}, b"<h1>Oops"), "expected status 200 from /x, found 500: '<h1>Oops'"),
        ((200, {"Content-Length": "100"}, b"only this"), "91 bytes too early"),
        ((200, {"Content-Length": "soon"}, b"x" * 300), "more"),
    ],
)
def test_answers_that_are_none(
    locust: FakeLocust, monkeypatch: pytest.MonkeyPatch, answer: Answer, words: str
) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER", 200)
    locust.answers["/x"] = lambda *_: answer
    with pytest.raises(ClientError) as error:
        connected(locust).get("/x")
    assert words in str(error.value)


def test_nobody_there() -> None:
    with pytest.raises(UnreachableError, match="refused"):
        Client(Address.parse("http://127.0.0.1:9")).get("/x")
    with pytest.raises(UnreachableError):
        Client(Address.parse("http://nobody.invalid")).get("/x")


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_never_ends(monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    """Each line comes in time; the whole, of headers or text, never does."""
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.3)
    ended = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(2**16)
            connection.sendall(start)
            for number in range(1_000):
                try:
                    connection.sendall(b"x-%d: y\r\n" % (number % 50) if number < 50 else b"z")
                except OSError:
                    break
                if ended.wait(0.02):
                    break

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,))
        thread.start()
        began = time.monotonic()
        with pytest.raises(ClientError, match=r"/x: (the answer took more than 0\.3 s|timed out)") as error:
            Client(Address.parse(f"http://127.0.0.1:{listening.getsockname()[1]}")).get("/x")
        took = time.monotonic() - began
        ended.set()
        thread.join()
    assert not isinstance(error.value, UnreachableError)
    assert took < 5


def with_login(locust: FakeLocust, page: str = "/login", form: str = "/login_submit") -> None:
    """Wants a session cookie, which the form gives for the right password."""

    def stats(headers: dict[str, str], _: bytes) -> Answer:
        if "session=in" in headers.get("Cookie", ""):
            return 200, {}, b"the statistics"
        return 302, {"Location": f"{page}?next=%2Fstats"}, b""

    def submit(_: dict[str, str], body: bytes) -> Answer:
        given = parse_qs(body.decode())
        if given == {"username": ["ann"], "password": ["p&ss=wörd"]}:
            return 302, {"Location": "/", "Set-Cookie": "session=in; Path=/; HttpOnly"}, b""
        return 302, {"Location": page}, b""

    locust.answers["/stats"] = stats
    locust.answers[f"{page}?next=%2Fstats"] = lambda *_: (
        200,
        {"Set-Cookie": "session=out"},
        f'window.authArgs = {{"username_password_callback": "{form}"}}</script>'.encode(),
    )
    locust.answers["/login_submit"] = submit


LOGIN = Login("ann", "p&ss=wörd")


def test_a_login_is_made_once_and_again_when_it_ran_out(locust: FakeLocust) -> None:
    with_login(locust)
    client = connected(locust, LOGIN)
    assert client.get("/stats") == client.get("/stats") == "the statistics"
    assert locust.asked == ["/stats", "/login?next=%2Fstats", "/login_submit", "/stats", "/stats"]
    client._cookies["session"] = "too old"
    assert client.get("/stats") == "the statistics"


def test_a_form_at_a_given_path_with_given_fields(locust: FakeLocust) -> None:
    with_login(locust)
    asked: list[bytes] = []

    def submit(_: dict[str, str], body: bytes) -> Answer:
        asked.append(body)
        return 200, {"Set-Cookie": "session=in"}, b""

    locust.answers["/auth"] = submit
    login = Login("ann", "secret", "/auth", "email", "pin")
    assert connected(locust, login).get("/stats") == "the statistics"
    assert asked == [b"email=ann&pin=secret"]


def test_logins_that_fail(locust: FakeLocust) -> None:
    with_login(locust)
    with pytest.raises(LoginError, match="the login is not accepted"):
        connected(locust, Login("ann", "guessed")).get("/stats")
    with pytest.raises(LoginError, match="set LOCUST_RELAY_USERNAME"):
        connected(locust).get("/stats")
    locust.answers["/login_submit"] = lambda *_: (403, {}, b"no")
    with pytest.raises(LoginError, match="found 403"):
        connected(locust, LOGIN).get("/stats")
    with_login(locust, form="http://elsewhere.example/login")
    with pytest.raises(LoginError, match=r"leads to 'http://elsewhere\.example"):
        connected(locust, LOGIN).get("/stats")
    locust.answers["/login?next=%2Fstats"] = lambda *_: (200, {}, b"a page")
    with pytest.raises(LoginError, match="expected a login form"):
        connected(locust, LOGIN).get("/stats")
    for place in ("http://[x/login", "//127.0.0.1:99999/login", "http://x:y/"):
        locust.answers["/stats"] = lambda *_, place=place: (302, {"Location": place}, b"")
        with pytest.raises(LoginError, match="expected an address for the login, found"):
            connected(locust, LOGIN).get("/stats")
    locust.answers["/stats"] = lambda *_: (301, {"Location": "https://elsewhere.example/"}, b"")
    with pytest.raises(LoginError, match="stay at"):
        connected(locust, LOGIN).get("/stats")


def test_cookies_that_are_none_are_left_out(locust: FakeLocust) -> None:
    sent: list[str | None] = []

    def answer(headers: dict[str, str], _: bytes) -> Answer:
        sent.append(headers.get("Cookie"))
        cookies = ["a,b=c", "kept=1; Path=/", "gone=", "too old=; Max-Age=0", "old=x; Max-Age=0"]
        return 200, {"Set-Cookie": cookies[len(sent) - 1]}, b""

    locust.answers["/x"] = answer
    client = connected(locust)
    for _ in range(5):
        client.get("/x")
    assert sent == [None, None, "kept=1", "kept=1", "kept=1"]


def test_no_password_in_what_is_shown() -> None:
    assert "p&ss" not in repr(LOGIN)


STATUS = '{"state": "running", "user_count": 3%s}'


@pytest.mark.parametrize(
    ("more", "current", "workers"),
    [
        ("", {}, []),
        (', "current_response_time_percentiles": null, "workers": null', {}, []),
        (
            ', "current_response_time_percentiles": {"response_time_percentile_0.5": 12, '
            '"response_time_percentile_0.999": 99.5, "response_time_percentile_0.95": null, "x": 1}',
            {"50": 12, "99.9": 99.5},
            [],
        ),
        (
            ', "workers": [{"id": "w", "state": "missing"}, '
            '{"id": "v", "cpu_usage": 12.5, "memory_usage": 7, "user_count": 2, "new": []}]',
            {},
            [("w", 0, None, None), ("v", 2, 12.5, 7)],
        ),
    ],
)
def test_fields_that_come_and_go(more: str, current: dict[str, float], workers: list[object]) -> None:
    status = read_status(STATUS % more)
    assert (status.state, status.users, status.current_percentiles_ms) == ("running", 3, current)
    assert [(w.id, w.users, w.cpu_percent, w.memory_bytes) for w in status.workers] == workers


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1" + "0" * 400, "1e400", "NaN", "-Infinity"])
def test_numbers_of_no_use(number: str) -> None:
    status = read_status(
        '{"state": "running", "current_response_time_percentiles": '
        f'{{"response_time_percentile_0.5": {number}}},'
        f' "workers": [{{"id": "w", "cpu_usage": {number}, "memory_usage": {number}}}]}}'
    )
    assert status.current_percentiles_ms == {}
    assert [(worker.cpu_percent, worker.memory_bytes) for worker in status.workers] == [(None, None)]
    assert read_users_by_class(f'{{"per_class": {{"A": {{"ratio": {number}}}}}}}', 8) == {}


def test_columns_that_come_and_go() -> None:
    text = (
        "New,Name,Request Count,Failure Count,50%,98%,99%\r\nx,/a,3,1,12,9,N/A\r\n,Aggregated,3,1,12,9,13\r\n"
    )
    (entry,) = read_statistics(text).entries
    assert (entry.method, entry.name, entry.requests, entry.failures) == ("", "/a", 3, 1)
    assert (entry.average_ms, entry.percentiles_ms) == (None, {"50": 12})
    assert read_statistics(text).seconds is None


def test_texts_with_everything_in_them() -> None:
    name = 'a "b", c\nd'
    (error,) = read_errors('Method,Name,Error,Occurrences\r\nGET,"a ""b"", c\nd","x, y",7\r\n')
    assert (error.key, error.count) == (("GET", name, "x, y"), 7)
    (exception,) = read_exceptions('Count,Message,Traceback,Nodes\r\n7,boo,"line\nline",local\r\n')
    assert (exception.key, exception.count) == (("boo", "line\nline"), 7)


def test_pages() -> None:
    assert read_about(PAGE) == About("2.40.0", "http://x", "a.py,b.py")
    assert read_started(REPORT) == "2026-11-21T11:09:00Z"
    for page in (
        "",
        "window.templateArgs = {",
        "window.templateArgs = [1]",
        "window.templateArgs = " + "[" * 10**5,
    ):
        assert read_about(page) == About()
        assert read_started(page) is None
    assert read_about('window.templateArgs = {"version": 7, "host": null}') == About()


def test_users_by_class() -> None:
    tasks = (
        '{"per_class": {"A": {"ratio": 0.25}, "B": {"ratio": 0.75}, "C": {}, "D": 1, "E": {"ratio": "x"}}}'
    )
    assert read_users_by_class(tasks, 8) == {"A": 2, "B": 6}
    assert read_users_by_class("{}", 8) == {}


@pytest.mark.parametrize(
    ("reader", "text", "words"),
    [
        (read_status, "<html>", "expected JSON from /stats/requests, found '<html>'"),
        (read_status, "[" * 100_000, "expected JSON from /stats/requests"),
        (read_status, "[]", "expected an object in /stats/requests"),
        (read_status, "{}", "expected `state`"),
        (read_status, '{"state": "running", "user_count": -1}', "expected a count as user_count, found '-1'"),
        (read_statistics, "", "expected the columns Name, Request Count"),
        (read_statistics, "Name,Request Count,Failure Count\r\n", "expected the line Aggregated"),
        (read_statistics, "Name,Request Count,Failure Count\r\na,b\r\n", "expected 3 fields in line 2"),
        (
            read_statistics,
            "Name,Request Count,Failure Count\r\na,1e3,0\r\n",
            "expected a count as Request Count",
        ),
        (
            read_statistics,
            "Name,Request Count,Failure Count,Average Response Time\r\na,1,0,soon\r\n",
            "expected a number as Average Response Time, found 'soon'",
        ),
        (read_errors, "x\r\n", "expected the columns Name, Error, Occurrences"),
        (read_exceptions, 'Count,Message\r\n1,"' + "x" * 200_000 + '"\r\n', "field larger than field limit"),
    ],
)
def test_answers_of_something_else(reader: object, text: str, words: str) -> None:
    with pytest.raises(AnswerError) as error:
        reader(text)  # type: ignore[operator]
    assert words in str(error.value)
    assert len(str(error.value)) < 300


def test_the_bounds_are_those_of_the_format() -> None:
    assert answers.EXACT == 2**53 - 1
