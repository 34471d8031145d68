"""The only writer of a data folder: requests in, durable, then visible.

    put() -> queue -> [log thread] append + one fdatasync for all that wait -> acknowledged
                        about once a second -> [segment thread] decode -> Parquet -> manifest -> log removed
                        every second -> [tidy thread] retention, merges, checks, unlinking

Acknowledged means durable: after a crash the logs that have no segment yet are replayed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from obsvty.errors import StoreError, StoreOverloaded
from obsvty.model import Signal
from obsvty.store.catalog import Catalog
from obsvty.store.compaction import Compactor
from obsvty.store.decoding import Decoder
from obsvty.store.files import any_store_error, storing_in, sync_folder
from obsvty.store.imports import ImportedRequests, request_hash
from obsvty.store.lock import FolderLock
from obsvty.store.recent import RecentRequests
from obsvty.store.sealing import Sealer
from obsvty.store.tidying import TidyThread
from obsvty.store.waiting import Barrier, Waiting, WriterStats
from obsvty.store.wal import Record, WalFile

log = logging.getLogger(__name__)

_RETRY_S = 1.0
# With this many logs waiting for the segment thread, logs grow instead of becoming more, smaller segments
_WAITING_LOGS = 2


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
        grace_s: how long a file that was merged or dropped is kept for readers that began before.
        retention_days: what came in longer ago goes, whole segments at a time; None keeps it.
        max_gb: the oldest segments go when the live ones are larger than this (10^9 bytes); None keeps them.
        resend_s: how long a request is remembered, so that it is stored once when it is sent again.
        tidy_s: time between two rounds of merging and retention, also when nothing comes in.

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
        retention_days: float | None = None,
        max_gb: float | None = None,
        resend_s: float = 600,
        tidy_s: float = 1,
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
        with ExitStack() as opened:
            opened.callback(FolderLock(self._root).release)
            self._imports = opened.enter_context(closing(ImportedRequests(self._root)))
            self._catalog = Catalog(self._root)
            compactor = Compactor(
                self._root,
                self._catalog,
                merge_files=merge_files,
                grace_ns=int(grace_s * 1e9),
                retention_ns=None if retention_days is None else int(retention_days * 86_400e9),
                max_bytes=None if max_gb is None else int(max_gb * 1e9),
            )
            with storing_in(self._root):
                self._recent = opened.enter_context(closing(RecentRequests(self._root, window_s=resend_s)))
                self._sealer = Sealer(self._root, decode, self._catalog, self._imports, self._recent)
                self._sealer.remove_strays()
                compactor.start()
                self._recovered = self._sealer.recover()
            self._opened = opened.pop_all()

        self._changed = threading.Condition()  # guards everything below
        self._queue: list[Waiting] = []
        self._under_way: dict[bytes, Waiting] = {}  # by request; not those of `put_once`
        self._logs: deque[tuple[WalFile, list[Record]]] = deque()
        self._next = self._sealer.next_number
        self._barriers: list[Barrier] = []
        self._handed_over = self._sealed = self._next - 1  # log numbers; sealed ones are visible
        self._pending_bytes = 0
        self._closing = False
        self._log_thread_done = False
        self._unwaited_error: StoreError | None = None
        self._seal_error: StoreError | None = None
        self._seal_failures = 0
        self._requests = self._resent = self._size_bytes = self._commits = 0
        self._import_lock = threading.Lock()
        self._importing: set[bytes] = set()

        self._threads = [
            threading.Thread(target=self._write_logs, name="obsvty-log", daemon=True),
            threading.Thread(target=self._write_segments, name="obsvty-segments", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._tidying = TidyThread(self._root, compactor, every_s=tidy_s)

    def put(self, signal: Signal, body: bytes) -> None:
        """Store one export request (serialized protobuf); returns when it is durable.

        The same bytes again, within `resend_s` and also after a restart, are acknowledged and not stored again.

        Raises:
            StoreOverloaded: too many bytes wait; send it again later.
            StoreError: it is not stored (the disk is full or gone, or the writer is closed); send it again later.
        """
        waiting = self._enqueue(Record(signal, body, request=request_hash(signal, body)))
        if waiting is None:
            return
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
            waiting = self._enqueue(Record(signal, body, once=True, request=request), awaited=wait)
            if wait and waiting is not None:
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
        barrier = Barrier()
        with self._changed:
            self._barriers.append(barrier)
            self._changed.notify_all()
            failures = self._seal_failures  # those before this call say nothing about now
            self._changed.wait_for(
                lambda: (
                    self._passed(barrier)
                    or self._seal_failures != failures
                    or not self._threads[1].is_alive()
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
        self._tidying.stop()
        for wal, _ in self._logs:
            wal.close()
        self._opened.close()
        if error := self._seal_error or self._unwaited_error:
            raise error

    def stats(self) -> WriterStats:
        """Counts of this moment."""
        with self._changed:
            return WriterStats(
                requests=self._requests,
                resent=self._resent,
                size_bytes=self._size_bytes,
                commits=self._commits,
                segments=self._sealer.segments,
                rows=self._sealer.rows,
                recovered=self._recovered,
                quarantined=self._catalog.manifest.quarantined,
                damaged=self._catalog.manifest.damaged,
                pending_bytes=self._pending_bytes,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _enqueue(self, record: Record, *, awaited: bool = True) -> Waiting | None:
        """Hand a request to the log thread; None when it is stored already."""
        size_bytes = len(record.body)
        waiting = Waiting(record, awaited=awaited)
        with self._changed:
            if self._closing:
                raise _closed(self._root)
            if not record.once:
                if self._recent.holds(record.request):
                    self._resent += 1
                    return None
                if (same := self._under_way.get(record.request)) is not None:
                    self._resent += 1
                    return same
            if self._pending_bytes and self._pending_bytes + size_bytes > self._max_pending_bytes:
                raise self._seal_error or StoreOverloaded(
                    f"{self._pending_bytes >> 20} MB wait to be written to {self._root}.",
                    hint="Send the request again in a moment.",
                )
            self._pending_bytes += size_bytes
            if not record.once:
                self._under_way[record.request] = waiting
            self._queue.append(waiting)
            self._changed.notify_all()
        return waiting

    def _passed(self, barrier: Barrier) -> bool:
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

    def _acknowledge(self, batch: list[Waiting]) -> None:
        with self._changed:
            self._requests += len(batch)
            self._size_bytes += sum(len(waiting.record.body) for waiting in batch)
            self._commits += 1
            stored = [waiting.record.request for waiting in batch if not waiting.record.once]
            self._recent.add(stored, time.time_ns())
            for request in stored:
                del self._under_way[request]
        for waiting in batch:
            waiting.done.set()

    def _refuse(self, batch: list[Waiting], error: StoreError) -> None:
        log.error("%d requests were not stored: %s", len(batch), error.message)
        with self._changed:
            self._pending_bytes -= sum(len(waiting.record.body) for waiting in batch)
            if not all(waiting.awaited for waiting in batch):
                self._unwaited_error = error
            for waiting in batch:
                self._under_way.pop(waiting.record.request, None)
            self._changed.notify_all()
        with self._import_lock:
            for waiting in batch:
                self._importing.discard(waiting.record.request)
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
                self._seal_failures += error is not None
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
                    self._importing -= {record.request for record in records if record.once}

    def _seal(self, number: int, records: list[Record]) -> StoreError | None:
        try:
            self._sealer.seal(number, records)
        except Exception as exc:  # noqa: BLE001 # outermost loop: the log keeps the data
            error = any_store_error(exc, self._root)
            log.warning("segment %d is not written yet: %s", number, error.message)
            return error
        return None


def _closed(root: Path) -> StoreError:
    return StoreError(f"The writer of {root} is closed.", hint="Open a new one.")
