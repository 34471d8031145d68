"""One incident as the context room tells it, in the shape of the demo, and a gate for it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from obsvty.model import JsonValue
from obsvty.ports.testing import LoopbackOpenAI
from obsvty.privacy import Gate, Ledger, SanitizedContext

GUILTY = "d34db33f" + "a1" * 16
DECOY = "3580ae37becc820304b2746c8617e59575eb4708"
BASE = "783110874c0a434ba026a098f2f6401d6aa17bdc"

FACTS: dict[str, JsonValue] = {
    "incident": {
        "id": "inc-0badcafe",
        "service": "shop",
        "operation": "POST /checkout",
        "start": "2026-11-20T14:59:31.250Z",
        "end": "",
        "headline": "POST /checkout of shop is 3.7x slower",
    },
    "verdict": "code_change",
    "confidence": 0.94,
    "findings": [
        {
            "id": "F1",
            "kind": "latency",
            "service": "shop",
            "operation": "POST /checkout",
            "before": 134.2,
            "after": 493.4,
            "unit": "ms",
            "text": "",
        }
    ],
    "deployment": {
        "service": "shop",
        "from": BASE,
        "to": DECOY,
        "from_version": "1.4.0",
        "to_version": "1.5.0",
        "at": "2026-11-20T14:59:30.000Z",
    },
    "localization": [
        {
            "rank": 1,
            "service": "shop",
            "operation": "POST 127.0.0.1:9090/issuer/bin",
            "instance": "",
            "score": 0.4,
            "explains_ms": 122.1,
            "evidence": ["E3"],
        }
    ],
    "diff": {
        "requests_before": 60,
        "requests_after": 65,
        "ms_before": 131.0,
        "ms_after": 501.0,
        "edges": [
            {
                "edge": f"POST 127.0.0.1:9090/issuer/{name}",
                "kind": "new",
                "calls_before": 0.0,
                "calls_after": 1.0,
                "delta_ms": ms,
            }
            for name, ms in (("bin", 122.1), ("avs", 122.0), ("velocity", 121.9))
        ]
        + [
            {
                "edge": "sqlite INSERT orders",
                "kind": "same",
                "calls_before": 1.0,
                "calls_after": 1.0,
                "delta_ms": 0.4,
            }
        ],
    },
    "suspects": [
        {
            "rank": 1,
            "revision": GUILTY,
            "short": "d34db33",
            "subject": "feat(checkout): added synchronous card validation",
            "author": "<PERSON_1>",
            "probability": 0.94,
            "reasons": ["added the 3 calls that are new", "app/cards.py:23 is in the stack of slow requests"],
            "hunks": [{"file": "app/cards.py", "start": 18, "end": 41}],
            "evidence": ["E4", "E3"],
        },
        {
            "rank": 2,
            "revision": DECOY,
            "short": "3580ae3",
            "subject": "refactor: rename handler",
            "author": "<PERSON_2>",
            "probability": 0.04,
            "reasons": ["renames only"],
            "hunks": [{"file": "app/main.py", "start": 3, "end": 9}],
            "evidence": ["E5"],
        },
    ],
    "abstained": "",
    "documents": [
        {
            "path": "docs/async-payment.md",
            "title": "Payments outside the request",
            "excerpt": "Slow checks go to a queue; a worker makes them after the answer.",
            "evidence": "E6",
        }
    ],
    "ruled_out": ["traffic +4 %", "payments +0.9 ms", "no new errors"],
    "log_changes": [
        {"template": "card <*> validated", "count_before": 0, "count_after": 65, "severity": "INFO"}
    ],
    "evidence": [
        {
            "id": "E1",
            "kind": "finding",
            "text": "latency of shop POST /checkout: 134.2 -> 493.4 ms from 2026-11-20T14:59:31.250Z "
            "(60 requests before, 65 after)",
        },
        {
            "id": "E2",
            "kind": "deployment",
            "text": "shop was deployed at 2026-11-20T14:59:30.000Z: version 1.4.0 -> 1.5.0, "
            f"revision {BASE[:12]} -> {DECOY[:12]}",
        },
        {
            "id": "E3",
            "kind": "new_calls",
            "text": "3 new outgoing calls in one request explain 366 of 370 extra ms: "
            "POST 127.0.0.1:9090/issuer/bin (1.00 calls, 122.1 ms); "
            "POST 127.0.0.1:9090/issuer/avs (1.00 calls, 122.0 ms); "
            "POST 127.0.0.1:9090/issuer/velocity (1.00 calls, 121.9 ms)",
        },
        {
            "id": "E4",
            "kind": "commit",
            "text": f'{GUILTY[:12]} "feat(checkout): added synchronous card validation" by <PERSON_1> '
            "at 2026-11-19T10:00:00.000Z wrote app/cards.py:18-41; added the 3 calls that are new; "
            "app/cards.py:23 is in the stack of slow requests",
        },
        {
            "id": "E5",
            "kind": "commit",
            "text": f'{DECOY[:12]} "refactor: rename handler" by <PERSON_2> wrote app/main.py:3-9',
        },
        {
            "id": "E6",
            "kind": "document",
            "text": "docs/async-payment.md (Payments outside the request) at 3580ae3: Slow checks go to a queue; "
            "a worker makes them after the answer.",
        },
    ],
    "impact": {"requests": 65, "errors": 0, "share_of_requests": 1.0},
}
IDS = ("E1", "E2", "E3", "E4", "E5", "E6")
REVISIONS = (GUILTY, DECOY)


@pytest.fixture
def facts() -> dict[str, JsonValue]:
    """Facts of the demo's shape, free to be changed."""
    return copy.deepcopy(FACTS)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(ledger=Ledger(tmp_path / "state.db"), incident_id="inc-0badcafe")


@pytest.fixture
def context_of(gate: Gate) -> Callable[[dict[str, JsonValue]], SanitizedContext]:
    """The sanitized context of some facts; its text is the list of evidence."""

    def made(facts: dict[str, JsonValue]) -> SanitizedContext:
        evidence = facts["evidence"]
        assert isinstance(evidence, list)
        text = "\n".join(f"[{e['id']}] {e['text']}" for e in evidence if isinstance(e, dict))
        return gate.context(f"## Evidence\n{text}\n", facts)

    return made


@pytest.fixture
def server() -> Iterator[LoopbackOpenAI]:
    with LoopbackOpenAI() as running:
        yield running
