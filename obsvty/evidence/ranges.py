"""From what telemetry calls a revision to the range of commits that can have caused something."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from obsvty.errors import RevisionUnknown
from obsvty.model import Deployment
from obsvty.ports.git import GitProvider

_HASH: Final = re.compile(r"[0-9a-f]{7,40}")
_NOT_ONE_COMMIT: Final = frozenset({"head", "main", "master", "develop", "trunk", "latest", "unknown", "dev"})


UNBOUNDED: Final = 50  # commits looked at when no last good revision is known


class CommitRange(NamedTuple):
    """`base..head`, both full revisions. `base` is empty when nothing tells where to begin, `head` when unknown."""

    base: str
    head: str
    reason: str


def choose_range(
    git: GitProvider,
    deployment: Deployment | None,
    *,
    base: str = "",
    head: str = "",
) -> CommitRange:
    """Base and head for `rank_suspects`, and where they came from.

    Args:
        git: the repository.
        deployment: what telemetry saw change, if anything.
        base: last good revision given by a person; wins over the deployment.
        head: running revision seen in the affected spans, when no deployment was seen.

    Raises:
        RepositoryMissing: there is no repository.
        RevisionUnknown: `base` was given by a person and does not exist.
    """
    running = _first(git, [head, deployment.to_revision, deployment.to_version] if deployment else [head])
    if not running:
        return CommitRange(base="", head="", reason="running revision unknown to this repository")
    if base:
        return CommitRange(base=git.resolve(base), head=running, reason="last good revision as given")
    if deployment is not None:
        good = _first(git, [deployment.from_revision, deployment.from_version])
        if good and good == running:
            return CommitRange(
                base=good, head=running, reason="the same revision was deployed before and after"
            )
        if good and is_ancestor(git, good, running):
            version = deployment.from_version or good[:7]
            return CommitRange(
                base=good, head=running, reason=f"last good deployment in telemetry ({version})"
            )
        if good and is_ancestor(git, running, good):
            return CommitRange(
                base=good,
                head=running,
                reason="a rollback: the running revision is older than the one before",
            )
        if good:
            return CommitRange(
                base=good,
                head=running,
                reason=f"the deployment before ({good[:7]}) is on another branch; commits only the running one has",
            )
    return CommitRange(
        base="",
        head=running,
        reason=f"no earlier deployment known: the last {UNBOUNDED} commits before the running one",
    )


def is_ancestor(git: GitProvider, older: str, newer: str) -> bool:
    """Whether `newer` contains `older`: then nothing of `older` is outside it."""
    return older == newer or not git.commits(newer, older, limit=1)


def resolve_telemetry_revision(git: GitProvider, text: str) -> str:
    """The commit that a revision or version attribute means, or `""`.

    Accepts a hash, `1.5.0+3580ae3`, `v1.5.0-12-g3580ae3`, and tags with or without their `v`. Names that move, such as
    `main`, are no answer: they say where a branch is now, not what was running.
    """
    text = text.strip()
    if not text or text.lower() in _NOT_ONE_COMMIT:
        return ""
    names = [text, f"v{text}", text.removeprefix("v")]
    names += [
        part.removeprefix("g")
        for part in re.split(r"[+_.-]", text)
        if _HASH.fullmatch(part.removeprefix("g"))
    ]
    for name in dict.fromkeys(names):
        try:
            return git.resolve(name)
        except RevisionUnknown:
            continue
    return ""


def _first(git: GitProvider, texts: list[str]) -> str:
    return next((found for found in (resolve_telemetry_revision(git, text) for text in texts) if found), "")
