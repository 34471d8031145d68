"""The egress ledger: append-only, hash-chained, written before the send. SQLite file `state.db` in the data folder."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias, cast

from obsvty.errors import EgressBlocked, StoreError, UsageError
from obsvty.model import EgressSummary, from_ns, rfc3339
from obsvty.privacy import destinations, views

_GENESIS: Final = "0" * 64
_BUSY_S: Final = 30.0
_SCHEMA: Final = """
create table if not exists egress (
  sequence integer primary key, time_ns integer not null, sink text not null, destination text not null,
  model text not null, incident_id text not null, decision text not null, reason text not null, sha256 text not null,
  size_bytes integer not null, rules_digest text not null, redactions text not null, body blob not null,
  previous_hash text not null, hash text not null
) strict;
create table if not exists egress_head (
  one integer primary key check (one = 1), count integer not null, hash text not null
) strict;
create trigger if not exists egress_no_update before update on egress
  begin select raise(abort, 'the egress ledger is append-only'); end;
create trigger if not exists egress_no_delete before delete on egress
  begin select raise(abort, 'the egress ledger is append-only'); end;
"""
_COLUMNS: Final = (
    "sequence, time_ns, sink, destination, model, incident_id, decision, reason, sha256, size_bytes, rules_digest,"
    " redactions, body, previous_hash, hash"
)
_Row: TypeAlias = tuple[int, int, str, str, str, str, str, str, str, int, str, str, bytes, str, str]


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
    """The egress table of one data folder. Any number of processes may append.

    The file is created with the first row (mode 0600); reading where there is none finds nothing. Each call opens its
    own connection (measured: under a millisecond), so a ledger may be used from any thread and across forks.
    """

    def __init__(self, path: Path) -> None:
        """Open or create; `path` is the SQLite file."""
        self.path = path

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
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                self.path.touch(mode=0o600)
            with closing(self._connect()) as connection:
                connection.execute("pragma journal_mode = wal")
                connection.execute("pragma synchronous = full")
                if not _has_table(connection):
                    connection.executescript(_SCHEMA)
                connection.execute("begin immediate")
                head = connection.execute("select count, hash from egress_head").fetchone()
                count, previous = cast("tuple[int, str]", head or (0, _GENESIS))
                row: _Row = (
                    count + 1, time.time_ns(), sink, destination, model, incident_id, decision, reason,
                    hashlib.sha256(body).hexdigest(), len(body), rules_digest,
                    json.dumps(dict(redactions), sort_keys=True), body, previous, "",
                )  # fmt: skip
                row = (*row[:-1], _hash(row))
                connection.execute(f"insert into egress ({_COLUMNS}) values ({'?,' * 14}?)", row)  # noqa: S608 - constants
                connection.execute("insert or replace into egress_head values (1, ?, ?)", (row[0], row[-1]))
                connection.execute("commit")
        except (sqlite3.Error, OSError) as exc:
            raise EgressBlocked(
                "The egress ledger cannot be written, so nothing was sent.",
                hint="Check that the data folder is writable and not full; `obsvty doctor` names it.",
            ) from exc
        return _entry(row)

    def entries(self, *, incident_id: str | None = None) -> Sequence[LedgerEntry]:
        """All rows, oldest first."""
        return [_entry(row) for row in self._rows() if incident_id is None or row[5] == incident_id]

    def entry(self, sequence: int) -> LedgerEntry:
        """One row. Raises `UsageError` when there is none."""
        for row in self._rows("where sequence = ?", (sequence,)):
            return _entry(row)
        raise UsageError(f"The ledger has no row {sequence}.", hint="`obsvty egress list` shows them.")

    def verify(self) -> Sequence[str]:
        """What is wrong with the chain, one sentence each; empty when every row is as it was written."""
        problems: list[str] = []
        previous, expected = _GENESIS, 1
        for row in self._rows():
            sequence = row[0]
            if sequence != expected:
                problems.append(f"Row {sequence}: rows {expected} to {sequence - 1} are missing.")
            if row[13] != previous:
                problems.append(f"Row {sequence}: it does not follow the row before it.")
            if row[14] != _hash(row):
                problems.append(f"Row {sequence}: a field was changed.")
            if row[8] != hashlib.sha256(row[12]).hexdigest() or row[9] != len(row[12]):
                problems.append(f"Row {sequence}: the bytes are not those that were recorded.")
            previous, expected = row[14], sequence + 1
        count, last = self._head()
        if count != expected - 1:
            problems.append(f"The ledger recorded {count} rows, and {expected - 1} is the last one there.")
        elif last != previous:
            problems.append("The last row is not the one that was recorded last.")
        return problems

    def grep(self, needle: str) -> Sequence[int]:
        """Sequence numbers of the rows whose bytes hold `needle`, as is or in any decoded form."""
        if not needle:
            return []
        raw = needle.encode()
        return [
            row[0]
            for row in self._rows()
            if raw in row[12]
            or any(
                needle in text for text in views.decoded_texts(row[12].decode("utf-8", "replace"), depth=3)
            )
        ]

    def export(self) -> Iterator[str]:
        """Each row as one line of JSON (body as base64)."""
        for entry in map(_entry, self._rows()):
            fields = {**entry.__dict__, "time": rfc3339(entry.time), "redactions": dict(entry.redactions)}
            fields["body"] = base64.b64encode(entry.body).decode()
            yield json.dumps(fields, ensure_ascii=False)

    def summary(self, incident_id: str) -> EgressSummary:
        """Entries and bytes that left for one incident. Files of this machine are rows too, but left nothing.

        A reply to an MCP client counts: what the client does with it is beyond our sight.
        """
        redactions: Counter[str] = Counter()
        entries = size = 0
        for entry in self.entries(incident_id=incident_id):
            kept = entry.sink != "mcp" and destinations.is_file(entry.sink, entry.destination)
            if entry.decision == "sent" and not kept:
                entries, size = entries + 1, size + entry.size_bytes
                redactions.update(entry.redactions)
        return EgressSummary(entries=entries, bytes=size, redactions=dict(sorted(redactions.items())))

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)

    def _rows(self, where: str = "", values: tuple[int, ...] = ()) -> Iterator[_Row]:
        if not self.path.exists():
            return
        try:
            with closing(self._connect()) as connection:
                if _has_table(connection):
                    query = f"select {_COLUMNS} from egress {where} order by sequence"  # noqa: S608 - constants
                    yield from cast("Iterator[_Row]", connection.execute(query, values))
        except sqlite3.Error as exc:
            raise StoreError(
                "The egress ledger cannot be read.", hint="`obsvty doctor` checks the data folder."
            ) from exc

    def _head(self) -> tuple[int, str]:
        if not self.path.exists():
            return 0, _GENESIS
        with closing(self._connect()) as connection:
            if not _has_table(connection):
                return 0, _GENESIS
            head = connection.execute("select count, hash from egress_head").fetchone()
            return cast("tuple[int, str]", head or (0, _GENESIS))


def _has_table(connection: sqlite3.Connection) -> bool:
    found = connection.execute(
        "select count(*) from sqlite_master where name in ('egress', 'egress_head')"
    ).fetchone()
    return cast("tuple[int]", found)[0] == 2


def _hash(row: _Row) -> str:
    """SHA-256 over every field but the hash itself; the body through its own SHA-256."""
    fields = [*row[:12], hashlib.sha256(row[12]).hexdigest(), row[13]]
    return hashlib.sha256(json.dumps(fields, ensure_ascii=False).encode()).hexdigest()


def _entry(row: _Row) -> LedgerEntry:
    return LedgerEntry(
        sequence=row[0],
        time=from_ns(row[1]),
        sink=row[2],
        destination=row[3],
        model=row[4],
        incident_id=row[5],
        decision=row[6],
        reason=row[7],
        sha256=row[8],
        size_bytes=row[9],
        rules_digest=row[10],
        redactions=cast("dict[str, int]", json.loads(row[11])),
        body=row[12],
        previous_hash=row[13],
        hash=row[14],
    )
