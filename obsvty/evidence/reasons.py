"""Why a commit is a suspect, in sentences with numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from obsvty.evidence.calls import EdgeMatch
from obsvty.evidence.clues import Clues
from obsvty.evidence.places import PlaceBlame

if TYPE_CHECKING:
    from obsvty.evidence.suspects import Scored

_MIN_SHARE: Final = 0.35  # a weaker match is a coincidence of words, not a reason
_KINDS: Final[Mapping[str, str]] = {"new": "new", "more_calls": "more frequent", "slower": "slower"}


def explain(item: Scored, clues: Clues, candidates: int) -> tuple[str, ...]:
    """Reasons for (and against) a candidate, strongest first. They quote telemetry: raw."""
    reasons = [*_edges(item, clues), *_blame(item, clues), *_touched(item)]
    features = item.features
    if features["text"] >= 0.5:
        where = "best" if features["text"] >= 1.0 else f"{features['text']:.0%} as well as the best"
        reasons.append(f"its words match the telemetry's {where} of {candidates} candidates")
    if features["handler"] >= 1.0:
        reasons.append("changes code beside the operation's route")
    candidate = item.candidate
    if item.reverted_by:
        reasons.append(f"against: {item.reverted_by[:7]} reverts it before the running revision")
    elif candidate.is_dependency_bump:
        reasons.append("changes dependency versions only; its diff cannot show what they do")
    elif not candidate.is_code:
        reasons.append("against: changes no code, only documents, tests or comments")
    elif candidate.words and candidate.sameness > 0.7:
        reasons.append(f"against: {candidate.sameness:.0%} of its lines are moved or renamed, not new")
    return tuple(reasons) or ("only a few common words and its age speak for it",)


def _edges(item: Scored, clues: Clues) -> list[str]:
    groups: dict[tuple[str, str], list[EdgeMatch]] = {}
    for match in item.edges:
        if match.share >= _MIN_SHARE:
            groups.setdefault((match.edge.kind, match.function), []).append(match)
    out: list[tuple[float, str]] = []
    for (kind, function), matches in groups.items():
        ms = sum(m.edge.delta_ms for m in matches)
        total = max(clues.delta_ms, ms)
        names = shorten_edges([m.edge.edge for m in matches])
        calls = f"{len(matches)} {_KINDS[kind]} call{'s' if len(matches) > 1 else ''} {names}"
        verb = f"calls {function}(), which makes" if function else ("adds" if kind == "new" else "changes")
        out.append((-ms, f"{verb} the {calls} ({ms:.0f} of {total:.0f} ms)"))
    return [text for _, text in sorted(out)]


def _blame(item: Scored, clues: Clues) -> list[str]:
    revision = item.candidate.commit.revision
    lines = sorted(
        (b for b in item.blames if b.line == revision),
        key=lambda b: (-b.place.weight, b.place.path, b.place.line),
    )
    out = [f"wrote {b.place.path}:{b.place.line}, {_what(b, clues)}" for b in lines[:3]]
    parts = [b for b in item.blames if b.line != revision and b.share.get(revision, 0) > 0]
    parts.sort(key=lambda b: (-b.place.weight * b.share[revision], b.place.path, b.place.line))
    told = {(b.place.path, b.place.function) for b in lines}
    for b in parts:
        if (b.place.path, b.place.function) not in told and len(out) < 4:
            told.add((b.place.path, b.place.function))
            name = f"{b.place.function}()" if b.place.function else "the lines"
            out.append(
                f"wrote {b.share[revision]:.0%} of {name} in {b.place.path}, {_what(b, clues)}"
                if b.share[revision] >= 0.005
                else f"wrote a line of {name} in {b.place.path}"
            )
    return out


def _what(blame: PlaceBlame, clues: Clues) -> str:
    place = blame.place
    if place.source == "stack":
        return "a frame of the stack trace"
    verb = "logged" if place.source == "log" else "ran"
    noun = "slow requests" if clues.delta_ms > 0 else "requests looked at"
    return f"which {verb} inside {place.count} of {max(clues.requests, place.count)} {noun}"


def _touched(item: Scored) -> list[str]:
    revision = item.candidate.commit.revision
    wrote = {(b.place.path, b.place.function) for b in item.blames if revision in b.share}
    names = sorted({(p.path, p.function) for p in item.touched if p.function} - wrote)
    return [f"changed {name}() in {path}, which telemetry names" for path, name in names[:2]]


def shorten_edges(edges: Sequence[str]) -> str:
    """`POST host/issuer/{bin,avs,velocity}` for calls that differ only in their last path segment."""
    heads = {edge.rpartition("/")[0] for edge in edges}
    if (
        len(edges) > 1
        and len(heads) == 1
        and "" not in heads
        and not any(" " in e.rpartition("/")[2] for e in edges)
    ):
        tails = ",".join(edge.rpartition("/")[2] for edge in edges)
        return f"{heads.pop()}/{{{tails}}}"
    shown = [re.sub(r"\s+", " ", edge)[:80] for edge in edges[:3]]
    more = f" and {len(edges) - 3} more" if len(edges) > 3 else ""
    return ", ".join(shown) + more
