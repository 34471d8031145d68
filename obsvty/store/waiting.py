"""What passes between senders and the writer's threads, and what the writer counts."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from obsvty.errors import StoreError
from obsvty.store.wal import Record


@dataclass(frozen=True, kw_only=True)
class WriterStats:
    """Counts since the writer was opened."""

    requests: int  # stored; those that were sent again are not counted
    resent: int  # acknowledged and not stored, because they were stored before
    size_bytes: int
    commits: int  # fdatasync calls; fewer than requests when many were waiting
    segments: int
    rows: int
    recovered: int  # requests replayed at start
    quarantined: int  # requests that could not be decoded, over the folder's life
    damaged: int  # segments that were set aside, over the folder's life
    pending_bytes: int


class Barrier:
    """A `flush` on its way through the log thread, which says what number must be sealed."""

    __slots__ = ("log_number",)

    def __init__(self) -> None:
        self.log_number: int | None = None


class Waiting:
    """A request on its way into the log."""

    __slots__ = ("awaited", "done", "error", "record")

    def __init__(self, record: Record, *, awaited: bool) -> None:
        self.record = record
        self.awaited = awaited  # somebody waits for `done` and is told `error`
        self.done = threading.Event()
        self.error: StoreError | None = None
