"""The rules file, read once: names, attribute policy, vendor tokens."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import cast


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What `rules.toml` says, compiled."""

    digest: str
    pass_names: re.Pattern[str]
    scan_names: re.Pattern[str]
    sql_names: re.Pattern[str]
    body_names: re.Pattern[str]
    deny_names: re.Pattern[str]
    pseudonyms: tuple[tuple[re.Pattern[str], str], ...]
    strong: frozenset[str]
    weak: frozenset[str]
    harmless_words: frozenset[str]
    personal: Mapping[str, str]
    harmless_values: frozenset[str]
    accounts: frozenset[str]
    vendors: re.Pattern[str]


def globs(patterns: Sequence[str]) -> re.Pattern[str]:
    """One expression for many `*` patterns over canonical names; no pattern matches nothing."""
    parts = [re.escape(canonical(p)).replace(r"\*", ".*") for p in patterns]
    return re.compile("(?:" + "|".join(parts) + r")\Z" if parts else r"(?!)", re.DOTALL)


def canonical(name: str) -> str:
    """A name as the policy compares it: lower case, `-` and blanks as `_`."""
    return name.lower().replace("-", "_").replace(" ", "_")


@cache
def load() -> Rules:
    """The rules that ship with the package."""
    raw = files("obsvty.privacy").joinpath("rules.toml").read_bytes()
    # tomllib's result is untyped by nature; the file is ours and a test reads all of it
    data = cast("dict[str, dict[str, object]]", tomllib.loads(raw.decode()))
    attributes, names, values = data["attributes"], data["names"], data["values"]

    def words(table: Mapping[str, object], key: str) -> list[str]:
        return cast("list[str]", table[key])

    return Rules(
        digest=hashlib.sha256(raw).hexdigest()[:16],
        pass_names=globs(words(attributes, "pass")),
        scan_names=globs(words(attributes, "scan")),
        sql_names=globs(words(attributes, "sql")),
        body_names=globs(words(attributes, "body")),
        deny_names=globs(words(attributes, "deny")),
        pseudonyms=tuple(
            (globs([pattern]), kind)
            for pattern, kind in cast("dict[str, str]", attributes["pseudonymize"]).items()
        ),
        strong=frozenset(words(names, "strong")),
        weak=frozenset(words(names, "weak")),
        harmless_words=frozenset(words(names, "harmless")),
        personal=cast("dict[str, str]", names["personal"]),
        harmless_values=frozenset(words(values, "harmless")),
        accounts=frozenset(words(values, "accounts")),
        vendors=re.compile(
            "(?<![A-Za-z0-9])(?=[A-Za-z0-9])(?:"
            + "|".join(cast("dict[str, str]", data["vendors"]).values())
            + ")"
        ),
    )
