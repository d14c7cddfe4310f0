import io
import logging
import sys
from collections.abc import Iterable
from typing import Any
from wsgiref import validate

import pytest
from support.asgi import http_scope

from penstock.asgi.environ import ErrorLog, FileWrapper, environ_of


def environ(path: str = "/", pieces: Iterable[bytes] = (), has_siblings: bool = False, **changes: Any) -> dict[str, Any]:
    waiting = [(piece, True) for piece in pieces] + [(b"", False)]
    return environ_of(http_scope("GET", path, **changes), lambda: waiting.pop(0), has_siblings)


def fields(*given: tuple[bytes, bytes]) -> dict[str, Any]:
    return {key: value for key, value in environ(headers=list(given)).items() if key.startswith(("HTTP_", "CONTENT_"))}


def test_it_is_what_the_specification_asks_for() -> None:
    check = getattr(validate, "check_environ")  # the stubs know only the validator
    check(environ("/a?b=c", headers=[(b"host", b"x"), (b"content-type", b"text/plain"), (b"content-length", b"5")]))


def test_the_request_line_is_in_it() -> None:
    found = environ("/a%20b/c?d=%20e")
    assert found["REQUEST_METHOD"] == "GET" and found["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert (found["SCRIPT_NAME"], found["PATH_INFO"], found["QUERY_STRING"]) == ("", "/a b/c", "d=%20e")
    assert found["REQUEST_URI"] == found["RAW_URI"] == "/a%20b/c?d=%20e"


def test_a_path_is_octets_as_latin_1() -> None:
    assert environ("/%C3%A9%FF")["PATH_INFO"].encode("latin-1") == "/é".encode() + b"\xff"


@pytest.mark.parametrize("root, path, name, info", [
    ("/api", "/api/users", "/api", "/users"), ("/api", "/api", "/api", ""), ("/é", "/%C3%A9/x", "/Ã©", "/x"),
    ("/api", "/apis", "/api", "s"), ("/api", "/other", "/api", "/other"), ("/api", "*", "/api", "*"),
])
def test_where_it_is_mounted_is_its_script_name(root: str, path: str, name: str, info: str) -> None:
    found = environ(path, root_path=root)
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == (name, info)


def test_a_scope_without_a_raw_path_has_a_path_still() -> None:
    assert environ(raw_path=None, path="/é")["PATH_INFO"].encode("latin-1") == "/é".encode()


def test_both_ends_are_in_it() -> None:
    found = environ()
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == ("192.0.2.2", "8000")
    assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == ("192.0.2.1", "50000")


@pytest.mark.parametrize("scheme, port", [("http", "80"), ("https", "443")])
def test_a_local_socket_has_a_name_and_a_port_all_the_same(scheme: str, port: str) -> None:
    found = environ(server=("/run/app.sock", None), client=None, scheme=scheme)
    assert (found["SERVER_NAME"], found["SERVER_PORT"], found["REMOTE_ADDR"]) == ("localhost", port, "")


def test_a_secure_request_says_so() -> None:
    assert environ(scheme="https")["wsgi.url_scheme"] == "https" and environ(scheme="https")["HTTPS"] == "on"
    assert "HTTPS" not in environ()


def test_threads_and_processes_are_announced() -> None:
    assert environ()["wsgi.multithread"] is True and environ()["wsgi.multiprocess"] is False
    assert environ(has_siblings=True)["wsgi.multiprocess"] is True


def test_fields_are_named_as_in_cgi() -> None:
    assert fields((b"x-custom-name", b"v\xe9"), (b"content-type", b"a/b"), (b"content-length", b"3")) == {
        "HTTP_X_CUSTOM_NAME": "vé", "CONTENT_TYPE": "a/b", "CONTENT_LENGTH": "3"}


def test_fields_that_come_again_are_joined_and_cookies_as_cookies() -> None:
    assert fields((b"x", b"1"), (b"cookie", b"a=1"), (b"x", b"2"), (b"cookie", b"b=2")) == {"HTTP_X": "1,2", "HTTP_COOKIE": "a=1; b=2"}


def test_names_that_could_be_taken_for_others_are_left_out() -> None:
    assert fields((b"x_forwarded_for", b"evil"), (b"x-forwarded-for", b"good"), (b"proxy", b"evil"), (b"content_length", b"1")) == {
        "HTTP_X_FORWARDED_FOR": "good"}


def test_names_without_end_are_not_remembered_without_end() -> None:
    from penstock.asgi import environ as module

    for number in range(module._MAX_KEYS + 10):
        assert fields((b"x-%d" % number, b"")) == {f"HTTP_X_{number}": ""}
    assert len(module._KEYS) <= module._MAX_KEYS


CHUNKED = [(b"transfer-encoding", b"chunked")]


def test_without_a_body_the_stream_is_at_its_end_and_nobody_is_asked() -> None:
    def fetch() -> tuple[bytes, bool]:
        raise AssertionError("asked for a body")

    for headers in ([], [(b"content-length", b"0")]):
        stream = environ_of(http_scope(headers=headers), fetch, False)["wsgi.input"]
        assert (stream.read(), stream.readline(), list(stream)) == (b"", b"", [])


@pytest.mark.parametrize("headers", [CHUNKED, [(b"content-length", b"12")]])
def test_the_body_is_read_as_it_comes(headers: Any) -> None:
    pieces = [b"one\nt", b"wo\n", b"three"]

    def stream() -> Any:
        return environ(headers=headers, pieces=pieces)["wsgi.input"]

    assert stream().read() == b"one\ntwo\nthree" and stream().read(6) == b"one\ntw"
    assert stream().readline() == b"one\n" and stream().readline(2) == b"on"
    assert list(stream()) == stream().readlines() == [b"one\n", b"two\n", b"three"]
    assert stream().readlines(5) == [b"one\n", b"two\n"]
    assert stream().read(0) == b""


def test_a_large_body_is_whole() -> None:
    pieces = [bytes([number]) * 70_001 for number in range(20)]
    stream = environ(headers=CHUNKED, pieces=pieces)["wsgi.input"]
    assert stream.read(99_999) + stream.readline(10) + stream.read() == b"".join(pieces)
    assert stream.read() == b"" and stream.read(1) == b""


def test_a_client_that_leaves_is_an_error_of_the_read_that_needs_more() -> None:
    pieces = [(b"half", True)]

    def fetch() -> tuple[bytes, bool]:
        if not pieces:
            raise ConnectionError("gone")
        return pieces.pop()

    stream = environ_of(http_scope(headers=CHUNKED), fetch, False)["wsgi.input"]
    assert stream.read(4) == b"half"
    with pytest.raises(OSError, match="gone"):
        stream.read(1)


def test_lines_of_errors_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    stream = ErrorLog()
    with caplog.at_level(logging.ERROR, "penstock.error"):
        print("of", "one", "line", file=stream)
        stream.write("Traceback\n  of several\n")
        stream.writelines(["and ", "the rest"])
        assert [record.getMessage() for record in caplog.records] == ["of one line", "Traceback\n  of several"]
        stream.flush()
        stream.flush()
        stream.write("\n")
    assert caplog.messages[2:] == ["and the rest"]


def test_a_handler_of_logging_can_write_there(caplog: pytest.LogCaptureFixture) -> None:
    handler = logging.StreamHandler(ErrorLog())
    with caplog.at_level(logging.ERROR, "penstock.error"):
        handler.handle(logging.LogRecord("app", logging.INFO, "", 0, "100 %", (), None))
    assert caplog.messages == ["100 %"]


def test_a_file_is_read_in_blocks_and_closed_by_its_owner() -> None:
    file = io.BytesIO(b"abcdefg")
    wrapped = FileWrapper(file, 3)
    assert list(wrapped) == [b"abc", b"def", b"g"]
    wrapped.close()
    assert file.closed


def test_what_has_no_close_needs_none() -> None:
    class Reader:
        def read(self, size: int) -> bytes:
            return b""

    assert not hasattr(FileWrapper(Reader()), "close") and list(FileWrapper(Reader())) == []


def test_reading_costs_no_copy_of_the_rest() -> None:
    """Octet by octet through a large piece: a copy of the rest each time would take minutes."""
    stream = environ(headers=CHUNKED, pieces=[b"x" * 1_000_000])["wsgi.input"]
    assert sum(len(stream.read(1)) for _ in range(1_000_000)) == 1_000_000
    assert sys.getsizeof(stream) < 200_000
