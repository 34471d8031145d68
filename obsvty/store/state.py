"""What was found and what was sent: incidents, investigations, deliveries. SQLite file `state.db` in the data folder.

Any number of processes; the egress ledger is another table of the same file and belongs to `obsvty.privacy`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self, cast

from obsvty.errors import StoreError, UnknownIncident
from obsvty.model import Delivery, Incident, JsonValue, from_ns, to_ns

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_SCHEMA: Final = """
create table if not exists incidents (
    id text primary key, incident text not null, investigation text,
    start_ns integer not null, end_ns integer, first_seen_ns integer not null, updated_ns integer not null
) without rowid;
create table if not exists deliveries (
    key text primary key, incident_id text not null, destination text not null, reference text not null,
    status text not null check (status in ('pending', 'delivered', 'failed')), reason text not null,
    time_ns integer not null
) without rowid;
create index if not exists deliveries_incident on deliveries (incident_id);
create table if not exists repositories (service text primary key, path text not null) without rowid;
"""


@dataclass(frozen=True, kw_only=True)
class DeliveryRecord:
    """One alert on its way, delivered, or failed. `time` is of the last change."""

    key: str
    incident_id: str
    destination: str
    reference: str
    status: Literal["pending", "delivered", "failed"]
    reason: str
    time: datetime


class State:
    """Opened on first use: reading a folder without a state creates nothing, and shows nothing.

    Methods may be called from any thread. All raise `StoreError` when the file cannot be used. Times are aware; `now`
    is the current time unless given.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.RLock()

    # Incidents

    def save_incident(self, incident: Incident, *, now: datetime | None = None) -> None:
        """Insert or update; an investigation that was saved before stays."""
        self._save(incident, None, now)

    def save_investigation(
        self, incident: Incident, investigation: Mapping[str, JsonValue], *, now: datetime | None = None
    ) -> None:
        """Insert or update an incident together with its investigation (`Investigation.to_dict()`)."""
        self._save(incident, json.dumps(investigation), now)

    def incidents(self, since: datetime | None = None) -> list[Incident]:
        """Newest first; with `since`, those that began or were still going then or later."""
        since_ns = -1 if since is None else to_ns(since)
        rows = self._read(
            "select incident from incidents where start_ns >= ?1 or end_ns is null or end_ns >= ?1"
            " order by start_ns desc, id",
            since_ns,
        )
        return [_load(cast("str", row[0])) for row in rows]

    def incident(self, incident_id: str) -> Incident:
        """One incident, by its id or the beginning of it.

        Raises:
            UnknownIncident: no incident, or more than one, begins so.
        """
        return _load(self._one(incident_id)[0])

    def investigation(self, incident_id: str) -> dict[str, JsonValue] | None:
        """The investigation saved last for an incident; None when it was not investigated.

        Raises:
            UnknownIncident: no incident, or more than one, begins so.
        """
        text = self._one(incident_id)[1]
        return None if text is None else cast("dict[str, JsonValue]", json.loads(text))

    # Deliveries: the row is taken before the send, so that two processes never send the same alert

    def take_delivery(
        self,
        key: str,
        *,
        incident_id: str,
        destination: str,
        retake_after_s: float | None = None,
        now: datetime | None = None,
    ) -> bool:
        """Claim the right to send the alert `key`; whether it was granted.

        It is not when the alert was delivered or another process is sending it. A failed one may be taken again.

        Args:
            key: `Alert.key`, together with the destination if there are several.
            incident_id: what the alert is about.
            destination: where it will go.
            retake_after_s: a send that began so long ago and never ended (its process died) may be taken again; it may
                have arrived, so that None, the default, never takes it.
            now: the time of the claim.
        """
        now_ns = _ns(now)
        stale_ns = -1 if retake_after_s is None else now_ns - int(retake_after_s * 1e9)
        with self._writing() as connection:
            taken = connection.execute(
                "insert into deliveries values (?, ?, ?, '', 'pending', '', ?) on conflict (key) do update set"
                " incident_id = excluded.incident_id, destination = excluded.destination, status = 'pending',"
                " reason = '', time_ns = excluded.time_ns"
                " where status = 'failed' or (status = 'pending' and time_ns <= ?)",
                (key, incident_id, destination, now_ns, stale_ns),
            )
            return taken.rowcount == 1

    def record_delivery(self, key: str, delivery: Delivery, *, now: datetime | None = None) -> None:
        """The alert arrived."""
        self._end(key, "delivered", "", now, delivery)

    def delivery_failed(self, key: str, reason: str, *, now: datetime | None = None) -> None:
        """The alert did not arrive, and may be sent again."""
        self._end(key, "failed", reason, now, None)

    def delivery(self, key: str) -> DeliveryRecord | None:
        """What became of an alert; None when it was never taken."""
        rows = self._read(f"{_SELECT_DELIVERY} where key = ?", key)
        return _delivery(rows[0]) if rows else None

    def deliveries(self, incident_id: str) -> list[DeliveryRecord]:
        """All alerts of an incident, oldest first."""
        rows = self._read(f"{_SELECT_DELIVERY} where incident_id = ? order by time_ns, key", incident_id)
        return [_delivery(row) for row in rows]

    # Repositories: the clone that a person named last, so that it need not be named again

    def remember_repository(self, service: str, path: str) -> None:
        """The code of `service` was found in the clone at `path`."""
        with self._writing() as connection:
            connection.execute("insert or replace into repositories values (?, ?)", (service, path))

    def repository(self, service: str) -> str:
        """Where the code of a service was found before; "" when it never was."""
        rows = self._read("select path from repositories where service = ?", service)
        return cast("str", rows[0][0]) if rows else ""

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _save(self, incident: Incident, investigation: str | None, now: datetime | None) -> None:
        now_ns = _ns(now)
        end_ns = None if incident.end is None else to_ns(incident.end)
        with self._writing() as connection:
            connection.execute(
                "insert into incidents values (?1, ?2, ?3, ?4, ?5, ?6, ?6) on conflict (id) do update set"
                " incident = excluded.incident, investigation = coalesce(excluded.investigation, investigation),"
                " start_ns = excluded.start_ns, end_ns = excluded.end_ns, updated_ns = excluded.updated_ns",
                (incident.id, _dump(incident), investigation, to_ns(incident.start), end_ns, now_ns),
            )

    def _one(self, incident_id: str) -> tuple[str, str | None]:
        # an exact id wins over ids that begin with it
        rows = self._read(
            "select incident, investigation, id = ?1 from incidents where substr(id, 1, length(?1)) = ?1"
            " order by id = ?1 desc, id limit 2",
            incident_id,
        )
        if not incident_id or not rows:
            raise UnknownIncident("No incident has that id.", hint="obsvty incidents lists them.")
        if len(rows) > 1 and not rows[0][2]:
            raise UnknownIncident(
                "More than one incident has an id that begins so.", hint="Give more of the id."
            )
        return cast("str", rows[0][0]), cast("str | None", rows[0][1])

    def _end(
        self, key: str, status: str, reason: str, now: datetime | None, delivery: Delivery | None
    ) -> None:
        with self._writing() as connection:
            changed = connection.execute(
                "update deliveries set status = ?, reason = ?, time_ns = ?, destination = coalesce(?, destination),"
                " reference = coalesce(?, reference) where key = ?",
                (
                    status,
                    reason,
                    _ns(now),
                    delivery and delivery.destination,
                    delivery and delivery.reference,
                    key,
                ),
            )
            if changed.rowcount != 1:
                raise StoreError(
                    "A delivery ended that was never taken.", hint="Call take_delivery before the send."
                )

    def _read(self, query: str, parameter: str | int) -> list[tuple[object, ...]]:
        with self._lock:
            try:
                if self._connection is None and not self._path.exists():
                    return []
                return self._open().execute(query, (parameter,)).fetchall()
            except (OSError, sqlite3.Error) as exc:
                raise self._error(exc) from exc

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        with self._lock:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._open() as connection:
                    yield connection
            except (OSError, sqlite3.Error) as exc:
                raise self._error(exc) from exc

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        writable = os.access(self._path.parent, os.W_OK)
        # SQLite's WAL needs a file beside the database even to read it; on a read-only volume nobody writes either
        uri = self._path.absolute().as_uri() + ("" if writable else "?immutable=1")
        connection = sqlite3.connect(uri, uri=True, timeout=10, check_same_thread=False)
        try:
            if writable:
                connection.execute("pragma journal_mode = wal")
                connection.execute("pragma synchronous = full")
                connection.executescript(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _error(self, exc: Exception) -> StoreError:
        return StoreError(
            f"{self._path} cannot be used ({type(exc).__name__}).",
            hint="Free space and check its permissions, or restore it from a backup.",
        )


_SELECT_DELIVERY: Final = (
    "select key, incident_id, destination, reference, status, reason, time_ns from deliveries"
)


def _delivery(row: tuple[object, ...]) -> DeliveryRecord:
    key, incident_id, destination, reference, status, reason, time_ns = cast(
        "tuple[str, str, str, str, Literal['pending', 'delivered', 'failed'], str, int]", row
    )
    return DeliveryRecord(
        key=key,
        incident_id=incident_id,
        destination=destination,
        reference=reference,
        status=status,
        reason=reason,
        time=from_ns(time_ns),
    )


def _ns(time: datetime | None) -> int:
    return to_ns(datetime.now(UTC) if time is None else time)


def _adapter() -> TypeAdapter[Incident]:
    from pydantic import TypeAdapter

    return TypeAdapter(Incident)


def _dump(incident: Incident) -> str:
    # by way of Python: pydantic's own JSON writes infinite numbers as null, which cannot be read back
    return json.dumps(_adapter().dump_python(incident, mode="json"))


def _load(text: str) -> Incident:
    return _adapter().validate_python(json.loads(text))
