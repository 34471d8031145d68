"""Each candidate commit read once: its files, the words it added and removed, the functions it touched and calls."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from obsvty.errors import RevisionUnknown
from obsvty.evidence.functions import called_names, opened_function
from obsvty.evidence.hunks import FilePatch, HunkPatch, parse_diff
from obsvty.evidence.sameness import sameness
from obsvty.evidence.words import split_words
from obsvty.model import Commit
from obsvty.ports.git import GitProvider

_HASH: Final = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,40}\b")
_REVERTS: Final = re.compile(r"This reverts commit ([0-9a-f]{7,40})")
_LOOP: Final = re.compile(r"\b(?:for|while|foreach|each|map|gather|all)\b|\.(?:map|each|forEach)\b")
_CODE: Final = ("source", "config")


@dataclass(frozen=True, kw_only=True)
class FileWords:
    """Words of one file's changed lines. `net` holds those that it has more of than before."""

    added: Mapping[str, int]
    removed: Mapping[str, int]
    calls: frozenset[str]  # names called in added lines
    new_calls: frozenset[str]  # of these, the ones called more often than before
    loops: bool  # an added line opens a loop

    def weight(self, word: str) -> float:
        """1 for a word it has more of, a third for one it only moved or rewrote, else 0."""
        added = self.added.get(word, 0)
        if added > self.removed.get(word, 0):
            return 1.0
        return 0.35 if added else 0.0


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A commit of the range and what its diff says."""

    commit: Commit
    place: int  # 0 is the newest
    patches: tuple[FilePatch, ...]
    words: Mapping[str, FileWords]  # by path; code only
    document: Mapping[str, float]  # all words of diff and message, for BM25
    functions: frozenset[tuple[str, str]]  # (path, name) of functions with changed lines
    mentions: frozenset[str]  # hashes in its message, possibly abbreviated
    reverts: str  # the revision it says it reverts, or ""
    sameness: float  # how much of its code is moved or renamed instead of new: 0 all new, 1 none

    @property
    def paths(self) -> frozenset[str]:
        """Files it touched, under their new names."""
        return frozenset(patch.path for patch in self.patches)

    @property
    def is_code(self) -> bool:
        """Whether it changed anything that runs: not only documents, tests, locks, manifests or comments."""
        return any(patch.kind in _CODE and not _is_idle(patch) for patch in self.patches)

    @property
    def is_dependency_bump(self) -> bool:
        """Whether it changed only lock files and manifests (and prose)."""
        kinds = {patch.kind for patch in self.patches}
        return bool(kinds & {"lock", "manifest"}) and kinds <= {"lock", "manifest", "docs"}


def read_candidates(git: GitProvider, commits: Sequence[Commit], *, prefix: str = "") -> list[Candidate]:
    """Candidates in the order of `commits`; merges and commits without a diff have no patches.

    Args:
        git: where the diffs are.
        commits: newest first.
        prefix: a service's folder in a monorepo; changes outside it count as text only.
    """
    return [_read(git, commit, place, prefix) for place, commit in enumerate(commits)]


def _read(git: GitProvider, commit: Commit, place: int, prefix: str) -> Candidate:
    try:
        patches = tuple(parse_diff(git.diff(commit.revision))) if len(commit.parents) < 2 else ()
    except RevisionUnknown:  # the edge of a shallow clone: the commit is known, its parent is not
        patches = ()
    words: dict[str, FileWords] = {}
    document: Counter[str] = Counter(split_words(f"{commit.subject}\n{commit.body}"))
    functions: set[tuple[str, str]] = set()
    for patch in patches:
        document.update(split_words(patch.path))
        if patch.kind in ("docs", "lock", "other"):
            continue
        for hunk in patch.hunks:
            document.update(split_words("\n".join([*[t for _, t in hunk.added], *hunk.removed])))
        if patch.kind in _CODE and patch.hunks:
            words[patch.path] = _file_words(patch)
            functions.update((patch.path, name) for hunk in patch.hunks for name in touched_functions(hunk))
    if prefix:
        inside = prefix.strip("/") + "/"
        words = {path: value for path, value in words.items() if path.startswith(inside)}
    reverts = _REVERTS.search(commit.body)
    return Candidate(
        commit=commit,
        place=place,
        patches=patches,
        words=words,
        document=document,
        functions=frozenset(functions),
        mentions=frozenset(_HASH.findall(commit.body)),
        reverts=reverts[1] if reverts else "",
        sameness=sameness(patches),
    )


def touched_functions(hunk: HunkPatch) -> set[str]:
    """Names of the functions that hold a hunk's changed lines, as far as its context shows."""
    current = opened_function(hunk.section)
    found: set[str] = set()
    for line in hunk.text.split("\n"):
        current = opened_function(line[1:]) or current
        if line[:1] in ("+", "-") and line[1:].strip() and current:
            found.add(current)
    return found


def _file_words(patch: FilePatch) -> FileWords:
    added_lines = [text for hunk in patch.hunks for _, text in hunk.added]
    removed_lines = [text for hunk in patch.hunks for text in hunk.removed]
    called = Counter(name for line in added_lines for name in called_names(line))
    uncalled = Counter(name for line in removed_lines for name in called_names(line))
    return FileWords(
        added=Counter(split_words("\n".join(added_lines))),
        removed=Counter(split_words("\n".join(removed_lines))),
        calls=frozenset(called),
        new_calls=frozenset(name for name in called if called[name] > uncalled[name]),
        loops=any(_LOOP.search(line) for line in added_lines),
    )


def _is_idle(patch: FilePatch) -> bool:
    return patch.only_comments or (not patch.hunks and patch.change == "renamed")
