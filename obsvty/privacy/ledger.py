"""The egress ledger: append-only, hash-chained, written before the send. SQLite file `state.db` in the data folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from obsvty.model import EgressSummary


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One row. `body` is exactly what was sent (or would have been, when `decision` is blocked)."""

    sequence: int
    time: datetime
    sink: str
    destination: str
    model: str
    incident_id: str
    decision: str  # sent | blocked
    reason: str
    sha256: str
    size_bytes: int
    rules_digest: str
    redactions: Mapping[str, int]
    body: bytes
    previous_hash: str
    hash: str


class Ledger:
    """The egress table of one data folder. Any number of processes may append."""

    def __init__(self, path: Path) -> None:
        """Open or create; `path` is the SQLite file."""
        raise NotImplementedError

    def append(
        self,
        *,
        sink: str,
        destination: str,
        model: str,
        incident_id: str,
        decision: str,
        reason: str,
        rules_digest: str,
        redactions: Mapping[str, int],
        body: bytes,
    ) -> LedgerEntry:
        """Write a row durably and return it. Raises `EgressBlocked` when it cannot be written."""
        raise NotImplementedError

    def entries(self, *, incident_id: str | None = None) -> Sequence[LedgerEntry]:
        """All rows, oldest first."""
        raise NotImplementedError

    def entry(self, sequence: int) -> LedgerEntry:
        """One row. Raises `UsageError` when there is none."""
        raise NotImplementedError

    def verify(self) -> Sequence[str]:
        """What is wrong with the chain, one sentence each; empty when every row is as it was written."""
        raise NotImplementedError

    def grep(self, needle: str) -> Sequence[int]:
        """Sequence numbers of the rows whose bytes hold `needle`, as is or in any decoded form."""
        raise NotImplementedError

    def export(self) -> Iterator[str]:
        """Each row as one line of JSON (body as base64)."""
        raise NotImplementedError

    def summary(self, incident_id: str) -> EgressSummary:
        """Entries and bytes that left for one incident."""
        raise NotImplementedError
