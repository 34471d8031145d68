"""The gate: the only place that can make a value which may leave this machine.

`SanitizedText`, `SanitizedContext`, `SanitizedAlert` and `SanitizedDocument` are built here and nowhere else; ports take
nothing but them. Sending needs an open `Egress`, which writes the exact bytes to the ledger before they leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from obsvty.model import Alert, JsonObject, JsonValue
from obsvty.privacy.ledger import Ledger
from obsvty.privacy.sanitizer import Sanitizer

_KEY: Final = object()  # held here: a Sanitized value without it cannot be built


@dataclass(frozen=True, kw_only=True)
class _Sanitized:
    """What every sanitized value carries. Built only by `Gate`; anywhere else raises `TypeError`."""

    incident_id: str
    redactions: Mapping[str, int]  # kind -> how many values were replaced
    _key: object = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self._key is not _KEY:
            raise TypeError(f"{type(self).__name__} is built by obsvty.privacy.gate only")


@dataclass(frozen=True, kw_only=True)
class SanitizedText(_Sanitized):
    """Text that may leave."""

    text: str


@dataclass(frozen=True, kw_only=True)
class SanitizedContext(_Sanitized):
    """The context of one incident that may leave: as text for a model, and as facts for an engine without one."""

    text: str
    facts: JsonObject


@dataclass(frozen=True, kw_only=True)
class SanitizedAlert(_Sanitized):
    """An alert whose every string may leave."""

    alert: Alert


@dataclass(frozen=True, kw_only=True)
class SanitizedDocument(_Sanitized):
    """A document (a notebook as nbformat JSON) whose every string may leave."""

    name: str
    content: JsonObject


class Egress:
    """One open permission to send to one destination. Plug-ins call `record` with the exact bytes, before they leave."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        sanitizer: Sanitizer,
        sink: str,
        destination: str,
        model: str,
        incident_id: str,
        offline: bool,
        redactions: Mapping[str, int],
    ) -> None:
        raise NotImplementedError  # privacy room: to be written

    def record(self, body: bytes, *, destination: str = "") -> int:
        """Scan the final bytes, write the ledger row, return its sequence number.

        Args:
            body: exactly what will be on the wire as the request's body; for a request without one, method and URL.
            destination: the full URL, when it differs from the one the egress was opened for.

        Raises:
            EgressBlocked: the final scan found something, the destination is not allowed (`[llm] offline`), or the
                ledger cannot be written. The attempt is a ledger row too. Nothing may be sent.
        """
        raise NotImplementedError


class Gate:
    """Makes sanitized values for one incident and opens egress for them."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        incident_id: str = "",
        sanitizer: Sanitizer | None = None,
        offline: bool = False,
    ) -> None:
        self.ledger = ledger
        self.incident_id = incident_id
        self.offline = offline
        self.sanitizer = sanitizer or Sanitizer()

    def text(self, raw: str) -> SanitizedText:
        """Text that may leave."""
        raise NotImplementedError

    def context(self, raw: str, facts: JsonObject) -> SanitizedContext:
        """The context of an incident: its text, and the same facts as data (strings sanitized with the same pseudonyms)."""
        raise NotImplementedError

    def alert(self, alert: Alert) -> SanitizedAlert:
        """An alert with every string sanitized."""
        raise NotImplementedError

    def document(self, name: str, content: JsonObject) -> SanitizedDocument:
        """A document (nbformat JSON) with every string sanitized: sources, outputs, metadata, attachments, widget state."""
        raise NotImplementedError

    @contextmanager
    def egress(
        self, *, sink: str, destination: str, model: str = "", redactions: Mapping[str, int] | None = None
    ) -> Iterator[Egress]:
        """Permission to send to `destination` while the block is open. `sink` is llm, slack, github, mcp, log, document."""
        raise NotImplementedError
        yield
