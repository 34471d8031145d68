"""Numbers in words: which ones a sentence says, and which ones the facts allow it to say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from obsvty.model import JsonObject, JsonValue

Unit = Literal["ms", "s", "%", "ratio", "count", ""]  # "" is a number in words whose unit is not beside it

_NUMBER = re.compile(
    r"(?<![\w.])[-+\u2212]?(?P<digits>\d{1,3}(?:[,\u00a0\u202f]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"(?:\s*(?P<unit>%|percent\b|seconds?\b|s\b|ms\b|milliseconds?\b))?(?:\s?[x\u00d7](?!\w))?(?!\w|\.\d)",
    re.IGNORECASE,
)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T[\d:.]+Z?")  # no part of a time is a measurement
_LARGEST_ROUNDING = 0.02  # "370" for 366, "500" for 493; but not "400" for 366
_RATIOS = frozenset({"share_of_requests", "probability", "confidence", "score"})

_UNITS: Mapping[str, Unit] = {
    "%": "%",
    "percent": "%",
    "ms": "ms",
    "millisecond": "ms",
    "milliseconds": "ms",
    "s": "s",
    "second": "s",
    "seconds": "s",
}

# What a number in a sentence may have been in the facts: unit there -> factor to the unit said.
_READINGS: Mapping[Unit, Mapping[Unit, float]] = {
    "ms": {"ms": 1, "s": 1000, "": 1},
    "s": {"s": 1, "ms": 0.001, "": 1},
    "%": {"%": 1, "ratio": 100, "": 1},
    "": {"ms": 1, "s": 1, "%": 1, "ratio": 1, "count": 1, "": 1},
}


class Said(NamedTuple):
    """A number as it is written: its value, half of its last digit's place, and its unit."""

    value: float
    half_unit: float
    unit: Unit


class Known(NamedTuple):
    """A number that the facts hold."""

    value: float
    unit: Unit


def numbers_in(text: str) -> list[Said]:
    """All numbers of a sentence, signs dropped: "fell by 5" and "-5" say the same."""
    found: list[Said] = []
    for match in _NUMBER.finditer(text):
        digits = re.sub(r"[,\u00a0\u202f]", "", match["digits"])
        whole, _, decimals = digits.partition(".")
        zeros = len(whole) - len(whole.rstrip("0")) if not decimals and whole.strip("0") else 0
        value = float(digits)
        half = 0.5 * 10.0 ** (zeros - len(decimals))
        if zeros:  # "370" may be 366, within bounds
            half = max(0.5, min(half, _LARGEST_ROUNDING * value))
        found.append(Said(value, half, _unit(match["unit"] or "")))
    return found


def _unit(written: str) -> Unit:
    return _UNITS.get(written.lower(), "")


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The values that a sentence may say."""

    values: frozenset[Known]

    @classmethod
    def of_facts(cls, facts: JsonValue) -> Numbers:
        """Every number of the facts, and what follows from a before and an after: difference, ratio, percentage."""
        return cls(values=frozenset(_walk(facts, "")))

    def with_text(self, text: str) -> Numbers:
        """And those in the text of cited evidence."""
        return Numbers(values=self.values | set(_in_text(text)))

    def hold(self, said: Said) -> bool:
        """Whether one of the values, in a unit that fits and rounded as `said` is, is what it says."""
        tolerance = said.half_unit * (1 + 1e-9)
        readings = _READINGS[said.unit]
        return any(
            abs(abs(known.value) * readings[known.unit] - said.value) <= tolerance
            for known in self.values
            if known.unit in readings
        )


def _in_text(text: str) -> Iterable[Known]:
    # `app/cards.py:23-40` and `x3.7` fall apart into their numbers; versions stay whole and are none.
    apart = re.sub(r"(?<=\w):(?=\d)|(?<=\d)-(?=\d)|(?<![A-Za-z0-9])x(?=\d)|/", " ", _TIME.sub(" ", text))
    return (Known(said.value, said.unit) for said in numbers_in(apart))


def _walk(value: JsonValue, unit: Unit) -> Iterable[Known]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, (int, float)):
        yield Known(float(value), unit or "count")
    elif isinstance(value, str):
        yield from _in_text(value)
    elif isinstance(value, Mapping):
        yield from _walk_mapping(value)
    else:
        for inner in value:
            yield from _walk(inner, unit)
        yield Known(float(len(value)), "count")


def _walk_mapping(value: JsonObject) -> Iterable[Known]:
    for key, inner in value.items():
        unit = _unit_of(key, value)
        yield from _walk(inner, unit)
        if "before" in key:
            yield from _derived(inner, value.get(key.replace("before", "after")), unit)
    edges = value.get("edges")
    if isinstance(edges, Sequence) and not isinstance(edges, str):
        added = _number(value.get("ms_after")) - _number(value.get("ms_before"))
        yield from _of_edges([edge for edge in edges if isinstance(edge, Mapping)], added)


def _unit_of(key: str, siblings: JsonObject) -> Unit:
    if "ms" in key.split("_"):
        return "ms"
    if key in _RATIOS:
        return "ratio"
    told = siblings.get("unit") if key in ("before", "after") else ""
    return _unit(told) if isinstance(told, str) and told else "count"


def _derived(before: JsonValue, after: JsonValue, unit: Unit) -> Iterable[Known]:
    if not isinstance(before, (int, float)) or not isinstance(after, (int, float)):
        return
    yield Known(after - before, unit)
    if before:
        yield Known(after / before, "ratio")
        yield Known((after - before) / before, "ratio")


def _of_edges(edges: Sequence[JsonObject], added_ms: float) -> Iterable[Known]:
    """Sums over the edges of one kind, and their share: "3 new calls explain 366 of 370 ms, which is 99 %"."""
    for kind in sorted({str(edge.get("kind")) for edge in edges}):
        same = [edge for edge in edges if str(edge.get("kind")) == kind]
        total_ms = sum(_number(edge.get("delta_ms")) for edge in same)
        yield Known(float(len(same)), "count")
        yield Known(total_ms, "ms")
        for when in ("calls_before", "calls_after"):
            yield Known(sum(_number(edge.get(when)) for edge in same), "count")
        if added_ms:
            yield Known(total_ms / added_ms, "ratio")


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
