"""A real HTTP server on 127.0.0.1 that keeps what it received, byte for byte, and answers as scripted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self, TypeAlias


class Received(NamedTuple):
    """One request as it came in. Header names are lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the server does with one request.

    `pieces` are written one after the other, each flushed. `hang` then holds the connection until the server closes,
    for time-outs; without pieces it says nothing at all; `drop` closes it without a word.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    pieces: Sequence[bytes] = ()
    hang: bool = False
    drop: bool = False


Answer: TypeAlias = "Reply | Callable[[Received], Reply]"


class Loopback:
    """Context manager; listens from construction until `close`. Thread-safe."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self._script: deque[Answer] = deque()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self._take, self._closing))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def bodies(self) -> list[bytes]:
        """Bodies of all requests, oldest first."""
        return [request.body for request in self.requests]

    def script(self, *answers: Answer) -> None:
        """Queue answers, each for one request. When the queue is empty, `respond` answers."""
        with self._lock:
            self._script.extend(answers)

    def hang(self) -> None:
        """Leave the next request without an answer until the server closes."""
        self.script(Reply(hang=True))

    def drop(self, times: int = 1) -> None:
        """Close the connection of the next requests without an answer."""
        self.script(*[Reply(drop=True)] * times)

    def respond(self, request: Received) -> Reply:
        """What is answered when nothing is scripted."""
        del request
        return Reply(status=404)

    def close(self) -> None:
        """Stop listening; connections that hang are let go."""
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, request: Received) -> Reply:
        with self._lock:
            self.requests.append(request)
            answer = self._script.popleft() if self._script else self.respond
        return answer if isinstance(answer, Reply) else answer(request)


def _handler_of(take: Callable[[Received], Reply], closing: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.path, headers, self.rfile.read(size))
            reply = take(request)
            try:
                if not reply.drop and (reply.pieces or not reply.hang):
                    self._write(reply)
            except ConnectionError:
                return  # the client gave up first, as a test of time-outs wants it
            if reply.hang:
                closing.wait(30)

        def do_GET(self) -> None:
            self.do_POST()

        def _write(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            for piece in reply.pieces:
                self.wfile.write(piece)
                self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            del format, args

    return Handler
