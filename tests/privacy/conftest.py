from pathlib import Path

import pytest

from obsvty.privacy import Gate, Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state.db")


@pytest.fixture
def gate(ledger: Ledger) -> Gate:
    return Gate(ledger=ledger, incident_id="inc-00000001")
