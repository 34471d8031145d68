"""One writer a data folder: `flock` on a file that holds the writer's pid."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from obsvty.errors import StoreLocked
from obsvty.store.files import storing_in

LOCK_NAME = "writer.lock"


class FolderLock:
    """Held from construction to `release`; the kernel releases it when the process dies.

    `flock` belongs to the open file, not to the process, so that two writers in one process exclude each other too.
    """

    def __init__(self, root: Path) -> None:
        """Take the lock. Raises `StoreLocked` when another writer has it, `StoreError` on a read-only folder."""
        with storing_in(root):
            self._fd = os.open(root / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreLocked(
                f"Another process (pid {holder}) is writing to the data folder {root}.",
                hint="Send to it, stop it, or choose another folder with --data. Reading needs no lock.",
            ) from exc
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two writers lock two files of one name."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1
