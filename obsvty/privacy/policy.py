"""Attribute policy: what the name of an attribute decides before its value is read."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

from obsvty.privacy import names
from obsvty.privacy.rules import canonical, load

_LEVELS: Final = 4
Action = Literal["pass", "scan", "sql", "body", "deny", "pseudonym"]
_SCHEME: Final = re.compile(r"(?i)(?:bearer|basic|digest|token|apikey|negotiate)")


def decide(path: tuple[str, ...], deny: re.Pattern[str]) -> tuple[Action, str]:
    """What to do with a value, and the kind if it is replaced. The user's deny list comes first.

    Args:
        path: the keys that lead to the value, outermost first; an attribute's dotted name is one key. Nested maps are
            attributes too: `{"http.request.header": {"cookie": ...}}`.
        deny: the user's names.
    """
    if is_denied(path, deny):
        return "deny", "SECRET"
    for tail in _tails(path):
        action, kind = _by_rules(tail)
        if action != "scan":
            return action, kind
    if any(names.classify(key) == "strong" for key in path[-3:-1]):
        return "deny", "SECRET"
    return "scan", ""


def is_denied(path: tuple[str, ...], deny: re.Pattern[str]) -> bool:
    """Whether the user's deny list names the value."""
    return any(deny.match(canonical(tail)) for tail in _tails(path))


def _tails(path: tuple[str, ...]) -> list[str]:
    return [".".join(path[-size:]) for size in range(1, min(len(path), _LEVELS) + 1)]


@lru_cache(maxsize=8192)
def _by_rules(name: str) -> tuple[Action, str]:
    rules = load()
    key = canonical(name)
    if rules.pass_names.match(key):
        return "pass", ""
    if rules.sql_names.match(key):
        return "sql", ""
    if rules.body_names.match(key):
        return "body", ""
    if rules.scan_names.match(key):
        return "scan", ""
    if rules.deny_names.match(key):
        return "deny", "COOKIE" if "cookie" in key else "SECRET"
    for pattern, kind in rules.pseudonyms:
        if pattern.match(key):
            return "pseudonym", kind
    sort = names.classify(name.rsplit(".", 1)[-1]) or names.classify(name)
    if sort == "strong":
        return "deny", "SECRET"
    return ("pseudonym", sort) if sort not in {"", "weak"} else ("scan", "")


def is_scheme(text: str) -> bool:
    """Only the name of an authentication scheme."""
    return _SCHEME.fullmatch(text) is not None
