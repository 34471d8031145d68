from collections.abc import Callable
from typing import Protocol

import ibis.expr.types as ir
import pytest

from obsvty.errors import UnknownTrace
from obsvty.evidence.clues import gather_incident_clues, gather_otlp_clues, gather_span_clues
from obsvty.model import Finding, Incident, LogChange, OperationDiff, Window, from_ns


class Make(Protocol):
    spans: Callable[..., ir.Table]
    logs: Callable[..., ir.Table]


STACK = 'Traceback (most recent call last):\n  File "/srv/app/cards.py", line 7, in validate\nKeyError: 1\n'


def exception(kind: str, stack: str = STACK) -> dict[str, object]:
    attributes = [("exception.type", kind), ("exception.message", "no"), ("exception.stacktrace", stack)]
    return {"name": "exception", "attributes": attributes}


def incident() -> Incident:
    finding = Finding(
        kind="latency",
        service="shop",
        operation="POST /checkout",
        before=134,
        after=493,
        unit="ms",
        change_at=from_ns(1000),
    )
    return Incident(
        id="inc-1",
        start=from_ns(1_000_000),
        end=None,
        baseline=Window.of_ns(0, 1_000_000),
        window=Window.of_ns(1_000_000, 2_000_000),
        findings=(finding,),
    )


def test_logs_inside_the_affected_requests_name_the_code_and_third_party_code_is_left_out(
    make: Make, shop_diff: OperationDiff
) -> None:
    traces = make.spans(
        {
            "trace_id": "a",
            "span_id": "a1",
            "name": "POST /checkout",
            "start_ns": 500_000,
            "http_route": "/checkout",
        },
        {
            "trace_id": "b",
            "span_id": "b1",
            "name": "POST /checkout",
            "start_ns": 1_500_000,
            "http_route": "/checkout",
        },
        {"trace_id": "b", "span_id": "b2", "name": "POST", "start_ns": 1_500_001, "url_path": "/issuer/bin"},
        {"trace_id": "c", "span_id": "c1", "name": "GET /cart", "start_ns": 1_500_002, "http_route": "/cart"},
    )
    code = {"code_file": "/srv/shop/app/checkout.py", "code_function": "checkout"}
    logs = make.logs(
        {"trace_id": "a", "span_id": "a1", "code_line": 20, **code},
        {"trace_id": "b", "span_id": "b1", "code_line": 25, **code},
        {"trace_id": "b", "span_id": "b1", "code_file": "/srv/shop/app/cards.py", "code_line": 23},
        {"trace_id": "b", "span_id": "b1", "code_file": "/v/site-packages/requests/api.py", "code_line": 3},
        {"trace_id": "c", "span_id": "c1", "code_file": "/srv/shop/app/cart.py", "code_line": 3},
    )
    change = LogChange(template="card <*>", service="shop", severity="INFO", count_before=0, count_after=5)
    clues = gather_incident_clues(traces, logs, incident=incident(), diff=shop_diff, log_changes=[change])
    assert [(c.file, c.line, c.count, c.source) for c in clues.code] == [
        ("/srv/shop/app/cards.py", 23, 1, "log"),
        ("/srv/shop/app/checkout.py", 25, 1, "log"),
    ]
    assert clues.seen_before == {("/srv/shop/app/checkout.py", "checkout")}
    assert (clues.requests, clues.route, clues.url_paths) == (1, "/checkout", ("/issuer/bin",))
    assert clues.log_templates == ("card <*>",)
    assert [edge.delta_ms for edge in clues.edges] == [122.0, 122.0, 122.0, 3.1, 0.9]


def test_an_exception_that_the_baseline_had_too_is_no_clue_when_there_is_a_new_one(make: Make) -> None:
    old, new = exception("TimeoutError", stack=""), exception("KeyError")
    head = {"name": "POST /checkout", "status_code": 2}
    traces = make.spans(
        {"trace_id": "a", "span_id": "a1", "start_ns": 500_000, "events": [old], **head},
        {"trace_id": "b", "span_id": "b1", "start_ns": 1_500_000, "events": [old, new], **head},
    )
    clues = gather_incident_clues(traces, make.logs(), incident=incident())
    assert [(e.type, [f.line for f in e.frames]) for e in clues.exceptions] == [("KeyError", [7])]


def test_an_exception_sent_as_event_and_as_log_is_one_clue(make: Make) -> None:
    traces = make.spans({"trace_id": "a", "span_id": "a1", "name": "x", "events": [exception("KeyError")]})
    attributes = [
        ("exception.type", "KeyError"),
        ("exception.message", "no"),
        ("exception.stacktrace", STACK),
    ]
    logs = make.logs({"trace_id": "a", "span_id": "a1", "attributes": attributes})
    clues = gather_span_clues(traces, logs, "a")
    assert [(e.type, e.count) for e in clues.exceptions] == [("KeyError", 1)]


def test_a_span_is_asked_with_what_ran_below_it(make: Make) -> None:
    traces = make.spans(
        {"trace_id": "a", "span_id": "1", "name": "root", "code_file": "root.py", "code_line": 1},
        {"trace_id": "a", "span_id": "2", "parent_span_id": "1", "name": "child", "code_file": "c.py"},
        {
            "trace_id": "a",
            "span_id": "3",
            "parent_span_id": "2",
            "name": "grandchild",
            "db_statement": "SELECT 1",
        },
        {"trace_id": "b", "span_id": "4", "name": "other", "code_file": "other.py"},
    )
    logs = make.logs()
    below = gather_span_clues(traces, logs, "a", "2")
    assert (below.operation, [c.file for c in below.code], below.statements) == (
        "child",
        ["c.py"],
        ("SELECT 1",),
    )
    assert gather_span_clues(traces, logs, "a").operation == "root"
    assert {c.file for c in gather_otlp_clues(traces, logs).code} == {"root.py", "c.py", "other.py"}


def test_an_unknown_trace_or_span_is_an_error_and_not_an_empty_answer(make: Make) -> None:
    traces = make.spans({"trace_id": "a", "span_id": "1", "name": "root"})
    with pytest.raises(UnknownTrace):
        gather_span_clues(traces, make.logs(), "nope")
    with pytest.raises(UnknownTrace):
        gather_span_clues(traces, make.logs(), "a", "nope")
    with pytest.raises(UnknownTrace):
        gather_otlp_clues(traces.limit(0), make.logs())
