"""The write-ahead log: raw requests, appended many at a time, acknowledged after one fdatasync.

A record is `length u32 | crc32 u32 | tag u8 | body`; the checksum covers tag and body. The tag is the signal, with
bit 7 set on requests that may be stored only once. File `wal/<k>.wal` becomes segment k: k is the exactly-once key.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from obsvty.model import Signal
from obsvty.store.files import sync_folder
from obsvty.store.schema import SIGNALS

_HEADER = struct.Struct("<IIB")
_ONCE = 0x80
# writev takes at most IOV_MAX (1024) pieces; two of them are one record
_PIECES = 1000
_TAG = re.compile(b"[\x00-\x02\x80-\x82]")
# Checksums that may be computed while looking for the record behind a damaged one: some seconds
_SEARCHED_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Record:
    """One request as it was received."""

    signal: Signal
    body: bytes
    once: bool = False
    request: bytes = b""  # its `request_hash`, where that was computed already


class WalFile:
    """One log file, open for appending."""

    def __init__(self, folder: Path, number: int) -> None:
        """Create the file and make its name durable. Raises `OSError`."""
        self.number = number
        self.path = wal_path(folder, number)
        self.size_bytes = 0
        self._fd = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            sync_folder(folder)
        except OSError:
            os.close(self._fd)
            raise

    def append(self, records: Sequence[Record]) -> None:
        """Write all records durably, or none of them.

        Raises:
            OSError: nothing of `records` is stored. Use another file from then on: what a disk did with bytes that it
                refused is not known.
        """
        pieces: list[bytes] = []
        for record in records:
            tag = SIGNALS.index(record.signal) | (_ONCE if record.once else 0)
            crc = zlib.crc32(record.body, zlib.crc32(bytes((tag,))))
            pieces += (_HEADER.pack(len(record.body), crc, tag), record.body)
        size_bytes = sum(map(len, pieces))
        try:
            for i in range(0, len(pieces), _PIECES):
                _write_all(self._fd, pieces[i : i + _PIECES])
            os.fdatasync(self._fd)
        except OSError:
            # a request that was refused must not come back at the next start: its sender sends it again
            os.ftruncate(self._fd, self.size_bytes)
            raise
        self.size_bytes += size_bytes

    def close(self) -> None:
        """Close the file; it stays until its segment is in the manifest."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write_all(fd: int, pieces: list[bytes]) -> None:
    written = os.writev(fd, pieces)
    for piece in pieces:
        if written >= len(piece):
            written -= len(piece)
            continue
        rest = memoryview(piece)[written:]
        written = 0
        while rest:
            rest = rest[os.write(fd, rest) :]


def wal_path(folder: Path, number: int) -> Path:
    """Where log file `number` is."""
    return folder / f"{number:012d}.wal"


def wal_numbers(folder: Path) -> list[int]:
    """Numbers of the log files that exist, oldest first."""
    return sorted(int(path.stem) for path in folder.glob("*.wal") if path.stem.isdigit())


@dataclass(frozen=True, slots=True)
class WalContent:
    """What a log file holds: its records, and byte ranges that are none."""

    records: list[Record]
    damaged: list[tuple[int, bytes]]  # offset and bytes; a tail that a crash tore, or what a disk changed


def read_wal(path: Path) -> WalContent:
    """All whole records of a log file, also those behind a damaged one."""
    data = path.read_bytes()
    records: list[Record] = []
    damaged: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        found = _record_at(data, at)
        if found is None:
            following = _next_record(data, at + 1)
            damaged.append((at, data[at:following]))
            at = following
            continue
        records.append(found)
        at += _HEADER.size + len(found.body)
    return WalContent(records, damaged)


def _record_at(data: bytes, at: int) -> Record | None:
    start = at + _HEADER.size
    if start > len(data):
        return None
    length, crc, tag = _HEADER.unpack_from(data, at)
    signal = tag & ~_ONCE
    if start + length > len(data) or signal >= len(SIGNALS):
        return None
    if zlib.crc32(memoryview(data)[start - 1 : start + length]) != crc:
        return None
    return Record(SIGNALS[signal], data[start : start + length], once=bool(tag & _ONCE))


def _next_record(data: bytes, at: int) -> int:
    """Where the next whole record begins; the end when there is none, or when looking for it takes too long."""
    budget_bytes = _SEARCHED_BYTES
    for match in _TAG.finditer(data, at + _HEADER.size - 1):
        start = match.start() - _HEADER.size + 1
        length = int.from_bytes(data[start : start + 4], "little")
        if match.start() + 1 + length <= len(data):
            budget_bytes -= length + 100
            if budget_bytes < 0:
                break
            if _record_at(data, start) is not None:
                return start
    return len(data)
