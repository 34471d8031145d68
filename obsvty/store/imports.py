"""The set of requests that were imported: a hash each, in a small SQLite file.

A hash goes in after its request is durable in the log and before that log is removed, so that a crash at any moment
leaves either both or a log whose replay adds the hash: a hash here never stands for a request that was lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from obsvty.errors import StoreError
from obsvty.model import Signal

IMPORTS_NAME = "imports.db"


def request_hash(signal: Signal, body: bytes) -> bytes:
    """16 bytes that stand for a request."""
    return blake2b(body, digest_size=16, person=signal.encode()).digest()


class ImportedRequests:
    """Used by one writer; its methods may be called from any thread under the writer's import lock."""

    def __init__(self, root: Path) -> None:
        self._path = root / IMPORTS_NAME
        self._connection: sqlite3.Connection | None = None

    def holds(self, request: bytes) -> bool:
        """Whether a request of this hash is stored."""
        if self._connection is None and not self._path.exists():
            return False
        try:
            found = self._open().execute("select 1 from imports where hash = ?", (request,)).fetchone()
        except sqlite3.Error as exc:
            raise self._error() from exc
        return found is not None

    def add(self, requests: Iterable[bytes]) -> None:
        """Remember hashes, durably."""
        try:
            with self._open() as connection:
                connection.executemany("insert or ignore into imports values (?)", ((r,) for r in requests))
        except sqlite3.Error as exc:
            raise self._error() from exc

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=10, check_same_thread=False)
            connection.execute("pragma synchronous = full")
            connection.execute("create table if not exists imports (hash blob primary key) without rowid")
            self._connection = connection
        return self._connection

    def _error(self) -> StoreError:
        return StoreError(
            f"{self._path} cannot be used.",
            hint="Free space and check its permissions; without the file, importing the same data doubles it.",
        )
