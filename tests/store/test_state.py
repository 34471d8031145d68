import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path

import pytest

from obsvty.errors import StoreError, UnknownIncident
from obsvty.model import Delivery, Deployment, Finding, Incident, Window
from obsvty.store.state import DeliveryRecord, State

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def incident(name: str, start: datetime = NOON, end: datetime | None = None) -> Incident:
    finding = Finding(
        kind="latency",
        service="shop",
        operation="POST /checkout",
        before=1.5,
        after=inf,
        unit="ms",
        change_at=start + timedelta(microseconds=1),
    )
    deployment = Deployment(
        service="shop",
        environment="",
        from_version="1",
        from_revision="a",
        to_version="2",
        to_revision="b",
        at=start,
    )
    window = Window(start=start, end=start + MINUTE)
    return Incident(
        id=name,
        start=start,
        end=end,
        baseline=window,
        window=window,
        findings=(finding,),
        deployment=deployment,
        status="recovered" if end else "open",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "state.db"


@pytest.fixture
def state(path: Path) -> State:
    return State(path)


def test_an_incident_comes_back_as_it_was(state: State, path: Path) -> None:
    state.save_investigation(incident("inc-1"), {"verdict": "code_change", "suspects": [{"rank": 1}]})
    state.close()
    state = State(path)
    assert state.incident("inc-1") == incident("inc-1")
    assert state.investigation("inc-1") == {"verdict": "code_change", "suspects": [{"rank": 1}]}


def test_saving_again_updates_and_keeps_the_investigation(state: State) -> None:
    state.save_investigation(incident("inc-1"), {"verdict": "traffic"})
    state.save_incident(incident("inc-1", end=NOON + MINUTE))
    assert state.incident("inc-1").status == "recovered"
    assert state.investigation("inc-1") == {"verdict": "traffic"}
    assert len(state.incidents()) == 1


def test_an_incident_that_was_not_investigated_has_no_investigation(state: State) -> None:
    state.save_incident(incident("inc-1"))
    assert state.investigation("inc-1") is None


def test_incidents_are_listed_newest_first(state: State) -> None:
    state.save_incident(incident("inc-b", NOON))
    state.save_incident(incident("inc-a", NOON))
    state.save_incident(incident("inc-old", NOON - 60 * MINUTE, NOON - 30 * MINUTE))
    assert [found.id for found in state.incidents()] == ["inc-a", "inc-b", "inc-old"]
    assert [found.id for found in state.incidents(NOON - 40 * MINUTE)] == ["inc-a", "inc-b", "inc-old"]
    assert [found.id for found in state.incidents(NOON - 20 * MINUTE)] == ["inc-a", "inc-b"]


def test_an_id_may_be_shortened_while_it_is_unique(state: State) -> None:
    for name in ("inc-12", "inc-123", "inc-2%"):
        state.save_incident(incident(name))
    assert state.incident("inc-2").id == "inc-2%"
    assert state.incident("inc-12").id == "inc-12"
    with pytest.raises(UnknownIncident, match="More than one"):
        state.incident("inc-1")
    for name in ("", "inc-3", "%", "inc-12345"):
        with pytest.raises(UnknownIncident, match="No incident"):
            state.incident(name)
    with pytest.raises(UnknownIncident):
        state.investigation("inc-3")


def test_a_delivery_is_taken_once(state: State, path: Path) -> None:
    other = State(path)
    assert state.take_delivery("k", incident_id="inc-1", destination="log", now=NOON)
    assert not other.take_delivery("k", incident_id="inc-1", destination="log")
    state.record_delivery("k", Delivery(destination="file", reference="7"), now=NOON + MINUTE)
    assert not other.take_delivery("k", incident_id="inc-1", destination="log")
    expected = DeliveryRecord(
        key="k",
        incident_id="inc-1",
        destination="file",
        reference="7",
        status="delivered",
        reason="",
        time=NOON + MINUTE,
    )
    assert other.deliveries("inc-1") == [expected]
    assert other.delivery("k") == expected


def test_a_failed_delivery_may_be_taken_again(state: State) -> None:
    assert state.take_delivery("k", incident_id="i", destination="d", now=NOON)
    state.delivery_failed("k", "AlertError", now=NOON)
    record = state.delivery("k")
    assert record is not None
    assert (record.status, record.reason) == ("failed", "AlertError")
    assert state.take_delivery("k", incident_id="i", destination="d", now=NOON)
    assert replace(record, status="pending", reason="") == state.delivery("k")


def test_a_send_that_never_ended_is_taken_again_only_when_asked(state: State) -> None:
    assert state.take_delivery("k", incident_id="i", destination="d", now=NOON)
    later = NOON + 10 * MINUTE
    assert not state.take_delivery("k", incident_id="i", destination="d", now=later)
    assert not state.take_delivery("k", incident_id="i", destination="d", retake_after_s=601, now=later)
    assert state.take_delivery("k", incident_id="i", destination="d", retake_after_s=600, now=later)


def test_a_delivery_that_was_not_taken_cannot_end(state: State) -> None:
    with pytest.raises(StoreError, match="never taken"):
        state.record_delivery("k", Delivery(destination="d"))


def test_of_many_processes_one_takes_a_delivery(path: Path) -> None:
    take = (
        "import sys\nfrom pathlib import Path\nfrom obsvty.store.state import State\n"
        "state = State(Path(sys.argv[1]))\n"
        "print(sum(state.take_delivery(f'k{i}', incident_id='i', destination='d') for i in range(50)))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", take, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert sum(int(process.communicate()[0]) for process in processes) == 50


def test_reading_a_missing_state_creates_nothing(state: State, path: Path) -> None:
    assert state.incidents() == []
    assert state.deliveries("i") == []
    with pytest.raises(UnknownIncident):
        state.incident("i")
    assert not path.parent.exists()


def test_a_file_that_is_no_database_is_a_store_error(state: State, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database, but long enough to be looked at")
    with pytest.raises(StoreError, match="backup"):
        state.incidents()


def test_other_tables_of_the_file_are_left_alone(state: State, path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("create table egress (x)")
        connection.execute("insert into egress values (1)")
    connection.close()
    state.save_incident(incident("inc-1"))
    with sqlite3.connect(path) as connection:
        assert connection.execute("select x from egress").fetchall() == [(1,)]
    connection.close()
