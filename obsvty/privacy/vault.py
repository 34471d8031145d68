"""Pseudonyms of one incident: value -> `<KIND_n>`, and the values already known."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

KINDS: Final = (
    "ADDRESS", "BIRTHDATE", "CARD", "COOKIE", "DEVICE", "EMAIL", "GEO", "IBAN", "IP", "JWT", "LITERAL", "MAC", "NAME",
    "NATIONAL_ID", "PHONE", "PRIVATE_KEY", "SECRET", "SESSION", "USER", "WALLET",
)  # fmt: skip
_SEPARATORS: Final = re.compile(r"[\s\-./_()]")
_WORDS: Final = re.compile(
    r"[A-Z]?[a-z]+(?:[_.\- :/][a-z]+)*|_?[A-Z]+(?:_[A-Z]+)*|[A-Z]?[a-z]{2,}(?:[A-Z][a-z]{2,})+"
)
_LONGEST: Final = 512  # a longer value is not searched for elsewhere: it would be a document, not a value


class Vault:
    """Same value, same token; a new incident numbers afresh, so that incidents cannot be linked."""

    def __init__(self, kinds: tuple[str, ...] = ()) -> None:
        names = "|".join(sorted({*KINDS, *kinds}, key=lambda kind: (-len(kind), kind)))
        self.token = re.compile(rf"<(?:{names})_[0-9]+>")
        self.version = 0  # grows with every value to search for
        self._numbers: Counter[str] = Counter()
        self._tokens: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()
        self._known: dict[str, tuple[str, str]] = {}  # value in lower case -> kind, identity
        self._search: re.Pattern[str] | None = None
        self._search_version = 0

    def reserve(self, text: str) -> None:
        """Token-like text that this incident did not issue is never issued: nobody can forge a pseudonym beforehand.

        It stays as it is, so that sanitized text passes a second gate unchanged; rewriting it would not allow that.
        """
        if "<" in text:
            self._taken.update(match[0] for match in self.token.finditer(text))

    def give(self, kind: str, value: str, *, propagate: bool) -> str:
        """The token of a value; `propagate` also searches for the value in everything that follows."""
        identity = _identity(kind, value)
        token = self._tokens.get((kind, identity))
        if token is None:
            token = ""
            while not token or token in self._taken:
                self._numbers[kind] += 1
                token = f"<{kind}_{self._numbers[kind]}>"
            self._tokens[kind, identity] = token
        if propagate and worth_searching(kind, value):
            for form in dict.fromkeys((value, value.casefold())):
                if form.lower() not in self._known:
                    self._known[form.lower()] = (kind, value)
                    self.version += 1
        return token

    def known(self, text: str) -> list[tuple[int, int, str, str]]:
        """Where values redacted before occur: start, end, kind, the value as first seen."""
        if not self._known:
            return []
        if self._search is None or self._search_version != self.version:
            longest_first = sorted(self._known, key=lambda value: (-len(value), value))
            self._search = re.compile(
                r"(?<![^\W_])(?:" + "|".join(re.escape(value) for value in longest_first) + r")(?![^\W_])",
                re.IGNORECASE,
            )
            self._search_version = self.version
        found: list[tuple[int, int, str, str]] = []
        for match in self._search.finditer(text):
            kind, value = self._known.get(match[0].lower(), ("SECRET", match[0]))
            found.append((match.start(), match.end(), kind, value))
        return found


def worth_searching(kind: str, value: str) -> bool:
    """Whether a value is telling enough to be replaced wherever it occurs (`admin` or `order_created` is not)."""
    if not 5 <= len(value) <= _LONGEST:
        return False
    if value.replace(" ", "").isdigit():
        return len(value) >= 9
    if kind in {"NAME", "ADDRESS", "USER", "EMAIL"}:
        return not value.islower() or not value.isalpha()
    if _WORDS.fullmatch(value):
        return False
    return kind != "LITERAL" or (len(value) >= 8 and any(char.isdigit() for char in value))


def _identity(kind: str, value: str) -> str:
    if kind in {"CARD", "IBAN", "PHONE", "MAC"}:
        return _SEPARATORS.sub("", value).casefold()
    if kind in {"EMAIL", "NAME"}:
        return value.casefold()
    return value
