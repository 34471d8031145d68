"""Numbers in words: which ones a sentence says, and which ones the facts allow it to say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from obsvty.model import JsonValue

_NUMBER = re.compile(
    r"(?<![\w.])[-+\u2212]?(?P<digits>\d{1,3}(?:[,\u00a0\u202f]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"\s*(?P<unit>%|percent\b|seconds?\b|s\b|ms\b|milliseconds?\b)?(?P<times>\s?(?:x|\u00d7)(?!\w))?",
    re.IGNORECASE,
)
_LARGEST_ROUNDING = 0.02  # "370" for 366, "500" for 493; but not "400" for 366


class Said(NamedTuple):
    """A number as it is written: its value, how exactly it is meant, and its unit."""

    value: float
    half_unit: float  # half of its last digit's place
    unit: str  # "%", "s", "ms" or ""


def numbers_in(text: str) -> list[Said]:
    """All numbers of a sentence, signs dropped: "fell by 5" and "-5" say the same."""
    found: list[Said] = []
    for match in _NUMBER.finditer(text):
        digits = re.sub(r"[,\u00a0\u202f]", "", match["digits"])
        whole, _, decimals = digits.partition(".")
        zeros = len(whole) - len(whole.rstrip("0")) if not decimals and whole.strip("0") else 0
        value = float(digits)
        half = 0.5 * 10.0 ** (zeros if not decimals else -len(decimals))
        if zeros:  # "370" may be 366, within bounds
            half = max(0.5, min(half, _LARGEST_ROUNDING * value))
        found.append(Said(value, half, _unit(match["unit"] or "")))
    return found


def _unit(written: str) -> str:
    short = written.lower()
    if short in ("%", "percent"):
        return "%"
    if short.startswith("m"):
        return "ms"
    return "s" if short.startswith("s") else ""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The values that a sentence may say."""

    values: frozenset[float]

    @classmethod
    def of_facts(cls, facts: JsonValue) -> Numbers:
        """Every number of the facts, and what follows from a before and an after: difference, ratio and percentage."""
        return cls(values=frozenset(_walk(facts)))

    def with_text(self, text: str) -> Numbers:
        """And those in the text of cited evidence."""
        return replace(self, values=self.values | {said.value for said in numbers_in(_split_names(text))})

    def hold(self, said: Said) -> bool:
        """Whether one of the values, rounded as `said` is, is what it says."""
        tolerance = said.half_unit * (1 + 1e-9)
        for value in self.values:
            candidates = [value]
            if said.unit == "%":
                candidates.append(value * 100)
            elif said.unit == "s":
                candidates.append(value / 1000)
            elif said.unit == "ms":
                candidates.append(value * 1000)
            if any(abs(abs(candidate) - said.value) <= tolerance for candidate in candidates):
                return True
        return False


def _split_names(text: str) -> str:
    """Makes the numbers in `app/cards.py:23-40` and `x3.7` stand alone; versions and times stay as they are."""
    return re.sub(r"(?<=\w):(?=\d)|(?<=\d)-(?=\d)|(?<![A-Za-z0-9])x(?=\d)|/", " ", text)


def _walk(value: JsonValue) -> Iterable[float]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, (int, float)):
        yield float(value)
    elif isinstance(value, str):
        yield from (said.value for said in numbers_in(_split_names(value)))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _walk(inner)
        for before in [key for key in value if "before" in key]:
            yield from _derived(value[before], value.get(before.replace("before", "after")))
    else:
        for inner in value:
            yield from _walk(inner)
        yield float(len(value))
        yield from _sums(value)


def _derived(before: JsonValue, after: JsonValue) -> Iterable[float]:
    if not isinstance(before, (int, float)) or not isinstance(after, (int, float)):
        return
    yield after - before
    if before:
        yield after / before
        yield (after - before) / before * 100
        yield (after - before) / before


def _sums(edges: Sequence[JsonValue]) -> Iterable[float]:
    """Of the calls and milliseconds of edges of one kind: "3 new calls explain 366 ms" is such a sum."""
    totals: dict[tuple[str, str], float] = {}
    counts: dict[str, int] = {}
    for edge in edges:
        if not isinstance(edge, Mapping) or "edge" not in edge:
            continue
        kind = str(edge.get("kind"))
        counts[kind] = counts.get(kind, 0) + 1
        for key, value in edge.items():
            if isinstance(value, (int, float)):
                totals[kind, key] = totals.get((kind, key), 0.0) + value
    yield from totals.values()
    yield from (float(count) for count in counts.values())
