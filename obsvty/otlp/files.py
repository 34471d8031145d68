"""OTLP files of every common form, as a stream of requests.

A file is one protobuf request, protobuf requests with a length (varint, or the Collector's four bytes) before each, one
OTLP/JSON object, or JSON lines (what the Collector's file exporter writes); any of them plain, gzip or zstd. What it
is, is found out from its bytes, not its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Final, TypeAlias

from obsvty.errors import OtlpError, StoreOverloaded
from obsvty.otlp.check import check_request, parse
from obsvty.otlp.inflate import Inflater, encoding_of
from obsvty.otlp.json import load_object, object_to_request, signals_of
from obsvty.otlp.sniff import (
    MAX_VARINT,
    framing,
    is_request,
    looks_like_frames,
    looks_like_json,
    read_varint,
    signal_of_request,
)
from obsvty.otlp.streams import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from obsvty.model import Signal

    Put: TypeAlias = Callable[[Signal, bytes], None]
    Progress: TypeAlias = Callable[[int, int], None]
    OnBad: TypeAlias = Callable[[OtlpError], None]  # told of what is skipped; raises where it shall not be

_BATCH_BYTES: Final = 1 << 20  # what is handed over at once: one fsync a MiB instead of one a line
_PATIENCE_S: Final = 60.0
_RETRY_S: Final = 0.25
_NAME_PARTS: Final[dict[str, Signal]] = {"traces": "traces", "logs": "logs", "metrics": "metrics"}


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import handed over.

    `rejected` counts spans without valid ids, which are left out of `spans`; `skipped` counts bad lines and requests.
    """

    files: int
    requests: int
    spans: int
    logs: int
    points: int
    rejected: int = 0
    skipped: int = 0


def read_requests(path: Path, signal: Signal | None = None) -> Iterator[tuple[Signal, bytes]]:
    """The requests of one file, in order, as serialized protobuf.

    Args:
        path: the file.
        signal: which signal it holds; default: the file's name (`.traces.`, `.logs.`, `.metrics.`), else its content.

    Raises:
        OtlpError: the file is cut off, is not OTLP, cannot be read, or does not tell its signal. Requests
            before the bad place have been given out by then. The message names the file and the line or byte, never
            what stands there.
    """
    for where, found, body in _read(path, signal, lambda _: None, _raise):
        try:
            parse(found, body)
        except OtlpError as exc:
            raise _bad(path, where, exc.message, exc.hint) from exc
        yield found, body


def import_files(
    paths: Sequence[Path],
    put: Put,
    signal: Signal | None = None,
    progress: Progress | None = None,
    *,
    join: bool = True,
    skip_bad: OnBad | None = None,
) -> ImportReport:
    """Hand every request of the files to `put`.

    Args:
        paths: files, imported in this order.
        put: blocks until durable. When it is overloaded it is asked again, for up to a minute.
        signal: as for `read_requests`.
        progress: called with (bytes done, bytes in all) of the files as they are on disk.
        join: hand small requests over together, where each call of `put` waits for the disk.
        skip_bad: told of each line or request that is not OTLP, which is then left out and counted. Default: the
            first one ends the import.

    Raises:
        OtlpError: as for `read_requests`; what was read before is imported. With `skip_bad` only for what cannot be
            read past: broken compression, a length-delimited file that is cut off, a file without one good request.
        StoreError: `put` failed.
    """
    _refuse_missing(paths)
    total = sum(path.stat().st_size for path in paths)
    counts: dict[str, int] = {"traces": 0, "logs": 0, "metrics": 0}
    requests = rejected = skipped = before = 0
    for path in paths:
        start, good = before, requests
        first_bad: list[OtlpError] = []

        def report(done: int, start: int = start) -> None:
            if progress is not None:
                progress(min(start + done, total), total)

        def on_bad(error: OtlpError, first_bad: list[OtlpError] = first_bad) -> None:
            nonlocal skipped
            if skip_bad is None:
                raise error
            skip_bad(error)
            skipped += 1
            first_bad[:] = first_bad or [error]

        batch = _Batch(put, _BATCH_BYTES if join else 0)
        try:
            for where, found, body in _read(path, signal, report, on_bad):
                try:
                    checked = check_request(found, body, count=True)
                except OtlpError as exc:
                    on_bad(_bad(path, where, exc.message, exc.hint))
                    continue
                requests += 1
                rejected += checked.rejected
                if not checked.empty:
                    counts[found] += checked.records
                    batch.add(found, checked.body)
        finally:
            batch.flush()  # also when the next request is bad: what was read before stays imported
        if first_bad and requests == good:
            raise first_bad[0]
        before += path.stat().st_size
        report(before - start)
    return ImportReport(
        files=len(paths),
        requests=requests,
        spans=counts["traces"],
        logs=counts["logs"],
        points=counts["metrics"],
        rejected=rejected,
        skipped=skipped,
    )


