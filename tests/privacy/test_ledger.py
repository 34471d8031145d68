import base64
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from obsvty.errors import EgressBlocked, UsageError
from obsvty.privacy import Ledger, LedgerEntry


def append(ledger: Ledger, body: bytes = b"{}", **changed: str) -> LedgerEntry:
    fields = {
        "sink": "llm",
        "destination": "https://llm.example",
        "model": "m",
        "incident_id": "inc-1",
        "decision": "sent",
        "reason": "",
        "rules_digest": "abc",
        **changed,
    }
    return ledger.append(**fields, redactions={"card": 2}, body=body)  # pyright: ignore


def tamper(ledger: Ledger, statement: str) -> None:
    with closing(sqlite3.connect(ledger.path)) as connection:
        connection.executescript(
            f"drop trigger egress_no_update; drop trigger egress_no_delete; {statement};"
        )


def test_reading_where_there_is_no_file_finds_nothing_and_makes_none(ledger: Ledger) -> None:
    assert list(ledger.entries()) == []
    assert list(ledger.verify()) == []
    assert list(ledger.grep("x")) == []
    assert list(ledger.export()) == []
    assert not ledger.path.exists()
    with pytest.raises(UsageError):
        ledger.entry(1)


def test_rows_are_chained_and_come_back_as_written(ledger: Ledger) -> None:
    first, second = append(ledger, b"one"), append(ledger, b"two")
    assert [first.sequence, second.sequence] == [1, 2]
    assert second.previous_hash == first.hash
    assert list(Ledger(ledger.path).entries()) == [first, second]
    assert list(ledger.verify()) == []
    assert ledger.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "statement",
    [
        "update egress set destination = 'https://other.example' where sequence = 2",
        "update egress set decision = 'blocked' where sequence = 2",
        "update egress set body = x'00' where sequence = 2",
        "update egress set redactions = '{}' where sequence = 2",
        "update egress set time_ns = time_ns + 1 where sequence = 2",
        "update egress set reason = 'x' where sequence = 3",
        "delete from egress where sequence = 1",
        "delete from egress where sequence = 2",
        "delete from egress where sequence = 3",
        "delete from egress",
        "delete from egress where sequence = 2; update egress set sequence = 2 where sequence = 3",
        """update egress set sequence = 9 where sequence = 1; update egress set sequence = 1 where sequence = 2;
        update egress set sequence = 2 where sequence = 9""",
        "update egress set hash = previous_hash where sequence = 3",
        "update egress_head set count = 2",
    ],
)
def test_what_was_changed_removed_or_reordered_is_told(ledger: Ledger, statement: str) -> None:
    for body in (b"one", b"two", b"three"):
        append(ledger, body)
    tamper(ledger, statement)
    assert ledger.verify()


def test_rows_cannot_be_changed_by_accident(ledger: Ledger) -> None:
    append(ledger)
    with closing(sqlite3.connect(ledger.path)) as connection:
        for statement in ("update egress set reason = 'x'", "delete from egress"):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(statement)


NEEDLE = "user219@mail.example"


@pytest.mark.parametrize(
    "body",
    [
        NEEDLE,
        json.dumps({"a": [NEEDLE]}),
        NEEDLE.replace("@", "%40"),
        "".join(f"%{ord(char):02x}" for char in NEEDLE),
        "".join(f"\\u{ord(char):04x}" for char in NEEDLE),
        "".join(f"&#{ord(char)};" for char in NEEDLE),
        "x " + NEEDLE.encode().hex() + " y",
        "x " + base64.b64encode(f"to {NEEDLE}!".encode()).decode() + " y",
        "x " + base64.urlsafe_b64encode(f"to {NEEDLE}?>".encode()).decode().rstrip("=") + " y",
        json.dumps({"a": json.dumps({"b": NEEDLE.replace("@", "\\u0040")})}),
    ],
)
def test_grep_finds_a_value_in_every_form(ledger: Ledger, body: str) -> None:
    append(ledger, b"nothing here")
    append(ledger, body.encode())
    assert list(ledger.grep(NEEDLE)) == [2]


def test_export_is_one_json_line_a_row(ledger: Ledger) -> None:
    append(ledger, b"\x00\xff")
    (line,) = ledger.export()
    row = json.loads(line)
    assert base64.b64decode(row["body"]) == b"\x00\xff"
    assert row["sequence"] == 1
    assert row["redactions"] == {"card": 2}


def test_summary_counts_what_left_for_one_incident(ledger: Ledger) -> None:
    append(ledger, b"1234")
    append(ledger, b"12345")
    append(ledger, b"1", incident_id="inc-2")
    append(ledger, b"12", decision="blocked")
    append(ledger, b"123", sink="log", destination="/tmp/alerts.jsonl")
    summary = ledger.summary("inc-1")
    assert (summary.entries, summary.bytes, summary.redactions) == (2, 9, {"card": 4})


def test_other_tables_of_the_file_are_left_alone(ledger: Ledger) -> None:
    with closing(sqlite3.connect(ledger.path)) as connection:
        connection.executescript("create table incidents (id text); insert into incidents values ('inc-1');")
    assert list(ledger.entries()) == []
    append(ledger)
    with closing(sqlite3.connect(ledger.path)) as connection:
        assert connection.execute("select count(*) from incidents").fetchone() == (1,)


def test_two_processes_append_one_chain(ledger: Ledger) -> None:
    program = (
        "import sys, pathlib; from obsvty.privacy import Ledger; ledger = Ledger(pathlib.Path(sys.argv[1]))\n"
        "for n in range(25):\n"
        " ledger.append(sink='llm', destination='', model='', incident_id=sys.argv[2], decision='sent', reason='',"
        " rules_digest='', redactions={}, body=b'x')"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(ledger.path), name])
        for name in ("inc-1", "inc-2")
    ]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    assert [entry.sequence for entry in ledger.entries()] == list(range(1, 51))
    assert len(ledger.entries(incident_id="inc-1")) == 25
    assert list(ledger.verify()) == []


def test_a_ledger_that_cannot_be_written_blocks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EgressBlocked):
        append(Ledger(tmp_path / "file" / "state.db"))
    (tmp_path / "state.db").write_text("this is no SQLite file, and it is long enough to be one" * 10)
    with pytest.raises(EgressBlocked):
        append(Ledger(tmp_path / "state.db"))
