"""Code locations of telemetry found in the repository at the running revision, and who wrote their lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from obsvty.evidence.clues import Clues
from obsvty.evidence.functions import FunctionRange, enclosing, functions_of, short_name
from obsvty.evidence.paths import is_third_party, normal_path, repository_path
from obsvty.model import CodeLocation
from obsvty.ports.git import GitProvider

_FRAME_DECAY: Final = 0.85  # each step away from where it broke
_OLD_NEWS: Final = 0.4  # a place that the baseline named too
_MAX_PLACES: Final = 60
_MAX_FUNCTION: Final = 150  # lines of a function that are blamed, around the line


@dataclass(frozen=True, kw_only=True)
class Place:
    """A code location in the repository. Weights of all places add up to 1."""

    path: str
    line: int
    function: str
    source: str  # span, log or stack
    count: int
    weight: float
    start: int  # of the enclosing function, or the line itself
    end: int


@dataclass(frozen=True, kw_only=True)
class PlaceBlame:
    """Who wrote a place: `line` is a revision or "", `share` revision -> share of the function's lines."""

    place: Place
    line: str
    share: Mapping[str, float]
    first: Mapping[str, int]  # revision -> its first line there


@runtime_checkable
class BlamesSince(Protocol):
    """A provider that can bound blame: on a long history ten times faster."""

    def blame_since(
        self,
        base: str,
        revision: str,
        file: str,
        ranges: Sequence[tuple[int, int]],
        *,
        ignore: Sequence[str] = (),
    ) -> Mapping[int, str]:
        """Line -> revision, only of lines written after `base`; `ignore` are revisions to look through."""
        ...


def find_places(git: GitProvider, head: str, clues: Clues, *, prefix: str = "") -> list[Place]:
    """In-app code locations and stack frames as repository places, heaviest first."""
    weighted: dict[tuple[str, int, str, str], tuple[float, int]] = {}

    def note(location: CodeLocation, weight: float) -> None:
        if location.file and not is_third_party(location.file):
            key = (location.file, location.line, location.function, location.source)
            old, count = weighted.get(key, (0.0, 0))
            weighted[key] = (old + weight, max(count, location.count))

    affected = max([clues.requests, *[c.count for c in clues.code]], default=1) or 1
    for location in clues.code:
        seen = (location.file, location.function) in clues.seen_before
        note(location, location.count / affected * (_OLD_NEWS if seen else 1.0))
    most = max((e.count for e in clues.exceptions), default=1) or 1
    for clue in clues.exceptions:
        in_app = [frame for frame in clue.frames if not is_third_party(frame.file)]
        for depth, frame in enumerate(in_app):
            note(frame, clue.count / most * _FRAME_DECAY**depth)

    texts: dict[str, tuple[str, list[FunctionRange]]] = {}
    files = {
        file: _in_repository(git, head, file, prefix, texts) for file in sorted({k[0] for k in weighted})
    }
    found: list[Place] = []
    for (file, line, function, source), (weight, count) in weighted.items():
        path = files[file]
        if path:
            around = enclosing(texts[path][1], line, function)
            start, end = (around.start, around.end) if around else (line, line)
            if end - start > _MAX_FUNCTION:
                start, end = max(start, line - _MAX_FUNCTION // 2), min(end, line + _MAX_FUNCTION // 2)
            name = short_name(function) or (around.name if around else "")
            found.append(
                Place(
                    path=path,
                    line=line,
                    function=name,
                    source=source,
                    count=count,
                    weight=weight,
                    start=start,
                    end=end,
                )
            )
    found.sort(key=lambda p: (-p.weight, p.path, p.line, p.function, p.source))
    found = found[:_MAX_PLACES]
    total = sum(place.weight for place in found) or 1.0
    return [_reweighted(place, place.weight / total) for place in found]


def blame_places(
    git: GitProvider, base: str, head: str, places: Sequence[Place], *, ignore: Sequence[str] = ()
) -> list[PlaceBlame]:
    """Blame of each place's line and function at `head`; lines as old as `base` belong to nobody.

    `ignore` names commits that only renamed or moved: what they wrote belongs to who wrote it first, if git can tell.
    """
    ranges: dict[str, list[tuple[int, int]]] = {}
    for place in places:
        if place.start > 0:
            ranges.setdefault(place.path, []).append((place.start, place.end))
    wrote: dict[str, Mapping[int, str]] = {}
    for path, wanted in sorted(ranges.items()):
        merged = _merged(wanted)
        if isinstance(git, BlamesSince):
            wrote[path] = git.blame_since(base, head, path, merged, ignore=ignore)
        else:
            wrote[path] = {
                line: revision
                for start, end in merged
                for line, revision in git.blame(head, path, start, end).items()
            }
    found: list[PlaceBlame] = []
    for place in places:
        lines = wrote.get(place.path, {})
        owned: dict[str, int] = {}
        first: dict[str, int] = {}
        for line in range(place.start, place.end + 1):
            revision = lines.get(line, "")
            if revision:
                owned[revision] = owned.get(revision, 0) + 1
                first.setdefault(revision, line)
        size = max(1, place.end - place.start + 1)
        share = {revision: count / size for revision, count in owned.items()}
        found.append(PlaceBlame(place=place, line=lines.get(place.line, ""), share=share, first=first))
    return found


def _in_repository(
    git: GitProvider, head: str, file: str, prefix: str, texts: dict[str, tuple[str, list[FunctionRange]]]
) -> str:
    """The repository path of a telemetry path; its text is put into `texts`."""
    parts = [part for part in normal_path(file).split("/") if part and part != ".."]
    if not parts or any(c in part for part in parts[-2:] for c in "*?["):
        return ""
    found: Mapping[str, str] = {}
    for depth in (2, 1):  # a folder above first: `models.py` alone can be a hundred files
        if len(parts) >= depth:
            found = git.files(head, "**/" + "/".join(parts[-depth:]))
            if found:
                break
    path = repository_path(file, list(found), prefix=prefix)
    if path and path not in texts:
        texts[path] = (found[path], functions_of(found[path]))
    return path


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _reweighted(place: Place, weight: float) -> Place:
    return Place(
        path=place.path,
        line=place.line,
        function=place.function,
        source=place.source,
        count=place.count,
        weight=weight,
        start=place.start,
        end=place.end,
    )
