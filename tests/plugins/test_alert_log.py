"""The alert log: one line for programs, a text for people, nothing beyond the folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from obsvty.errors import AlertError, SettingsError
from obsvty.plugins.alert_log import LogAlertPlugin
from obsvty.ports import AlertConfig
from obsvty.ports.testing.contracts import ALERT, RefusingEgress
from obsvty.privacy import Gate


def test_alert_is_a_line_and_a_text(tmp_path: Path, gate: Gate) -> None:
    plugin = LogAlertPlugin(AlertConfig(folder=tmp_path / "new"))
    first = plugin.send(gate.alert(ALERT), egress=RefusingEgress())
    again = plugin.update(gate.alert(ALERT), first, egress=RefusingEgress())
    lines = [json.loads(line) for line in (tmp_path / "new" / "alerts.jsonl").read_text().splitlines()]
    assert [(line["event"], line["replaces"], line["title"]) for line in lines] == [
        ("sent", "", ALERT.title),
        ("updated", "1", ALERT.title),
    ]
    assert (first.reference, again.reference) == ("1", "2")
    assert first.destination == plugin.destination == str(tmp_path / "new" / "alerts.log")
    text = (tmp_path / "new" / "alerts.log").read_text()
    assert text.count("GET / 2x slower: shop\np50 10 -> 20 ms\n") == 2
    assert "(replaces line 1)" in text


def test_folder_that_cannot_be_written_is_an_alert_error(tmp_path: Path, gate: Gate) -> None:
    (tmp_path / "file").write_text("")
    plugin = LogAlertPlugin(AlertConfig(folder=tmp_path / "file"))
    with pytest.raises(AlertError, match="cannot be written"):
        plugin.send(gate.alert(ALERT), egress=RefusingEgress())


def test_missing_folder_is_refused_at_the_start() -> None:
    with pytest.raises(SettingsError):
        LogAlertPlugin(AlertConfig())
