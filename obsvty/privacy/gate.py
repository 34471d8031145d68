"""The gate: the only place that can make a value which may leave this machine.

`SanitizedText`, `SanitizedContext`, `SanitizedAlert` and `SanitizedDocument` are built here and nowhere else; ports
take nothing but them. Sending needs an open `Egress`, which writes the exact bytes to the ledger before they leave.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, replace
from types import MappingProxyType
from typing import Final, NoReturn, Self, TypeVar, cast, final

from obsvty.errors import EgressBlocked
from obsvty.model import Alert, JsonObject, JsonValue
from obsvty.privacy import destinations, documents
from obsvty.privacy.ledger import Ledger
from obsvty.privacy.sanitizer import Sanitizer

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
_KEY: Final = object()  # held here: a Sanitized value without it cannot be built
_sealed: set[str] = set()  # names of the sanitized classes; once one is there, it cannot be subclassed
_Made = TypeVar("_Made")


@dataclass(frozen=True, kw_only=True)
class _Sanitized:
    """What every sanitized value carries. Built only by `Gate`; anywhere else raises `TypeError`.

    The key is an init-only argument, not a field: `dataclasses.replace` cannot carry it over to other content.
    """

    incident_id: str
    redactions: Mapping[str, int]  # kind -> how many values were replaced
    _key: InitVar[object] = None

    def __post_init__(self, _key: object) -> None:
        if _key is not _KEY:
            raise TypeError(f"{type(self).__name__} is built by obsvty.privacy.gate only")
        object.__setattr__(self, "redactions", MappingProxyType(dict(self.redactions)))

    def __init_subclass__(cls) -> None:
        if _sealed & {base.__name__ for base in cls.__mro__[1:]} or cls.__module__ != __name__:
            raise TypeError("sanitized values cannot be subclassed")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("sanitized values are not pickled: what comes back could be anything")

    def __setstate__(self, state: object) -> NoReturn:
        raise TypeError("sanitized values are not pickled: what comes back could be anything")


@final
@dataclass(frozen=True, kw_only=True)
class SanitizedText(_Sanitized):
    """Text that may leave."""

    text: str


@final
@dataclass(frozen=True, kw_only=True)
class SanitizedContext(_Sanitized):
    """The context of one incident that may leave: as text for a model, and as facts for an engine without one."""

    text: str
    facts: JsonObject


@final
@dataclass(frozen=True, kw_only=True)
class SanitizedAlert(_Sanitized):
    """An alert whose every string may leave."""

    alert: Alert


@final
@dataclass(frozen=True, kw_only=True)
class SanitizedDocument(_Sanitized):
    """A document (a notebook as nbformat JSON) whose every string may leave."""

    name: str
    content: JsonObject


_sealed.update(("SanitizedText", "SanitizedContext", "SanitizedAlert", "SanitizedDocument"))


class Egress:
    """One open permission to send to one destination. Plug-ins call `record` with the exact bytes before they leave."""

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
        self._ledger = ledger
        self._sanitizer = sanitizer
        self._sink = sink
        self._destination = destination
        self._model = model
        self._incident_id = incident_id
        self._offline = offline
        self._redactions = redactions
        self._open = True

    def record(self, body: bytes, *, destination: str = "") -> int:
        """Scan the final bytes, write the ledger row, return its sequence number.

        Args:
            body: exactly what will be on the wire as the request's body; for a request without one, method and URL.
            destination: the full URL, when it differs from the one the egress was opened for.

        Raises:
            EgressBlocked: the final scan found something, the destination is not allowed (`[llm] offline`), or the
                ledger cannot be written. The attempt is a ledger row too. Nothing may be sent.
        """
        target = destination or self._destination
        reason, hint = self._objection(body, target)
        entry = self._ledger.append(
            sink=self._sink,
            destination=self._sanitizer.url(target),
            model=self._model,
            incident_id=self._incident_id,
            decision="blocked" if reason else "sent",
            reason=reason,
            rules_digest=self._sanitizer.rules_digest,
            redactions=self._redactions,
            body=body[:MAX_BODY_BYTES],
        )
        if reason:
            raise EgressBlocked(f"Nothing was sent: {reason} (ledger row {entry.sequence}).", hint=hint)
        return entry.sequence

    def close(self) -> None:
        """End the permission: whoever kept this object can record, and so send, nothing more."""
        self._open = False

    def _objection(self, body: bytes, target: str) -> tuple[str, str]:
        """Why these bytes must not leave, and what to do about it; empty when they may."""
        if not self._open:
            return "the permission to send has ended", "Open a new one with Gate.egress."
        if self._offline and not destinations.is_local(self._sink, target):
            return (
                "the offline setting allows no destination beyond this machine",
                "Unset [llm] offline to allow it.",
            )
        if len(body) > MAX_BODY_BYTES:
            return (
                f"{len(body)} bytes are more than {MAX_BODY_BYTES}",
                "Ask for less: a shorter window or fewer traces.",
            )
        found = Counter(self._sanitizer.findings(self._sanitizer.url(target, keep=True)))
        try:
            found.update(self._scan(body.decode()))
        except UnicodeDecodeError:
            # a PDF made from a sanitized document stays on this machine; nothing else may be unreadable
            if self._sink != "document" or not destinations.is_file(self._sink, target):
                return "the bytes are not text, so they cannot be scanned", "Send text or JSON."
        if found:
            kinds = ", ".join(f"{kind} x{count}" for kind, count in sorted(found.items()))
            return (
                f"the final scan found {kinds}",
                "See the row with `obsvty egress show`; report it as a bug.",
            )
        return "", ""

    def _scan(self, text: str) -> Mapping[str, int]:
        """JSON is scanned string by string, as it was before it was escaped; a notebook as a notebook."""
        try:
            data = cast("JsonValue", json.loads(text))
        except (ValueError, RecursionError):
            return self._sanitizer.findings(text, entropy=self._sink != "document")
        if self._sink == "document" and isinstance(data, Mapping) and "nbformat" in data:
            return documents.findings(self._sanitizer, data)
        return self._sanitizer.findings(data)


class Gate:
    """Makes sanitized values for one incident and opens egress for them.

    One gate is one incident: the same value gets the same pseudonym in everything the gate makes, and a value that was
    redacted once is replaced in everything made later.
    """

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
        self._lock = threading.RLock()

    def text(self, raw: str) -> SanitizedText:
        """Text that may leave."""
        text, redactions = self._counted(lambda: self.sanitizer.text(raw))
        return SanitizedText(incident_id=self.incident_id, redactions=redactions, text=text, _key=_KEY)

    def context(self, raw: str, facts: JsonObject) -> SanitizedContext:
        """The context of an incident: its text, and the same facts as data (with the same pseudonyms).

        `redactions` counts what was replaced in the text, or in the facts where these hold more of a kind.
        """
        with self._lock:
            clean_facts, in_facts = self._counted(lambda: self.sanitizer.attrs(facts))
            text, in_text = self._counted(lambda: self.sanitizer.document(raw))
            clean_facts, _ = self._counted(
                lambda: self.sanitizer.attrs(clean_facts)
            )  # with what the text taught
        kinds = sorted({*in_text, *in_facts})
        redactions = {kind: max(in_text.get(kind, 0), in_facts.get(kind, 0)) for kind in kinds}
        return SanitizedContext(
            incident_id=self.incident_id, redactions=redactions, text=text, facts=clean_facts, _key=_KEY
        )

    def alert(self, alert: Alert) -> SanitizedAlert:
        """An alert with every string sanitized."""
        clean = self.sanitizer.text
        made, redactions = self._counted(
            lambda: replace(
                alert,
                title=clean(alert.title),
                summary=clean(alert.summary),
                why=clean(alert.why),
                fix=clean(alert.fix),
                fields=tuple((clean(label), clean(value)) for label, value in alert.fields),
                footer=clean(alert.footer),
                text=clean(alert.text),
                links=tuple((clean(label), clean(target)) for label, target in alert.links),
            )
        )
        return SanitizedAlert(incident_id=self.incident_id, redactions=redactions, alert=made, _key=_KEY)

    def document(self, name: str, content: JsonObject) -> SanitizedDocument:
        """A document (nbformat JSON), every string sanitized: sources, outputs, metadata, attachments, widget state.

        What a notebook needs to stay one (cell types, media types, kernel names, cell ids, images) is left as it is.
        """
        made, redactions = self._counted(lambda: documents.sanitize(self.sanitizer, content))
        return SanitizedDocument(
            incident_id=self.incident_id,
            redactions=redactions,
            name=self.sanitizer.text(name),
            content=made,
            _key=_KEY,
        )

    @contextmanager
    def egress(
        self, *, sink: str, destination: str, model: str = "", redactions: Mapping[str, int] | None = None
    ) -> Generator[Egress]:
        """Permission to send to `destination` while the block is open.

        `sink` is llm, slack, github, mcp, log or document.
        """
        egress = Egress(
            ledger=self.ledger,
            sanitizer=self.sanitizer,
            sink=sink,
            destination=destination,
            model=model,
            incident_id=self.incident_id,
            offline=self.offline,
            redactions=redactions or {},
        )
        try:
            yield egress
        finally:
            egress.close()

    def _counted(self, make: Callable[[], _Made]) -> tuple[_Made, dict[str, int]]:
        """What `make` returns, and how many values it replaced, by kind."""
        with self._lock:
            before = self.sanitizer.redactions
            made = make()
            after = self.sanitizer.redactions
        return made, {
            kind: after[kind] - before.get(kind, 0)
            for kind in sorted(after)
            if after[kind] > before.get(kind, 0)
        }
