"""Answers to exporters: export responses, `google.rpc.Status` and its details, in protobuf and JSON.

`google.rpc` messages come with a package that only exporters need. The few fields used here are written as wire bytes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from obsvty.model import Signal

# google.rpc.Code
INVALID_ARGUMENT: Final = 3
NOT_FOUND: Final = 5
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
UNAVAILABLE: Final = 14
UNAUTHENTICATED: Final = 16

RETRY_AFTER_S: Final = 1  # Python's exporter gives up when the delay exceeds what is left of its 10 s
_TYPE: Final = "type.googleapis.com/google.rpc."
_REJECTED: Final[dict[Signal, str]] = {
    "traces": "rejectedSpans",
    "logs": "rejectedLogRecords",
    "metrics": "rejectedDataPoints",
}


def export_response(rejected: int, message: str) -> bytes:
    """An `Export...ServiceResponse`, the same on the wire for all three signals; empty when there is nothing to say.

    A message with `rejected` 0 is a warning: everything was accepted.
    """
    if not rejected and not message:
        return b""
    return _message(1, (_number(1, rejected) if rejected else b"") + _text(2, message))


def export_response_json(signal: Signal, rejected: int, message: str) -> bytes:
    """The same in OTLP/JSON, where 64-bit integers are text."""
    partial = {"partialSuccess": {_REJECTED[signal]: str(rejected), "errorMessage": message}}
    return json.dumps(partial if rejected or message else {}).encode()


def retry_info() -> bytes:
    """A `google.rpc.RetryInfo` of `RETRY_AFTER_S`."""
    return _message(1, _number(1, RETRY_AFTER_S))


def retry_status(message: str) -> bytes:
    """A `google.rpc.Status` UNAVAILABLE that holds `retry_info`."""
    return _number(1, UNAVAILABLE) + _text(2, message) + _detail("RetryInfo", retry_info())


def status(code: int, message: str) -> bytes:
    """A `google.rpc.Status`; for INVALID_ARGUMENT with the `BadRequest` that OTLP asks for."""
    if code == UNAVAILABLE:
        return retry_status(message)
    body = _number(1, code) + _text(2, message)
    if code == INVALID_ARGUMENT:
        body += _detail("BadRequest", _message(1, _text(1, "body") + _text(2, message)))
    return body


def status_json(code: int, message: str) -> bytes:
    """The same in JSON."""
    details: list[dict[str, object]] = []
    if code == INVALID_ARGUMENT:
        violation = {"field": "body", "description": message}
        details = [{"@type": _TYPE + "BadRequest", "fieldViolations": [violation]}]
    elif code == UNAVAILABLE:
        details = [{"@type": _TYPE + "RetryInfo", "retryDelay": f"{RETRY_AFTER_S}s"}]
    body: dict[str, object] = {"code": code, "message": message}
    return json.dumps(body | ({"details": details} if details else {})).encode()


def _detail(name: str, body: bytes) -> bytes:
    return _message(3, _text(1, _TYPE + name) + _message(2, body))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
