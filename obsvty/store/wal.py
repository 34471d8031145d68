"""The write-ahead log: raw requests, appended many at a time, acknowledged after one fdatasync.

A record is `length u32 | crc32 u32 | tag u8 | body`; the checksum covers tag and body. The tag is the signal, with
bit 7 set on requests that may be stored only once. File `wal/<k>.wal` becomes segment k: k is the exactly-once key.
"""

from __future__ import annotations

import os
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


@dataclass(frozen=True, slots=True)
class Record:
    """One request as it was received."""

    signal: Signal
    body: bytes
    once: bool = False


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


def read_wal(path: Path) -> list[Record]:
    """All whole records of a log file; a tail that was torn by a crash is left out."""
    data = memoryview(path.read_bytes())
    records: list[Record] = []
    at = 0
    while at + _HEADER.size <= len(data):
        length, crc, tag = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        body = data[at : at + length]
        signal = tag & ~_ONCE
        if len(body) < length or signal >= len(SIGNALS):
            break
        if zlib.crc32(body, zlib.crc32(bytes((tag,)))) != crc:
            break
        records.append(Record(SIGNALS[signal], bytes(body), once=bool(tag & _ONCE)))
        at += length
    return records
