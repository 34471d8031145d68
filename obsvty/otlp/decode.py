"""OTLP requests into the canonical Arrow tables: one ptars call for many requests, then steps on whole columns.

`ptars` is young, so two more ways stand behind it. When it refuses a batch, each request is tried alone;
when it refuses one alone, `decode_slow` (upb and plain loops, 12 times slower) decides. Bytes that both
refuse are not OTLP.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeAlias, cast

import pyarrow as pa

from obsvty.errors import OtlpError
from obsvty.otlp import decode_logs, decode_metrics, decode_slow, decode_traces
from obsvty.otlp.descriptors import handler
from obsvty.store.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from obsvty.model import Signal

log = logging.getLogger(__name__)

Decoder: TypeAlias = "Callable[[Signal, Sequence[bytes]], dict[str, pa.Table]]"

_FLATTEN = {"traces": decode_traces.flatten, "logs": decode_logs.flatten, "metrics": decode_metrics.flatten}


def decode(signal: Signal, requests: Sequence[bytes]) -> Mapping[str, pa.Table]:
    """Serialized export requests of one signal as tables.

    Args:
        signal: which of the three messages the bytes hold.
        requests: serialized `Export...ServiceRequest`s. Above 8,000 spans a call is cheapest.

    Returns:
        `{signal: table, "resources": table}` with exactly the columns of `obsvty.store.schema`. Rows come
        in the order of the requests (metric points by kind of metric within a batch); a resource is listed
        once.

    Raises:
        OtlpError: one of the requests is not OTLP. Nothing is returned then: call again with each
            request alone to learn which, and to keep the others.
    """
    return decode_with(decode_fast, signal, requests)


def decode_with(fast: Decoder, signal: Signal, requests: Sequence[bytes]) -> Mapping[str, pa.Table]:
    """`decode` with `fast` in front of the plain way; what it refuses or panics on is tried request by request."""
    tables = _attempt(fast, signal, requests)
    if tables is not None:
        return tables
    if len(requests) == 1:
        log.info("The fast decoder refused a request of %s (%d bytes)", signal, len(requests[0]))
        return decode_slow.decode(signal, requests)
    parts: list[Mapping[str, pa.Table]] = []
    for position, request in enumerate(requests, 1):
        try:
            parts.append(decode_with(fast, signal, [request]))
        except OtlpError as exc:
            raise OtlpError(
                f"Request {position} of {len(requests)} is not an OTLP {signal} request.",
                hint="Decode the requests one by one to keep the others.",
            ) from exc
    return _concat(signal, parts)


def decode_fast(signal: Signal, requests: Sequence[bytes]) -> dict[str, pa.Table]:
    """The ptars way alone.

    Raises:
        ValueError: ptars refuses the bytes; it can also panic, with a BaseException of pyo3.
    """
    return _FLATTEN[signal](handler(signal).list_to_record_batch(list(requests)))


def _attempt(fast: Decoder, signal: Signal, requests: Sequence[bytes]) -> dict[str, pa.Table] | None:
    """What `fast` makes of the requests; None when it refuses or panics."""
    from google.protobuf.message import DecodeError

    try:
        return fast(signal, requests)
    except (ValueError, DecodeError, pa.ArrowException):
        return None
    except BaseException as exc:
        if type(exc).__name__ != "PanicException":  # derives from BaseException, and cannot be imported
            raise
        return None


def _concat(signal: Signal, parts: Sequence[Mapping[str, pa.Table]]) -> dict[str, pa.Table]:
    rows = pa.concat_tables([part[signal] for part in parts])
    resources = pa.concat_tables([part["resources"] for part in parts])
    first: dict[str, int] = {}
    for row, key in enumerate(cast("list[str]", resources["resource_id"].to_pylist())):
        first.setdefault(key, row)
    return {signal: rows, "resources": resources.take(list(first.values())).cast(TABLES["resources"])}
