"""Attribute policy: what the name of an attribute decides before its value is read."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

from obsvty.privacy import names
from obsvty.privacy.rules import canonical, load

Action = Literal["pass", "scan", "sql", "body", "deny", "pseudonym"]
_SCHEME: Final = re.compile(r"(?i)(?:bearer|basic|digest|token|apikey|negotiate)")


@lru_cache(maxsize=8192)
def _by_rules(name: str) -> tuple[Action, str]:
    rules = load()
    key = canonical(name)
    if not key:
        return "scan", ""
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
    sort = names.classify(name.rsplit(".", 1)[-1])
    if sort == "weak":
        return "scan", ""
    if not sort:
        sort = names.classify(name)
    if sort == "strong":
        return "deny", "SECRET"
    return ("pseudonym", sort) if sort and sort != "weak" else ("scan", "")


def decide(name: str, deny: re.Pattern[str]) -> tuple[Action, str]:
    """What to do with a value of this name, and the kind if it is replaced. The user's deny list comes first."""
    if name and (deny.match(canonical(name)) or deny.match(canonical(name.rsplit(".", 1)[-1]))):
        return "deny", "SECRET"
    return _by_rules(name)


def is_scheme(text: str) -> bool:
    """Only the name of an authentication scheme."""
    return _SCHEME.fullmatch(text) is not None
