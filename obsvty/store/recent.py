"""Requests of the last minutes, so that one that is sent again is acknowledged and not stored again.

An exporter that loses an acknowledgement (a dropped connection, a restart) sends the same bytes again; a hash of them
is remembered. `recent.bin` holds batches of `crc32 u32 | count u32 | time u64 (Unix ns) | count hashes of 16 bytes`;
the checksum covers what follows it. A batch goes in after its requests are durable in the log and before that log is
removed, so that a crash leaves either both or a log whose replay adds the hashes.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from obsvty.store.files import write_in_place

RECENT_NAME = "recent.bin"
_HEADER = struct.Struct("<IIQ")
_HASH_BYTES = 16
# About 130 bytes of memory each; OTLP exporters give up after at most five minutes
_MAX_REQUESTS = 200_000
_SPARE_BYTES = 1 << 20


class RecentRequests:
    """The hashes, in memory and in a file.

    `holds` and `add` are called under the writer's lock, `keep` by the thread that writes segments.

    Args:
        root: the data folder.
        window_s: how long a request is remembered; at most 200,000 are.

    Raises:
        OSError: the file cannot be read or written. One that is torn or damaged is read as far as it goes.
    """

    def __init__(self, root: Path, *, window_s: float) -> None:
        self._path = root / RECENT_NAME
        self._window_ns = int(window_s * 1e9)
        self._hashes: set[bytes] = set()
        self._order: deque[tuple[int, bytes]] = deque()
        self._fd = -1
        if self._path.exists():
            for at_ns, hashes in _batches(self._path.read_bytes()):
                self.add(hashes, at_ns)
        self._batches: deque[tuple[int, bytes]] = deque()  # what the file must hold
        for at_ns, request in self._order:
            self._batches.append((at_ns, request))
        self._rewrite()

    def holds(self, request: bytes) -> bool:
        """Whether a request of this hash was stored within the window."""
        return request in self._hashes

    def add(self, requests: Iterable[bytes], at_ns: int) -> None:
        """Remember hashes in memory, and forget old ones."""
        for request in requests:
            if request not in self._hashes:
                self._hashes.add(request)
                self._order.append((at_ns, request))
        limit_ns = time.time_ns() - self._window_ns
        while self._order and (self._order[0][0] < limit_ns or len(self._order) > _MAX_REQUESTS):
            self._hashes.discard(self._order.popleft()[1])

    def keep(self, requests: Sequence[bytes], at_ns: int) -> None:
        """Remember hashes durably. Raises `OSError`; then it must be called again."""
        if not requests:
            return
        joined = b"".join(requests)
        batch = _batch(at_ns, joined)
        if self._size_bytes + len(batch) > 2 * self._live_bytes() + _SPARE_BYTES:
            self._rewrite()
        try:
            os.pwrite(self._fd, batch, self._size_bytes)
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._size_bytes)
            raise
        self._size_bytes += len(batch)
        self._batches.append((at_ns, joined))

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _live_bytes(self) -> int:
        limit_ns = time.time_ns() - self._window_ns
        count = sum(len(joined) for _, joined in self._batches) // _HASH_BYTES
        while self._batches and (self._batches[0][0] < limit_ns or count > _MAX_REQUESTS):
            count -= len(self._batches.popleft()[1]) // _HASH_BYTES
        return sum(_HEADER.size + len(joined) for _, joined in self._batches)

    def _rewrite(self) -> None:
        self._live_bytes()
        data = b"".join(_batch(at_ns, joined) for at_ns, joined in self._batches)
        write_in_place(self._path, data)
        self.close()
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        self._size_bytes = len(data)


def _batch(at_ns: int, joined: bytes) -> bytes:
    header = _HEADER.pack(0, len(joined) // _HASH_BYTES, at_ns)[4:]
    return struct.pack("<I", zlib.crc32(joined, zlib.crc32(header))) + header + joined


def _batches(data: bytes) -> Iterable[tuple[int, list[bytes]]]:
    at = 0
    while at + _HEADER.size <= len(data):
        crc, count, at_ns = _HEADER.unpack_from(data, at)
        end = at + _HEADER.size + count * _HASH_BYTES
        if end > len(data) or zlib.crc32(data[at + 4 : end]) != crc:
            return
        yield at_ns, [data[i : i + _HASH_BYTES] for i in range(at + _HEADER.size, end, _HASH_BYTES)]
        at = end