def _raise(error: OtlpError) -> None:
    raise error


class _Batch:
    """Joins small requests. Serialized protobuf messages one after the other are one message with the lists of both."""

    def __init__(self, put: Put, limit: int) -> None:
        """`limit` 0 joins nothing."""
        self._put = put
        self._limit = limit
        self._signal: Signal | None = None
        self._bodies: list[bytes] = []
        self._bytes = 0

    def add(self, signal: Signal, body: bytes) -> None:
        if signal != self._signal or self._bytes + len(body) > self._limit:
            self.flush()
        self._signal = signal
        self._bodies.append(body)
        self._bytes += len(body)

    def flush(self) -> None:
        bodies, self._bodies, self._bytes = self._bodies, [], 0
        if self._signal is not None and bodies:
            _put_patiently(self._put, self._signal, b"".join(bodies))


def _put_patiently(put: Put, signal: Signal, body: bytes) -> None:
    pause, waited = Event(), 0.0
    while True:
        try:
            return put(signal, body)
        except StoreOverloaded:
            if waited >= _PATIENCE_S:
                raise
            pause.wait(_RETRY_S)
            waited += _RETRY_S


def _read(
    path: Path, signal: Signal | None, report: Callable[[int], None], on_bad: OnBad
) -> Iterator[tuple[str, Signal, bytes]]:
    """(where, signal, request); `where` is "line 3" or "byte 120", for messages."""
    _refuse_missing([path])
    try:
        with path.open("rb") as file:
            stream = Stream(path, file, report)
            head = stream.peek(64)
            if not head:
                return
            if looks_like_json(head):
                yield from _read_json(path, stream, signal, on_bad)
            elif looks_like_frames(head):
                yield from _read_frames(path, stream, signal, on_bad)
            else:
                yield from _read_protobuf(path, stream, signal, on_bad)
    except OSError as exc:
        raise OtlpError(f"{path.name} cannot be read: {exc.strerror}.", hint="Check the file.") from exc


def _read_json(
    path: Path, stream: Stream, signal: Signal | None, on_bad: OnBad
) -> Iterator[tuple[str, Signal, bytes]]:
    number = 0
    while line := stream.line():
        number += 1
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not text.strip():
            continue
        where = f"line {number}"
        try:
            value = load_object(text)
        except OtlpError as exc:
            if not stream.only_blank_before:
                on_bad(_bad(path, where, _why(line, exc), _JSON_HINT))
                continue
            # not JSON lines: perhaps one object, spread over many lines
            rest = stream.rest()
            try:
                value = load_object(text + rest)
            except OtlpError as whole:
                why = whole.message if rest.strip() else _why(line, whole)
                on_bad(_bad(path, where, why, _JSON_HINT))
                stream.push_back(rest)
                stream.only_blank_before = False
                continue
        stream.only_blank_before = False
        try:
            yield from _from_object(path, where, value, signal)
        except OtlpError as exc:
            on_bad(exc)


def _from_object(
    path: Path, where: str, value: Mapping[str, object], signal: Signal | None
) -> Iterator[tuple[str, Signal, bytes]]:
    found = signals_of(value)
    if not found:
        raise _bad(path, where, "it is JSON, but not OTLP.", _JSON_HINT)
    for one in found:
        if signal is not None and one != signal:
            what = f"it holds {one}, not {signal}."
            raise _bad(path, where, what, "Leave the signal out: JSON says it itself.")
        try:
            yield where, one, object_to_request(one, value)
        except OtlpError as exc:
            raise _bad(path, where, exc.message, exc.hint) from exc


