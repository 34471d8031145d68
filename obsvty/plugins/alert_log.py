"""Alerts as files on this machine: one line of JSON for programs, a readable text for people."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from obsvty.errors import AlertError, SettingsError
from obsvty.model import Delivery
from obsvty.ports import AlertConfig, AlertPlugin
from obsvty.privacy import Egress, SanitizedAlert


class LogAlertPlugin(AlertPlugin):
    """Appends to `alerts.jsonl` and `alerts.log` in the data folder. Nothing leaves, so nothing is recorded."""

    name: ClassVar[str] = "log"

    def __init__(self, config: AlertConfig) -> None:
        super().__init__(config)
        if config.folder is None:
            raise SettingsError(
                "The alert log has no folder.", hint="Set [store] dir, or take log out of [alerts] to."
            )
        self._folder: Path = config.folder

    @property
    def destination(self) -> str:
        """Path of the file that people read; `alerts.jsonl` beside it is for programs."""
        return str(self._folder / "alerts.log")

    def send(self, alert: SanitizedAlert, *, egress: Egress) -> Delivery:
        """Append the alert; the reference is its line number."""
        del egress  # a file on this machine
        return self._append(alert, event="sent", previous="")

    def update(self, alert: SanitizedAlert, previous: Delivery, *, egress: Egress) -> Delivery:
        """Append again, with the line that it replaces: a log is not rewritten."""
        del egress
        return self._append(alert, event="updated", previous=previous.reference)

    def _append(self, alert: SanitizedAlert, *, event: str, previous: str) -> Delivery:
        entry = {"event": event, "replaces": previous, **asdict(alert.alert)}
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        rule = "-" * 72
        replaces = f" (replaces line {previous})" if previous else ""
        text = f"{rule}\n{alert.alert.mark}: {alert.incident_id}{replaces}\n{alert.alert.title}\n{alert.alert.text}\n"
        path = self._folder / "alerts.jsonl"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as lines:
                lines.write(line + "\n")
            with Path(self.destination).open("a", encoding="utf-8") as texts:
                texts.write(text)
            with path.open("rb") as lines_read:
                number = sum(1 for _ in lines_read)
        except OSError as exc:
            raise AlertError(
                "The alert log cannot be written.", hint="Make the folder at [store] dir writable."
            ) from exc
        return Delivery(destination=self.destination, reference=str(number))
