"""What a repository says: commits, hunks, suspects, documents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from obsvty.model.base import JsonValue, rfc3339


@dataclass(frozen=True, kw_only=True)
class CodeLocation:
    """A place in the code that telemetry named. `line` is of the running revision; 0 when unknown."""

    file: str  # as sent: absolute, container or repository path
    line: int = 0
    function: str = ""
    source: Literal["span", "log", "stack"] = "span"
    count: int = 1  # how many spans or logs said so


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit, as git tells it."""

    revision: str  # 40 hex
    author: str
    email: str
    time: datetime
    subject: str
    body: str = ""
    parents: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Hunk:
    """Lines of the new file that a commit wrote; `start` and `end` inclusive."""

    file: str
    start: int
    end: int
    text: str = ""  # the hunk's body, unified-diff lines; raw

    @property
    def place(self) -> str:
        """`app/cards.py:18-23`, or `app/cards.py:23` for one line."""
        return (
            f"{self.file}:{self.start}" if self.start == self.end else f"{self.file}:{self.start}-{self.end}"
        )


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A candidate commit with its score and the reasons for it."""

    commit: Commit
    score: float
    probability: float  # over all candidates and "no commit explains this"
    hunks: tuple[Hunk, ...]
    reasons: tuple[str, ...]
    rank: int = 0
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """The answer to "which commit": ranked suspects, or why no commit is named."""

    suspects: tuple[Suspect, ...]
    candidates: int
    base: str  # full revision that the candidates start after; "" when unknown
    head: str  # full running revision; "" when unknown
    base_reason: str  # where base came from: "last good deployment in telemetry", "--base", ...
    none_probability: float = 0.0  # that no commit of the window explains it
    abstained: str = ""  # the reason why no suspect is named; "" when one is


@dataclass(frozen=True, kw_only=True)
class Document:
    """A passage of the repository's own documentation at the running revision, found by its words."""

    path: str
    revision: str
    title: str
    excerpt: str
    score: float


def suspect_dict(suspect: Suspect) -> dict[str, JsonValue]:
    """A suspect as the contract's JSON; `obsvty suspects --json` prints the same."""
    return {
        "rank": suspect.rank,
        "revision": suspect.commit.revision,
        "score": round(suspect.score, 4),
        "probability": round(suspect.probability, 4),
        "author": suspect.commit.author,
        "time": rfc3339(suspect.commit.time),
        "subject": suspect.commit.subject,
        "hunks": [{"file": h.file, "start": h.start, "end": h.end} for h in suspect.hunks],
        "reasons": list(suspect.reasons),
        "evidence": list(suspect.evidence),
    }
