"""Passages of the repository's own documentation that speak about a change, found by their words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from obsvty.evidence.calls import worse_edges
from obsvty.evidence.clues import Clues
from obsvty.evidence.words import bm25, split_words
from obsvty.model import Document, Suspect
from obsvty.ports.git import GitProvider

_PATTERNS: Final = ("**/*.md", "**/*.rst")
_MAX_FILES: Final = 2000
_PASSAGE: Final = 1200  # characters; about 300 tokens
_TITLE_WEIGHT: Final = 3  # a word in the title or path counts as often
_MIN_MATCHED: Final = 2  # different query words; a single common one finds anything
# Not about how the system should be built.
_SKIPPED: Final = ("changelog", "changes", "license", "code_of_conduct", "security", "authors", "release")
# What people write about when they describe the remedy for a kind of change.
_REMEDIES: Final[Mapping[str, str]] = {
    "new": "slow synchronous call request path handler partner external async asynchronous queue worker background"
    " pending timeout",
    "more_calls": "batch bulk prefetch join loop query n+1 cache index",
    "slower": "slow timeout latency cache index pool connection limit retry",
    "exception": "error failure validation retry fallback exception handling",
}


@dataclass(frozen=True, kw_only=True)
class _Passage:
    path: str
    title: str
    text: str


def document_words(clues: Clues, suspect: Suspect | None = None) -> dict[str, float]:
    """The query for `find_documents`: what changed, the suspect's subject, and words of remedies."""
    words: dict[str, float] = {}

    def add(text: str, weight: float) -> None:
        for word in split_words(text):
            words[word] = max(words.get(word, 0.0), weight)

    worse = [edge for edge in worse_edges(clues.edges) if edge.edge != "self"]
    for kind in dict.fromkeys(edge.kind for edge in worse[:10]):
        add(_REMEDIES.get(kind, ""), 1.0)
    if clues.exceptions and not worse:
        add(_REMEDIES["exception"], 1.0)
    for edge in worse[:10]:
        add(edge.edge, 0.7)
    if suspect is not None:
        add(suspect.commit.subject, 1.0)
        add(" ".join(PurePosixPath(hunk.file).stem for hunk in suspect.hunks), 0.5)
    for clue in clues.exceptions[:5]:
        add(clue.type.rsplit(".", 1)[-1], 0.7)
    add(clues.operation, 0.5)
    return words


def find_documents(
    git: GitProvider, revision: str, words: Iterable[str] | Mapping[str, float], *, limit: int = 3
) -> list[Document]:
    """Passages of Markdown and reStructuredText files at a revision, best first, at most one of a file.

    Args:
        git: the repository.
        revision: the running revision: advice that is not deployed yet is not advice.
        words: the query, equally heavy or with weights (`document_words`).
        limit: how many.

    Raises:
        RevisionUnknown: the repository does not hold the revision.
    """
    weights = dict(words) if isinstance(words, Mapping) else dict.fromkeys(words, 1.0)
    query: dict[str, float] = {}
    for text, weight in weights.items():
        for word in split_words(text):
            query[word] = max(query.get(word, 0.0), weight)
    revision = git.resolve(revision)
    texts: dict[str, str] = {}
    for pattern in _PATTERNS:
        texts.update(git.files(revision, pattern))
    passages = [
        passage
        for path, text in sorted(texts.items())[:_MAX_FILES]
        if not PurePosixPath(path).stem.lower().startswith(_SKIPPED)
        for passage in _passages(path, text)
    ]
    scores = bm25(query, [_words_of(passage) for passage in passages])
    ranked = sorted(zip(scores, passages, strict=True), key=lambda pair: (-pair[0], pair[1].path))
    found: dict[str, Document] = {}
    for score, passage in ranked:
        matched = len(query.keys() & _words_of(passage).keys())
        if score > 0 and matched >= _MIN_MATCHED and passage.path not in found:
            found[passage.path] = Document(
                path=passage.path,
                revision=revision,
                title=passage.title,
                excerpt=passage.text,
                score=round(score, 4),
            )
    return list(found.values())[:limit]


def _words_of(passage: _Passage) -> Counter[str]:
    words = Counter(split_words(passage.text))
    for word in split_words(f"{passage.title} {PurePosixPath(passage.path).stem}"):
        words[word] += _TITLE_WEIGHT
    return words


def _passages(path: str, text: str) -> list[_Passage]:
    """The file cut at its headings, long sections at paragraphs; a section carries the file's title and its own."""
    title, heading = PurePosixPath(path).stem, ""
    found: list[_Passage] = []
    block: list[str] = []
    first = True

    def close() -> None:
        body = "\n".join(block).strip()
        block.clear()
        if body:
            name = f"{title}: {heading}" if heading else title
            found.append(_Passage(path=path, title=name, text=body))

    lines = text.splitlines()
    fenced = False
    for at, line in enumerate(lines):
        fenced ^= line.lstrip().startswith("```")
        name = "" if fenced else _heading(lines, at)
        if name:
            close()
            if first:
                title, first = name, False
            else:
                heading = name
        elif not _is_underline(lines, at):
            block.append(line)
            if not line.strip() and sum(map(len, block)) > _PASSAGE:
                close()
    close()
    return [_Passage(path=p.path, title=p.title, text=p.text[:_PASSAGE]) for p in found]


def _heading(lines: list[str], at: int) -> str:
    line = lines[at].strip()
    if line.startswith("#"):
        return line.lstrip("#").strip()
    if line and at + 1 < len(lines) and _is_underline(lines, at + 1):
        return line
    return ""


def _is_underline(lines: list[str], at: int) -> bool:
    line = lines[at].strip()
    return (
        at > 0
        and len(line) >= 3
        and line[0] in "=-~^*"
        and set(line) == {line[0]}
        and bool(lines[at - 1].strip())
    )
