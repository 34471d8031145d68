"""A gate with a ledger, a sanitized context, and the loopback servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from obsvty.ports.testing import LoopbackOpenAI, LoopbackSlack
from obsvty.privacy import Gate, Ledger, SanitizedContext


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(ledger=Ledger(tmp_path / "state.db"), incident_id="inc-0badcafe")


@pytest.fixture
def context(gate: Gate) -> SanitizedContext:
    return gate.context("[E1] latency of shop GET /: 10.0 -> 20.0 ms", {"evidence": []})


@pytest.fixture
def model() -> Iterator[LoopbackOpenAI]:
    with LoopbackOpenAI() as server:
        yield server


@pytest.fixture
def slack() -> Iterator[LoopbackSlack]:
    with LoopbackSlack() as server:
        yield server
