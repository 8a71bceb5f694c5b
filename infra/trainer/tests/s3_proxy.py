"""A proxy before the S3 server that does to requests what networks and stores do: loses, delays, refuses them.

A test's rule sees every request before it is passed on, and may do anything meanwhile: kill a process, claim an epoch.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """A request on its way to the store. `key` is without the bucket; `access_key`: of who signed it."""

    method: str
    key: str
    access_key: str = ""

    @property
    def moves_head(self) -> bool:
        """Whether it would commit."""
        return self.method == "PUT" and self.key.endswith("/HEAD")

    def writes(self, file: str) -> bool:
        """Whether it writes `file` of a checkpoint."""
        return self.method == "PUT" and "/checkpoints/" in self.key and self.key.endswith(f"/{file}")


PASS = "pass"
RESET = "reset"


@dataclass(frozen=True)
class Answer:
    """An answer made up: a status and a body, which one to a HEAD doesn't have."""

    status: int
    body: str


Verdict = str | int | Answer
"""`PASS` it on, `RESET` the connection, or answer with this status, in S3's word for it."""


def store_answer(status: int, code: str) -> Answer:
    """An S3 store's answer: a status with its own word for what is wrong."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>made up</Message></Error>")


def html_page(status: int, *, tidy: bool) -> Answer:
    """A web server's or proxy's page. `tidy`: it parses as XML."""
    if tidy:
        return Answer(status, f"<html><head><title>{status}</title></head><body><h1>Oops</h1></body></html>")
    return Answer(status, f"<!DOCTYPE html><html><body><center><h1>{status}</h1></center><hr>nginx</body></html>")


CODES = {403: "AccessDenied", 500: "InternalError", 503: "SlowDown"}


class Proxy:
    """Listens on `endpoint`. `rule` is asked before a request is passed on, `afterwards` called before its answer is."""

    def __init__(self, endpoint: str, upstream: str) -> None:
        self.endpoint, self.upstream = endpoint, upstream
        self.rule: Callable[[Request], Verdict] = lambda request: PASS
        self.afterwards: Callable[[Request], None] = lambda request: None


def nth(count: int, matches: Callable[[Request], bool]) -> Callable[[Request], bool]:
    """Whether a request is the `count`-th that matches."""
    seen = 0
    lock = threading.Lock()

    def check(request: Request) -> bool:
        nonlocal seen
        if not matches(request):
            return False
        with lock:
            seen += 1
            return seen == count

    return check


def at(
    matches: Callable[[Request], bool], act: Callable[[], object], then: Verdict = PASS
) -> Callable[[Request], Verdict]:
    """A rule: `act` when the request that matches arrives, which then gets the verdict `then`; all others pass."""

    def rule(request: Request) -> Verdict:
        if not matches(request):
            return PASS
        act()
        return then

    return rule


@contextmanager
def proxy_before(upstream: str) -> Iterator[Proxy]:
    """A proxy before the server at `upstream` (`http://host:port`)."""
    server = _Server(upstream)
    proxy = server.proxy
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.rule = lambda request: RESET
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = Proxy(f"http://127.0.0.1:{self.server_port}", upstream.removeprefix("http://"))

    def handle_error(self, *_: Any) -> None:
        """A client that went away is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing: tests say themselves what they see."""

    def _serve(self) -> None:
        assert isinstance(self.server, _Server)
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        signed_by = self.headers.get("Authorization", "").partition("Credential=")[2].split("/")[0]
        request = Request(self.command, self.path.split("?")[0].split("/", 2)[-1], signed_by)
        verdict = proxy.rule(request)
        if verdict == PASS:
            self._pass_on(proxy, request, body)
        elif isinstance(verdict, int):
            self._answer(store_answer(verdict, CODES[verdict]))
        elif isinstance(verdict, Answer):
            self._answer(verdict)
        else:
            self._reset()

    def _pass_on(self, proxy: Proxy, request: Request, body: bytes) -> None:
        connection = http.client.HTTPConnection(proxy.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        proxy.afterwards(request)
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(data)))
        self._finish(data)

    def _answer(self, answer: Answer) -> None:
        data = b"" if self.command == "HEAD" else answer.body.encode()
        self.send_response_only(answer.status)
        self.send_header("Content-Type", "text/html" if "<html" in answer.body else "application/xml")
        self.send_header("Content-Length", str(len(data)))
        self._finish(data)

    def _finish(self, data: bytes) -> None:
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _reset(self) -> None:
        """An RST instead of an answer."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve
