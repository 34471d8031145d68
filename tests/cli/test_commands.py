"""Every command on the demo's data: what it prints and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

GUILTY = "d34db33f"


def test_import_counts_what_it_stored_and_the_same_file_twice_changes_nothing(
    obsvty: Callable, tmp_path: Path
) -> None:
    capture = Path(__file__).parents[2] / "obsvty/demo/data/shop.otlp.jsonl.gz"
    first = obsvty("import", capture, "--data", tmp_path / "d", "--json")
    assert first.code == 0
    counts = first.json()
    assert (counts["spans"], counts["logs"], counts["new"]) == (2637, 266, True)
    again = obsvty("import", capture, "--data", tmp_path / "d")
    assert "nothing was stored twice" in again.out
    stored = obsvty("query", "select count(*) n from traces", "--format", "json", "--data", tmp_path / "d")
    assert stored.json() == [{"n": 2637}]


def test_query_prints_a_table_csv_json_and_parquet(obsvty: Callable, demo: object, tmp_path: Path) -> None:
    sql = "select service_name, count(*) as n from traces where kind = 2 group by 1 order by 1"
    table = obsvty("query", sql, "--data", demo.data)
    assert table.out.splitlines()[0].split() == ["service_name", "n"]
    assert table.out.splitlines()[-1] == "(2 rows)"
    assert obsvty("query", sql, "--format", "csv", "--data", demo.data).out.splitlines()[1] == "payments,124"
    out = tmp_path / "r.parquet"
    assert obsvty("query", sql, "--format", "parquet", "-o", out, "--data", demo.data).code == 0
    assert out.read_bytes()[:4] == b"PAR1"


def test_incidents_and_investigate_tell_the_same_story(obsvty: Callable, demo: object) -> None:
    listed = obsvty("incidents", "--json", "--data", demo.data)
    assert [row["operation"] for row in listed.json()] == ["POST /checkout"]
    incident = listed.json()[0]["incident_id"]
    told = obsvty("investigate", incident, "--repo", demo.repo, "--json", "--data", demo.data)
    assert told.code == 0
    answer = told.json()
    assert answer["incident_id"] == incident
    assert answer["verdict"] == "code_change"
    assert answer["suspects"][0]["revision"].startswith(GUILTY)
    assert {"file", "start", "end"} == set(answer["suspects"][0]["hunks"][0])
    screen = obsvty("investigate", "--repo", demo.repo, "--data", demo.data)
    assert [line.split(" ")[0] for line in screen.out.splitlines() if line[0] != " "] == [
        "INCIDENT",
        "CHANGE",
        "SUSPECT",
        "FIX",
        "RULED",
        "EGRESS",
    ]
    table = obsvty(
        "query", "select service, operation from incidents", "--format", "json", "--data", demo.data
    )
    assert table.json() == [{"service": "shop", "operation": "POST /checkout"}]


def test_suspects_of_a_slow_trace(obsvty: Callable, demo: object) -> None:
    sql = "select trace_id from traces where name = 'POST /checkout' order by duration_ns desc limit 1"
    trace = obsvty("query", sql, "--format", "json", "--data", demo.data).json()[0]["trace_id"]
    answer = obsvty("suspects", trace, "--repo", demo.repo, "--json", "--data", demo.data)
    assert answer.code == 0
    assert answer.json()["suspects"][0]["revision"].startswith(GUILTY)
    assert answer.json()["candidates"] == 5
    shown = obsvty("suspects", trace, "--repo", demo.repo, "--data", demo.data)
    assert shown.out.splitlines()[1].startswith(f"1. {GUILTY}")


def test_suspects_from_a_file_need_no_store(obsvty: Callable, demo: object, tmp_path: Path) -> None:
    span = {
        "traceId": "ab" * 16,
        "spanId": "cd" * 8,
        "name": "POST /checkout",
        "kind": 2,
        "startTimeUnixNano": "1795445985000000000",
        "endTimeUnixNano": "1795445985400000000",
        "status": {"code": 2},
        "attributes": [{"key": "http.route", "value": {"stringValue": "/checkout"}}],
        "events": [
            {
                "timeUnixNano": "1795445985300000000",
                "name": "exception",
                "attributes": [
                    {"key": "exception.type", "value": {"stringValue": "ValueError"}},
                    {"key": "exception.message", "value": {"stringValue": "bad card number"}},
                    {
                        "key": "exception.stacktrace",
                        "value": {
                            "stringValue": "Traceback (most recent call last):\n"
                            '  File "/srv/shop/app/checkout.py", line 22, in checkout\n'
                            '  File "/srv/shop/app/cards.py", line 18, in validate\n'
                            "ValueError: bad card number\n"
                        },
                    },
                ],
            }
        ],
    }
    resource = [
        {"key": "service.name", "value": {"stringValue": "shop"}},
        {
            "key": "vcs.ref.head.revision",
            "value": {"stringValue": "3580ae37becc820304b2746c8617e59575eb4708"},
        },
    ]
    spans = {"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [{"spans": [span]}]}]}
    file = tmp_path / "span.json"
    file.write_text(json.dumps(spans))
    answer = obsvty("suspects", "--otlp", file, "--repo", demo.repo, "--base", "7831108", "--json")
    assert answer.code == 0, answer.err
    assert answer.json()["suspects"][0]["revision"].startswith(GUILTY)


def test_compare_finds_the_version(obsvty: Callable, demo: object) -> None:
    told = obsvty("investigate", "--json", "--repo", demo.repo, "--data", demo.data).json()
    windows = [
        *("--start", told["window"]["start"], "--end", told["window"]["end"]),
        *("--baseline-start", told["baseline"]["start"], "--baseline-end", told["baseline"]["end"]),
    ]
    rows = obsvty("compare", *windows, "--service", "shop", "--json", "--data", demo.data).json()
    assert any(r["key"] == "service.version" and r["value"] == "1.5.0" for r in rows)


def test_context_is_sanitized_and_says_what_was_redacted(obsvty: Callable, demo: object) -> None:
    incident = obsvty("incidents", "--json", "--data", demo.data).json()[0]["incident_id"]
    shown = obsvty("context", incident, "--repo", demo.repo, "--json", "--data", demo.data).json()
    assert shown["tokens"] > 200
    assert shown["redactions"]["card"] >= 1
    assert shown["redactions"]["email"] >= 1
    assert "@mail.example" not in shown["text"]
    plain = obsvty("context", incident, "--repo", demo.repo, "--data", demo.data)
    assert plain.out == shown["text"]
    assert "card" in plain.err


def test_ask_answers_with_citations_that_exist(obsvty: Callable, demo: object) -> None:
    told = obsvty("investigate", "--json", "--repo", demo.repo, "--data", demo.data).json()
    ids = {e["id"] for e in told["evidence"]}
    question = ("ask", told["incident_id"], "which commit did it?", "--repo", demo.repo, "--data", demo.data)
    answer = obsvty(*question, "--json").json()
    assert "d34db33" in answer["answer"]
    assert answer["citations"]
    assert set(answer["citations"]) <= ids
    assert "d34db33" in obsvty(*question).out


def test_alert_writes_the_log_and_the_ledger_stays_empty(obsvty: Callable, demo: object) -> None:
    incident = obsvty("incidents", "--json", "--data", demo.data).json()[0]["incident_id"]
    sent = obsvty("alert", incident, "--repo", demo.repo, "--data", demo.data)
    assert sent.code == 0
    assert "d34db33" in (demo.data / "alerts" / "alerts.log").read_text()
    assert obsvty("egress", "list", "--json", "--data", demo.data).json() == []
    assert obsvty("egress", "verify", "--data", demo.data).code == 0
    assert obsvty("egress", "grep", "d34db33", "--data", demo.data).code == 3


def test_report_writes_notebook_and_page(obsvty: Callable, demo: object, tmp_path: Path) -> None:
    incident = obsvty("incidents", "--json", "--data", demo.data).json()[0]["incident_id"]
    page = tmp_path / "report.html"
    made = obsvty("report", incident, "--to", "html", "-o", page, "--repo", demo.repo, "--data", demo.data)
    assert made.code == 0, made.err
    html = page.read_text()
    assert "d34db33" in html
    assert "@mail.example" not in html
    folder = demo.data / "reports" / incident
    assert {p.suffix for p in folder.iterdir()} >= {".ipynb", ".parquet"}


def test_doctor_says_what_is_there(obsvty: Callable, demo: object) -> None:
    checks = obsvty("doctor", "--json", "--repo", demo.repo, "--data", demo.data).json()
    state = {c["name"]: c["state"] for c in checks}
    assert state["data"] == "ok"
    assert state["repository"] == "ok"
    assert state["engine"] == "ok"
    assert all(c["mend"] for c in checks if c["state"] == "bad")


def test_sanitize_reads_lines_and_labelled_json(obsvty: Callable, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("card 4111111111111111 of ana@shop.example\nnothing here\n")
    clean = obsvty("sanitize", lines)
    assert "4111111111111111" not in clean.out
    assert clean.out.splitlines()[1] == "nothing here"
    assert "card 1" in clean.err
    cases = tmp_path / "cases.jsonl"
    cases.write_text(
        '{"form": "attrs", "input": {"user.email": "ana@shop.example", "http.route": "/a"}}\n'
        '{"form": "text", "input": "mail ana@shop.example"}\n'
    )
    outputs = [json.loads(x)["output"] for x in obsvty("sanitize", cases, "--jsonl").out.splitlines()]
    assert outputs[0]["http.route"] == "/a"
    assert "ana@" not in json.dumps(outputs)


@pytest.mark.parametrize(
    "command", ["demo", "serve", "import", "query", "incidents", "investigate", "suspects"]
)
def test_help_explains_each_command(obsvty: Callable, command: str) -> None:
    shown = obsvty(command, "--help")
    assert shown.code == 0
    assert "Usage: obsvty" in shown.out


def test_a_query_is_bounded_in_rows_and_in_time(obsvty: Callable, demo: object) -> None:
    some = obsvty(
        "query", "select span_id from traces", "--rows", "3", "--format", "csv", "--data", demo.data
    )
    assert len(some.out.splitlines()) == 4
    assert "cut after 3 rows" in some.err
    endless = "select count(*) from range(100000000000) a, range(1000000) b"
    ran = obsvty("query", endless, "--timeout", "0.3", "--data", demo.data)
    assert ran.code == 1
    assert "error:" in ran.err
