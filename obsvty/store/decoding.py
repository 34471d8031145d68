"""Log records to tables, many requests a call; what cannot be decoded is set aside and stops nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa

from obsvty.model import Signal
from obsvty.store.schema import SIGNALS
from obsvty.store.segments import conform
from obsvty.store.wal import Record

log = logging.getLogger(__name__)

# Requests of one signal -> tables by name ("traces", "resources" ...), in the schemas of `store.schema`.
Decoder: TypeAlias = Callable[[Signal, Sequence[bytes]], Mapping[str, pa.Table]]

# A decoder costs less per span with more spans a call, up to about 8 k of them (600 B each)
_CALL_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of the records of one log."""

    tables: Mapping[str, Sequence[pa.Table]]  # canonical schemas
    refused: Sequence[tuple[int, Record]]  # position in the log, and the record


def decode_records(decode: Decoder, records: Sequence[Record]) -> Decoded:
    """Decode all records; those that cannot be decoded, not even alone, are in `refused`."""
    tables: dict[str, list[pa.Table]] = {}
    refused: list[tuple[int, Record]] = []
    for call in _calls(records):
        signal = records[call[0]].signal
        found = _try(decode, signal, [records[i].body for i in call])
        parts = [found]
        if found is None:
            parts = []
            for i in call:
                alone = _try(decode, signal, [records[i].body])
                if alone is None:
                    refused.append((i, records[i]))
                parts.append(alone)
        for part in parts:
            for name, table in (part or {}).items():
                tables.setdefault(name, []).append(table)
    return Decoded(tables, refused)


def _calls(records: Sequence[Record]) -> Iterator[list[int]]:
    for signal in SIGNALS:
        call: list[int] = []
        size_bytes = 0
        for i, record in enumerate(records):
            if record.signal != signal:
                continue
            call.append(i)
            size_bytes += len(record.body)
            if size_bytes >= _CALL_BYTES:
                yield call
                call, size_bytes = [], 0
        if call:
            yield call


def _try(decode: Decoder, signal: Signal, bodies: list[bytes]) -> dict[str, pa.Table] | None:
    try:
        return {name: conform(name, table) for name, table in decode(signal, bodies).items()}
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as exc:  # noqa: BLE001 # a native decoder's panic is a BaseException; no request may end the flusher
        log.debug("a call of the decoder failed: %d %s requests, %s", len(bodies), signal, type(exc).__name__)
        return None
