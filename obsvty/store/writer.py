"""The only writer of a data folder: requests in, durable, then visible.

    put() -> queue -> [log thread] append + one fdatasync for all that wait -> acknowledged
                        about once a second -> [segment thread] decode -> Parquet -> manifest -> log removed

Acknowledged means durable: after a crash the logs that have no segment yet are replayed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from obsvty.errors import StoreError, StoreOverloaded
from obsvty.model import Signal
from obsvty.store.decoding import Decoder
from obsvty.store.files import any_store_error, storing_in, sync_folder
from obsvty.store.imports import ImportedRequests, request_hash
from obsvty.store.lock import FolderLock
from obsvty.store.sealing import Sealer
from obsvty.store.wal import Record, WalFile

log = logging.getLogger(__name__)

_RETRY_S = 1.0
# With this many logs waiting for the segment thread, logs grow instead of becoming more, smaller segments
_WAITING_LOGS = 2


@dataclass(frozen=True, kw_only=True)
class WriterStats:
    """Counts since the writer was opened."""

    requests: int
    size_bytes: int
    commits: int  # fdatasync calls; fewer than requests when many were waiting
    segments: int
    rows: int
    recovered: int  # requests replayed at start
    quarantined: int  # requests that could not be decoded, over the folder's life
    pending_bytes: int


class _Barrier:
    """A `flush` on its way through the log thread, which says what number must be sealed."""

    __slots__ = ("log_number",)

    def __init__(self) -> None:
        self.log_number: int | None = None


class _Waiting:
    """A request on its way into the log."""

    __slots__ = ("awaited", "done", "error", "record")

    def __init__(self, record: Record, *, awaited: bool) -> None:
        self.record = record
        self.awaited = awaited  # somebody waits for `done` and is told `error`
        self.done = threading.Event()
        self.error: StoreError | None = None


class Writer:
    """Stores requests durably and makes them visible to readers about `rotate_s` seconds later.

    Methods may be called from any number of threads.

    Args:
        root: the data folder; made when it does not exist.
        decode: requests to tables. A request that it refuses is kept in `quarantine/`.
        rotate_s: how long requests collect before they become a segment.
        rotate_mb: a log larger than this becomes a segment at once.
        max_pending_mb: acknowledged bytes that may wait for the segment thread (they are in memory too).
        merge_files: small segment files of a table that are merged into one.
        grace_s: how long a merged file is kept for readers that began before the merge.

    Raises:
        StoreLocked: another writer has the folder.
        StoreError: the folder cannot be written, or its manifest is damaged.
    """

    def __init__(
        self,
        root: Path,
        decode: Decoder,
        *,
        rotate_s: float = 1.0,
        rotate_mb: float = 48,
        max_pending_mb: float = 256,
        merge_files: int = 64,
        grace_s: float = 600,
    ) -> None:
        self._root = Path(root)
        self._rotate_s = rotate_s
        self._rotate_bytes = int(rotate_mb * (1 << 20))
        self._max_pending_bytes = int(max_pending_mb * (1 << 20))
        with storing_in(self._root):
            for folder in ("wal", "seg", "quarantine"):
                (self._root / folder).mkdir(parents=True, exist_ok=True)
            sync_folder(self._root)
            sync_folder(self._root.absolute().parent)
        self._lock = FolderLock(self._root)
        self._imports = ImportedRequests(self._root)
        try:
            self._sealer = Sealer(
                self._root, decode, self._imports, merge_files=merge_files, grace_ns=int(grace_s * 1e9)
            )
            with storing_in(self._root):
                self._recovered = self._sealer.recover()
        except BaseException:
            self._imports.close()
            self._lock.release()
            raise

        self._changed = threading.Condition()  # guards everything below
        self._queue: list[_Waiting] = []
        self._logs: deque[tuple[WalFile, list[Record]]] = deque()
        self._next = self._sealer.next_number
        self._barriers: list[_Barrier] = []
        self._handed_over = self._sealed = self._next - 1  # log numbers; sealed ones are visible
        self._pending_bytes = 0
        self._closing = False
        self._log_thread_done = False
        self._unwaited_error: StoreError | None = None
        self._seal_error: StoreError | None = None
        self._requests = self._size_bytes = self._commits = 0

        self._import_lock = threading.Lock()
        self._importing: set[bytes] = set()

        self._threads = [
            threading.Thread(target=self._write_logs, name="obsvty-log", daemon=True),
            threading.Thread(target=self._write_segments, name="obsvty-segments", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def put(self, signal: Signal, body: bytes) -> None:
        """Store one export request (serialized protobuf); returns when it is durable.

        Raises:
            StoreOverloaded: too many bytes wait; send it again later.
            StoreError: it is not stored (the disk is full or gone, or the writer is closed); send it again later.
        """
        waiting = self._enqueue(Record(signal, body))
        waiting.done.wait()
        if waiting.error is not None:
            raise waiting.error

    def put_once(self, signal: Signal, body: bytes, *, wait: bool = True) -> bool:
        """As `put`, but a request that came through here before, in this or an earlier process, is left out.

        Args:
            signal: what kind of request it is.
            body: the request.
            wait: False returns before the request is durable, which is many times faster one by one; `flush` then
                says whether all of them are.

        Returns:
            Whether the request is new.
        """
        request = request_hash(signal, body)
        with self._import_lock:
            if request in self._importing or self._imports.holds(request):
                return False
            self._importing.add(request)
        try:
            waiting = self._enqueue(Record(signal, body, once=True), awaited=wait)
            if wait:
                waiting.done.wait()
                if waiting.error is not None:
                    raise waiting.error
        except StoreError:
            with self._import_lock:
                self._importing.discard(request)
            raise
        return True

    def flush(self) -> None:
        """Return when everything acknowledged before this call is visible to readers.

        Raises:
            StoreError: it is durable but cannot be made visible now (a full disk, say); this is tried again, at
                the next start if need be. Or a request of `put_once(wait=False)` was not stored: import it again.
        """
        barrier = _Barrier()
        with self._changed:
            self._barriers.append(barrier)
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: (
                    self._passed(barrier) or self._seal_error is not None or not self._threads[1].is_alive()
                )
            )
            error = self._unwaited_error
            self._unwaited_error = None
            if not self._passed(barrier):
                error = self._seal_error or _closed(self._root)
        if error is not None:
            raise error

    def close(self) -> None:
        """Make everything visible, stop, and give the folder free. A second call does nothing.

        Raises:
            StoreError: something acknowledged is not visible yet; it is in the log and appears at the next start.
        """
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for wal, _ in self._logs:
            wal.close()
        self._imports.close()
        self._lock.release()
        if error := self._seal_error or self._unwaited_error:
            raise error

    def stats(self) -> WriterStats:
        """Counts of this moment."""
        with self._changed:
            return WriterStats(
                requests=self._requests,
                size_bytes=self._size_bytes,
                commits=self._commits,
                segments=self._sealer.segments,
                rows=self._sealer.rows,
                recovered=self._recovered,
                quarantined=self._sealer.quarantined,
                pending_bytes=self._pending_bytes,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _enqueue(self, record: Record, *, awaited: bool = True) -> _Waiting:
        size_bytes = len(record.body)
        waiting = _Waiting(record, awaited=awaited)
        with self._changed:
            if self._closing:
                raise _closed(self._root)
            if self._pending_bytes and self._pending_bytes + size_bytes > self._max_pending_bytes:
                raise self._seal_error or StoreOverloaded(
                    f"{self._pending_bytes >> 20} MB wait to be written to {self._root}.",
                    hint="Send the request again in a moment.",
                )
            self._pending_bytes += size_bytes
            self._queue.append(waiting)
            self._changed.notify_all()
        return waiting

    def _passed(self, barrier: _Barrier) -> bool:
        return barrier.log_number is not None and self._sealed >= barrier.log_number

    def _write_logs(self) -> None:
        """The log thread."""
        wal: WalFile | None = None
        records: list[Record] = []
        rotate_at = 0.0
        while True:
            with self._changed:
                while not (self._queue or self._closing or self._barriers):
                    left_s = max(0.0, rotate_at - time.monotonic()) if records else None
                    if left_s == 0.0:
                        if len(self._logs) < _WAITING_LOGS:
                            break
                        left_s = None  # the segment thread notifies when it has taken one
                    self._changed.wait(left_s)
                batch, self._queue = self._queue, []
                barriers, self._barriers = self._barriers, []
                closing = self._closing
                crowded = len(self._logs) >= _WAITING_LOGS
            refused = False
            if batch:
                try:
                    if wal is None:
                        wal = WalFile(self._root / "wal", self._next)
                        self._next += 1
                        rotate_at = time.monotonic() + self._rotate_s
                    wal.append([waiting.record for waiting in batch])
                except Exception as exc:  # noqa: BLE001 # outermost loop: senders wait for an answer
                    self._refuse(batch, any_store_error(exc, self._root))
                    refused = True
                else:
                    records += [waiting.record for waiting in batch]
                    self._acknowledge(batch)
            if wal is not None:
                due = wal.size_bytes >= self._rotate_bytes or (time.monotonic() >= rotate_at and not crowded)
                if refused or closing or barriers or due:
                    self._hand_over(wal, records)
                    wal, records = None, []
            with self._changed:
                for barrier in barriers:
                    barrier.log_number = self._handed_over
                self._log_thread_done = closing and not self._queue and not self._barriers
                self._changed.notify_all()
                if self._log_thread_done:
                    return

    def _acknowledge(self, batch: list[_Waiting]) -> None:
        with self._changed:
            self._requests += len(batch)
            self._size_bytes += sum(len(waiting.record.body) for waiting in batch)
            self._commits += 1
        for waiting in batch:
            waiting.done.set()

    def _refuse(self, batch: list[_Waiting], error: StoreError) -> None:
        log.error("%d requests were not stored: %s", len(batch), error.message)
        with self._changed:
            self._pending_bytes -= sum(len(waiting.record.body) for waiting in batch)
            if not all(waiting.awaited for waiting in batch):
                self._unwaited_error = error
            self._changed.notify_all()
        with self._import_lock:
            for waiting in batch:
                self._importing.discard(request_hash(waiting.record.signal, waiting.record.body))
        for waiting in batch:
            waiting.error = error
            waiting.done.set()

    def _hand_over(self, wal: WalFile, records: list[Record]) -> None:
        wal.close()
        if not records:
            with suppress(OSError):  # an empty log does no harm
                wal.path.unlink(missing_ok=True)
            return
        with self._changed:
            self._logs.append((wal, records))
            self._handed_over = wal.number
            self._changed.notify_all()

    def _write_segments(self) -> None:
        """The segment thread."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._logs or self._log_thread_done)
                if not self._logs:
                    return
                wal, records = self._logs[0]
            error = self._seal(wal.number, records)
            with self._changed:
                self._seal_error = error
                if error is None:
                    self._logs.popleft()
                    self._sealed = wal.number
                    self._pending_bytes -= sum(len(record.body) for record in records)
                self._changed.notify_all()
                if error is not None:
                    if self._closing:
                        return
                    self._changed.wait_for(lambda: self._closing, _RETRY_S)
                    continue
            if any(record.once for record in records):
                with self._import_lock:
                    self._importing -= {request_hash(r.signal, r.body) for r in records if r.once}
            if not self._logs or self._sealer.crowded:
                self._tidy()

    def _seal(self, number: int, records: list[Record]) -> StoreError | None:
        try:
            self._sealer.seal(number, records)
        except Exception as exc:  # noqa: BLE001 # outermost loop: the log keeps the data
            error = any_store_error(exc, self._root)
            log.warning("segment %d is not written yet: %s", number, error.message)
            return error
        return None

    def _tidy(self) -> None:
        try:
            self._sealer.merge()
        except Exception as exc:  # noqa: BLE001 # outermost loop: merging is an economy and may wait
            log.warning("segments were not merged: %s", type(exc).__name__)


def _closed(root: Path) -> StoreError:
    return StoreError(f"The writer of {root} is closed.", hint="Open a new one.")
