"""The ASGI application of OTLP/HTTP: headers, bodies with their limits, answers in the request's own format."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

from obsvty.errors import OtlpError
from obsvty.otlp import responses
from obsvty.otlp.inflate import Inflater
from obsvty.otlp.json import json_to_request
from obsvty.otlp.receive import NotStored, authorized, receive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
    from concurrent.futures import Executor

    from obsvty.model import Signal
    from obsvty.otlp.inflate import Encoding
    from obsvty.otlp.receive import Put

    Event: TypeAlias = MutableMapping[str, object]
    Receive: TypeAlias = Callable[[], Awaitable[Event]]
    Send: TypeAlias = Callable[[Event], Awaitable[None]]
    Headers: TypeAlias = list[tuple[bytes, bytes]]

log = logging.getLogger(__name__)

Format = Literal["protobuf", "json"]

PATHS: Final[dict[str, Signal]] = {"/v1/traces": "traces", "/v1/logs": "logs", "/v1/metrics": "metrics"}
_FORMATS: Final[dict[str, Format]] = {"application/x-protobuf": "protobuf", "application/json": "json"}
_CONTENT_TYPES: Final[dict[Format, bytes]] = {
    "protobuf": b"application/x-protobuf",
    "json": b"application/json",
}
_ENCODINGS: Final[dict[str, Encoding]] = {"": "", "identity": "", "gzip": "gzip", "zstd": "zstd"}
_DRAINED: Final = 4  # how many times the limit is read of a body that is too large
_BUFFERED: Final = 4  # bodies being received may take this many times the limit of one, together


@dataclass(frozen=True)
class _Refusal(Exception):
    http: int
    code: int
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class _Post:
    """A request whose headers are in order."""

    signal: Signal
    format: Format
    encoding: Encoding


class HttpApp:
    """The application. `put` and everything that costs CPU runs in `pool`, so the event loop only moves bytes."""

    def __init__(
        self, put: Put, pool: Executor, *, token: str | None, max_bytes: int, cors_origins: tuple[str, ...]
    ) -> None:
        self._put = put
        self._pool = pool
        self._token = token
        self._max_bytes = max_bytes
        self._cors_origins = cors_origins
        self._buffered = 0

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        if scope["type"] != "http":
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in reversed(cast("Headers", scope["headers"]))
        }
        form = _FORMATS.get(_media_type(headers))
        cors = self._cors(headers)
        if scope["method"] == "OPTIONS" and "origin" in headers:
            await self._preflight(cors, send)
            return
        try:
            post = self._accept(cast("str", scope["path"]), cast("str", scope["method"]), headers)
            body = await self._handle(post, headers, receive)
            await _answer(send, 200, post.format, body, cors)
        except _Refusal as refusal:
            make = responses.status_json if form == "json" else responses.status
            body = make(refusal.code, refusal.message)
            await _answer(send, refusal.http, form or "protobuf", body, [*refusal.headers, *cors])
        except _Gone:
            return

    def _accept(self, path: str, method: str, headers: Mapping[str, str]) -> _Post:
        signal = PATHS.get(path)
        if signal is None:
            raise _Refusal(404, responses.NOT_FOUND, f"There is nothing here. OTLP is at {', '.join(PATHS)}.")
        if method != "POST":
            raise _Refusal(405, responses.UNIMPLEMENTED, "Use POST.", ((b"allow", b"POST"),))
        if not authorized(headers.get("authorization"), self._token):
            raise _Refusal(
                401, responses.UNAUTHENTICATED, "A bearer token is needed.",
                ((b"www-authenticate", b"Bearer"),),
            )  # fmt: skip
        form = _FORMATS.get(_media_type(headers))
        if form is None:
            raise _Refusal(
                415,
                responses.INVALID_ARGUMENT,
                "Content-Type must be application/x-protobuf or application/json.",
            )
        encoding = _ENCODINGS.get(headers.get("content-encoding", "").strip().lower())
        if encoding is None:
            raise _Refusal(
                415, responses.INVALID_ARGUMENT, "Content-Encoding must be gzip, zstd or none.",
                ((b"accept-encoding", b"gzip, zstd"),),
            )  # fmt: skip
        return _Post(signal, form, encoding)

    async def _handle(self, post: _Post, headers: Mapping[str, str], receive_event: Receive) -> bytes:
        declared = headers.get("content-length", "0")
        too_large = declared.isdecimal() and int(declared) > self._max_bytes
        if too_large and "expect" in headers:
            raise self._too_large()  # the client waits for our word before it sends
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in _chunks(receive_event):
                size += len(chunk)
                too_large = too_large or size > self._max_bytes
                if too_large:
                    # Read on for a while, into nothing: most clients look for the answer only after they have sent all
                    self._buffered -= sum(map(len, chunks))
                    chunks.clear()
                    if size > _DRAINED * self._max_bytes:
                        break
                    continue
                self._buffered += len(chunk)
                chunks.append(chunk)
                if self._buffered > _BUFFERED * self._max_bytes:
                    raise _later("Too many requests are being received.")
            if too_large:
                raise self._too_large()
            work = asyncio.get_running_loop().run_in_executor(self._pool, self._store, post, chunks)
            # Shielded: a client that goes away does not make an answerable request half done
            return await asyncio.shield(work)
        finally:
            self._buffered -= sum(map(len, chunks))

    def _store(self, post: _Post, chunks: list[bytes]) -> bytes:
        """In a worker thread: inflate, translate, validate, store; the body of the answer."""
        try:
            body = self._inflate(post.encoding, chunks)
            if post.format == "json":
                body = json_to_request(post.signal, body)
            checked = receive(self._put, post.signal, body)
        except OtlpError as exc:
            raise _Refusal(400, responses.INVALID_ARGUMENT, str(exc)) from exc
        except NotStored as exc:
            raise _later(str(exc)) from exc
        except _Refusal:
            raise
        except Exception as exc:
            # a 500 would make the sender drop it; no traceback, because an exception's text can quote telemetry
            log.error("A request of %s could not be read: unexpected %s", post.signal, type(exc).__name__)  # noqa: TRY400
            raise _later("The request could not be read now.") from exc
        if post.format == "json":
            return responses.export_response_json(post.signal, checked.rejected, checked.message)
        return responses.export_response(checked.rejected, checked.message)

    def _inflate(self, encoding: Encoding, chunks: list[bytes]) -> bytes:
        if not encoding:
            return b"".join(chunks)
        inflater = Inflater(encoding)
        pieces: list[bytes] = []  # joined when all is well: one growing buffer costs a bomb twice its limit
        size = 0
        for chunk in chunks:
            for piece in inflater.feed(chunk):
                size += len(piece)
                if size > self._max_bytes:
                    pieces.clear()  # the exception's traceback would keep them until the garbage collector comes
                    raise self._too_large()
                pieces.append(piece)
        inflater.finish()
        return b"".join(pieces)

    def _too_large(self) -> _Refusal:
        return _Refusal(
            413, responses.RESOURCE_EXHAUSTED,
            f"A request may have {self._max_bytes >> 20} MiB, also after decompression.",
            ((b"connection", b"close"),),  # the rest of the body is not read
        )  # fmt: skip

    def _cors(self, headers: Mapping[str, str]) -> Headers:
        origin = headers.get("origin")
        if origin is None or not ("*" in self._cors_origins or origin in self._cors_origins):
            return []
        return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")]

    async def _preflight(self, cors: Headers, send: Send) -> None:
        if not cors:
            message = "Pages of this origin may not send; see [receiver] cors_origins."
            await _answer(send, 403, "json", responses.status_json(7, message), [])
            return
        allow: Headers = [
            (b"access-control-allow-methods", b"POST"),
            (b"access-control-allow-headers", b"authorization, content-type, content-encoding"),
            (b"access-control-max-age", b"3600"),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": [*cors, *allow]})
        await send({"type": "http.response.body", "body": b""})


class _Gone(Exception):
    """The client closed the connection before its request was complete."""


def _later(message: str) -> _Refusal:
    retry = (b"retry-after", str(responses.RETRY_AFTER_S).encode())
    return _Refusal(503, responses.UNAVAILABLE, message, (retry,))


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


async def _chunks(receive_event: Receive) -> AsyncIterator[bytes]:
    while True:
        event = await receive_event()
        if event["type"] == "http.disconnect":
            raise _Gone
        if body := cast("bytes", event.get("body", b"")):
            yield body
        if not event.get("more_body", False):
            return


async def _answer(send: Send, status: int, form: Format, body: bytes, headers: Headers) -> None:
    own: Headers = [
        (b"content-type", _CONTENT_TYPES[form]),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})
