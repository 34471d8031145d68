"""Redaction. To be written by the privacy room; this file's public names are fixed."""

from __future__ import annotations

from collections.abc import Mapping

from obsvty.model import JsonValue


class Sanitizer:
    """Redacts one incident's text with stable pseudonyms. A new incident needs a new sanitizer."""

    def __init__(
        self,
        *,
        allow: tuple[str, ...] = (),
        deny: tuple[str, ...] = (),
        extra: Mapping[str, str] | None = None,
    ) -> None:
        raise NotImplementedError

    @property
    def redactions(self) -> Mapping[str, int]:
        """Kind -> values replaced so far (occurrences)."""
        raise NotImplementedError

    @property
    def rules_digest(self) -> str:
        """Hash of the rules in force."""
        raise NotImplementedError

    def text(self, raw: str) -> str:
        """Free text, with what is structured inside it (JSON, URLs, SQL, headers, diffs) opened."""
        raise NotImplementedError

    def attrs(self, raw: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """A mapping of attributes: names decide first (policy), then values are scanned."""
        raise NotImplementedError

    def value(self, raw: JsonValue) -> JsonValue:
        """Any JSON value, keys of mappings included."""
        raise NotImplementedError
