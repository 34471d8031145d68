"""What an investigation ends in: evidence, insight, egress, alert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal[
    "code_change",
    "dependency",
    "traffic",
    "infrastructure",
    "configuration",
    "inconclusive",
    "no_incident",
]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One numbered fact. `refs` point to where it can be seen again: trace_id, edge, revision, file, line ..."""

    id: str
    kind: str
    text: str
    refs: Mapping[str, str | int | float] = field(default_factory=dict[str, "str | int | float"])


@dataclass(frozen=True, kw_only=True)
class Insight:
    """The checked answer in words. Claims that failed the check are in `struck`, not in the text."""

    engine: str
    cause: str
    suggestion: str
    citations: tuple[str, ...]
    tokens: int = 0  # of prompt and answer together; 0 when no model was asked
    struck: tuple[str, ...] = ()
    note: str = ""  # e.g. "no model was asked"


@dataclass(frozen=True, kw_only=True)
class EgressSummary:
    """What left this machine for one incident, and what would leave if a model were asked."""

    entries: int = 0
    bytes: int = 0
    redactions: Mapping[str, int] = field(default_factory=dict[str, int])
    would_send_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What a person reads at 3 a.m.: one screen. Plug-ins get it through the gate (`SanitizedAlert`)."""

    incident_id: str
    key: str  # idempotency: the same key is never delivered twice
    mark: Literal["action_required", "action_suggested", "resolved", "inconclusive"]
    title: str
    summary: str
    why: str
    fix: str
    fields: tuple[tuple[str, str], ...]  # label, value
    footer: str
    text: str  # plain text of the whole, for phones and logs
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where an alert went."""

    destination: str
    reference: str = ""  # message ts, file line, URL
