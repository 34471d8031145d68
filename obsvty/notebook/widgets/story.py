"""What the chat shows beside the conversation, read from a sanitized context and from nothing else.

A saved notebook holds every value that a widget synchronizes, so nothing raw may come this way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, cast

from obsvty.model import JsonObject, JsonValue
from obsvty.privacy import SanitizedContext

_HUNK_HEAD: Final = re.compile(r"([0-9a-f]{12}) (\S.*)")
_CUT: Final = re.compile(r"\(\d+ more lines of [0-9a-f]{12}\)")  # how the context says that it left some out
_HUNKS_TITLE: Final = "## What the suspects changed"


def header(context: SanitizedContext) -> dict[str, JsonValue]:
    """Title, verdict and one sentence."""
    incident = _object(context.facts, "incident")
    operation, service = _text(incident, "operation"), _text(incident, "service")
    confidence = context.facts.get("confidence")
    return {
        "id": context.incident_id,
        "title": f"{operation} ({service})" if service else operation or context.incident_id,
        "headline": _text(incident, "headline"),
        "verdict": _text(context.facts, "verdict").replace("_", " "),
        "confidence": confidence if isinstance(confidence, int | float) else 0,
        "redactions": sum(context.redactions.values()),
        "context_bytes": len(context.text.encode()),
    }


def evidence(context: SanitizedContext) -> list[dict[str, JsonValue]]:
    """The numbered facts that an answer may cite."""
    return [
        {key: _text(item, key) for key in ("id", "kind", "text")}
        for item in _objects(context.facts, "evidence")
    ]


def suspect(context: SanitizedContext) -> dict[str, JsonValue]:
    """The leading commit with its lines; empty when none is named."""
    first = next(iter(_objects(context.facts, "suspects")), None)
    if first is None:
        return {}
    probability = first.get("probability")
    revision = _text(first, "revision")
    reasons = first.get("reasons")
    return {
        "revision": revision,
        "short": _text(first, "short") or revision[:7],
        "subject": _text(first, "subject"),
        "author": _text(first, "author"),
        "probability": probability if isinstance(probability, int | float) else 0,
        "reasons": [r for r in reasons if isinstance(r, str)] if isinstance(reasons, list | tuple) else [],
        "hunks": hunks(context.text, revision),
    }


def hunks(text: str, revision: str) -> list[JsonValue]:
    """The lines that a commit wrote, as the sanitized text shows them: `{"file": ..., "text": ...}`."""
    _, _, section = text.partition(_HUNKS_TITLE + "\n")
    found: list[tuple[str, list[str]]] = []
    mine = False
    for line in section.splitlines():
        if line.startswith("## "):  # the next section; lines of a hunk start with a blank, +, - or @
            break
        if head := _HUNK_HEAD.fullmatch(line):
            mine = revision.startswith(head[1])
            if mine:
                found.append((head[2], []))
        elif mine and not _CUT.fullmatch(line):
            found[-1][1].append(line)
    return [{"file": file, "text": "\n".join(lines).rstrip()} for file, lines in found]


def questions(context: SanitizedContext) -> list[str]:
    """What people ask first, for what there is to ask about."""
    facts = context.facts
    asked = ["What caused it?"]
    if next(iter(_objects(facts, "suspects")), None) is not None:
        asked += ["Why this commit and not another one?", "How do I fix it?"]
    else:
        asked += ["Why is no commit named?"]
    return [*asked, "What was ruled out?"]


def _object(facts: JsonObject, key: str) -> JsonObject:
    value = facts.get(key)
    return cast("JsonObject", value) if isinstance(value, Mapping) else {}


def _objects(facts: JsonObject, key: str) -> Sequence[JsonObject]:
    value = facts.get(key)
    if not isinstance(value, list | tuple):
        return []
    return [cast("JsonObject", item) for item in value if isinstance(item, Mapping)]


def _text(facts: JsonObject, key: str) -> str:
    value = facts.get(key)
    return value if isinstance(value, str) else ""
