"""Which changed calls of an operation a commit's added lines make, directly or through a function they call."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from obsvty.evidence.candidates import Candidate, FileWords
from obsvty.evidence.functions import functions_of
from obsvty.evidence.words import Rarity, split_words
from obsvty.model import EdgeChange

# Verbs are on every line of their kind; hosts are usually configuration. Both help, neither decides.
_VERBS: Final = frozenset(
    split_words(
        "get post put patch delete head options select insert update from where set into order group limit join sqlite"
        " postgresql mysql mariadb redis mongodb kafka rabbitmq publish receive send process"
    )
)
_VERB_WEIGHT: Final = 0.3
_HOST_WEIGHT: Final = 0.4
_CALL_WEIGHT: Final = 0.8  # of a call through a function that was there before
_LOOPED_WEIGHT: Final = 0.75  # the same call as before, now beside a new loop
_SLOWER_WEIGHT: Final = 0.6  # an old call that takes longer may be the other side's doing
_MIN_FUNCTION_MATCH: Final = 0.6
_MAX_TEXTS: Final = 4000
_HOST: Final = re.compile(r"(?<![\w/.-])((?:[\w-]+\.)+[\w-]+(?::\d+)?|[\w-]+:\d+)(?=/|\s|$)")
_PLACEHOLDER: Final = re.compile(r"\{[^}]*\}|\?|\$\d+|%s|:\w+\b")


@dataclass(frozen=True, kw_only=True)
class EdgeMatch:
    """How well a commit explains one edge: `share` 0..1, where, and through which function if not directly."""

    edge: EdgeChange
    share: float
    path: str
    function: str = ""


def worse_edges(edges: Sequence[EdgeChange]) -> list[EdgeChange]:
    """Edges that add time, most first; `self` is among them."""
    return [e for e in edges if e.delta_ms > 0 and e.kind in ("new", "more_calls", "slower")]


def edge_words(edge: str) -> dict[str, float]:
    """Words of an edge's label with their weights: path segments and tables 1, hosts and verbs less."""
    hosts = " ".join(_HOST.findall(edge))
    rest = _PLACEHOLDER.sub(" ", _HOST.sub(" ", edge))
    weights = dict.fromkeys(split_words(hosts), _HOST_WEIGHT)
    for word in split_words(rest):
        weights[word] = _VERB_WEIGHT if word in _VERBS else 1.0
    return weights


def match_edges(
    edges: Sequence[EdgeChange], candidates: Sequence[Candidate], texts: Mapping[str, str]
) -> list[list[EdgeMatch]]:
    """For each candidate the edges that its changed lines explain.

    Args:
        edges: those that got worse.
        candidates: the commits.
        texts: repository path -> source text at the running revision, to find functions that make a call.
    """
    rarity = Rarity([{w for f in c.words.values() for w in f.added} for c in candidates if c.words])
    found: list[list[EdgeMatch]] = [[] for _ in candidates]
    for edge in edges:
        wanted = edge_words(edge.edge) if edge.edge != "self" else {}
        if not any(weight == 1.0 for weight in wanted.values()):
            continue
        weights = {word: weight * rarity.of(word) for word, weight in wanted.items()}
        makers = _functions_that_make(wanted, texts)
        for place, candidate in enumerate(candidates):
            best = _best(edge, weights, makers, candidate)
            if best is not None:
                found[place].append(best)
    return found


def _best(
    edge: EdgeChange, weights: Mapping[str, float], makers: Mapping[str, float], candidate: Candidate
) -> EdgeMatch | None:
    """The best of a candidate's files for one edge."""
    total = sum(weights.values())
    best: EdgeMatch | None = None
    for path, words in sorted(candidate.words.items()):
        direct = sum(weight * words.weight(word) for word, weight in weights.items()) / total
        through, function = _through(edge, makers, words)
        share = max(direct, through)
        share *= _SLOWER_WEIGHT if edge.kind == "slower" else 1.0
        if share > 0.15 and (best is None or share > best.share):
            best = EdgeMatch(edge=edge, share=share, path=path, function=function if through > direct else "")
    return best


def _through(edge: EdgeChange, makers: Mapping[str, float], words: FileWords) -> tuple[float, str]:
    best, function = 0.0, ""
    for name in sorted(words.calls):
        made = makers.get(name, 0.0)
        if name in words.new_calls:
            made *= _CALL_WEIGHT
        elif words.loops and edge.kind == "more_calls":
            made *= _LOOPED_WEIGHT
        else:
            made *= 0.2
        if made > best:
            best, function = made, name
    return best, function


def _functions_that_make(wanted: Mapping[str, float], texts: Mapping[str, str]) -> dict[str, float]:
    """Function name -> share of the edge's words that its body holds, and of the functions that call only those."""
    total = sum(wanted.values())
    strong = [word for word, weight in wanted.items() if weight == 1.0]
    found: dict[str, float] = {}
    for _, text in sorted(texts.items())[:_MAX_TEXTS]:
        lower = text.lower()
        if not any(word in lower for word in strong):
            continue
        lines = text.splitlines()
        for function in functions_of(text):
            body = set(split_words("\n".join(lines[function.start - 1 : function.end])))
            share = sum(weight for word, weight in wanted.items() if word in body) / total
            if share >= _MIN_FUNCTION_MATCH and any(word in body for word in strong):
                found[function.name] = max(found.get(function.name, 0.0), share)
    if not found:
        return {}
    best = max(found.values())
    return {name: share for name, share in found.items() if share >= 0.8 * best}