_JSON_HINT: Final = "Expected OTLP/JSON: one export request, or one a line."
_PROTO_HINT: Final = "Expected one OTLP export request, or requests with a varint length before each."


def _why(line: bytes, exc: OtlpError) -> str:
    if not exc.message.startswith("This is not JSON"):
        return exc.message
    return "it is not JSON." if line.endswith(b"\n") else "it is not JSON; the file seems cut off."


def _read_protobuf(
    path: Path, stream: Stream, signal: Signal | None, on_bad: OnBad
) -> Iterator[tuple[str, Signal, bytes]]:
    wanted = signal or _signal_in_name(path)
    if stream.peek(1) == b"\n":  # the tag of field 1: one request, unless its lengths do not add up
        body = stream.rest()
        frame = framing(body)
        # 0A 0A is also how a first request of ten bytes begins, with its length
        length_of_ten = body[1:2] == b"\n"
        if frame == "one" and (not length_of_ten or is_request(body)):
            yield "byte 0", wanted or _signal_in(path, "byte 0", body), body
            return
        if frame == "cut off" and not length_of_ten:
            raise _bad(path, f"byte {len(body)}", "the request is cut off.", _PROTO_HINT)
        stream.push_back(body)
    while (at := stream.position, first := stream.peek(MAX_VARINT))[1]:
        where = f"byte {at}"
        length, size = read_varint(first)
        if size == 0:
            raise _bad(path, where, "there is no length where one should be.", _PROTO_HINT)
        stream.take(size)
        body = stream.take(length)
        if len(body) < length:
            what = "a request is cut off." if at else "it is not OTLP, or cut off."
            raise _bad(path, where, what, _PROTO_HINT)
        if not body:
            continue
        try:
            if body[0] != 0x0A:
                raise _bad(path, where, "it is not OTLP.", _PROTO_HINT)
            wanted = wanted or _signal_in(path, where, body)
        except OtlpError as exc:
            on_bad(exc)
            continue
        yield where, wanted, body


def _read_frames(
    path: Path, stream: Stream, signal: Signal | None, on_bad: OnBad
) -> Iterator[tuple[str, Signal, bytes]]:
    """What the Collector's file exporter writes as protobuf, or compressed: four bytes of length each."""
    wanted = signal or _signal_in_name(path)
    while (at := stream.position, prefix := stream.take(4))[1]:
        where = f"byte {at}"
        length = int.from_bytes(prefix, "big")
        body = stream.take(length)
        if len(prefix) < 4 or len(body) < length:
            raise _bad(path, where, "a request is cut off.", _PROTO_HINT)
        try:
            inflater = Inflater(encoding_of(body))
            body = b"".join(inflater.feed(body))
            inflater.finish()
            value = load_object(body) if looks_like_json(body[:64]) else None
        except OtlpError as exc:
            on_bad(_bad(path, where, exc.message, exc.hint))
            continue
        try:
            if value is not None:
                yield from _from_object(path, where, value, signal)
                continue
            wanted = wanted or _signal_in(path, where, body)
        except OtlpError as exc:
            on_bad(exc)
            continue
        yield where, wanted, body


def _signal_in_name(path: Path) -> Signal | None:
    return next((_NAME_PARTS[part] for part in path.name.lower().split(".") if part in _NAME_PARTS), None)


def _signal_in(path: Path, where: str, body: bytes) -> Signal:
    signal = signal_of_request(body)
    if signal is None:
        raise _bad(
            path, where, "its content does not tell which signal it holds, or is not OTLP.",
            "Say it: --signal traces, logs or metrics.",
        )  # fmt: skip
    return signal


def _bad(path: Path, where: str, what: str, hint: str) -> OtlpError:
    return OtlpError(f"{path.name}, {where}: {what}", hint=hint)


def _refuse_missing(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.is_file():
            raise OtlpError(f"There is no file {path.name}.", hint="Check the path.")
