"""How much of a commit only moves or renames what was there: such commits own lines without having caused anything.

Comparing words is not enough: `<` made `<=` keeps every word. So moved lines must be equal, and a rename must map each
old name to one new name that the same change also binds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from obsvty.evidence.hunks import FilePatch

_TOKEN: Final = re.compile(r"\w+|[^\w\s]")
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_MIN_LINE: Final = 4  # characters; brackets and `else:` are everywhere


def sameness(patches: Sequence[FilePatch]) -> float:
    """Share of a commit's added code lines that it also removed, 1 for a pure rename; 0 all new."""
    if is_rename(patches):
        return 1.0
    added: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    for patch in patches:
        if patch.kind == "source":
            for hunk in patch.hunks:
                added.update(_told(line) for _, line in hunk.added)
                removed.update(_told(line) for line in hunk.removed)
    del added[""], removed[""]
    larger = max(added.total(), removed.total())
    return (added & removed).total() / larger if larger else 0.0


def is_rename(patches: Sequence[FilePatch]) -> bool:
    """Whether the source lines differ only in names, each old one replaced by one new one that is bound here too."""
    mapping: dict[str, str] = {}
    lines: list[str] = []
    for patch in patches:
        if patch.kind != "source":
            continue
        for hunk in patch.hunks:
            after = [line for _, line in hunk.added]
            if len(after) != len(hunk.removed):
                return False
            lines += after
            for old, new in zip(hunk.removed, after, strict=True):
                if not _maps(_TOKEN.findall(old), _TOKEN.findall(new), mapping):
                    return False
    changed = {old: new for old, new in mapping.items() if old != new}
    if not changed or len(set(changed.values())) != len(changed):
        return False
    text = "\n".join(lines)
    return all(_is_bound(name, text) for name in changed.values())


def _maps(old: Sequence[str], new: Sequence[str], mapping: dict[str, str]) -> bool:
    if len(old) != len(new):
        return False
    for before, after in zip(old, new, strict=True):
        names = _NAME.fullmatch(before) and _NAME.fullmatch(after)
        if before != after and not names:
            return False
        if names and mapping.setdefault(before, after) != after:
            return False
    return True


def _is_bound(name: str, text: str) -> bool:
    word = re.escape(name)
    assigned = rf"\b{word}\b\s*(?::[^=\n]+)?(?::?=)(?!=)"
    declared = rf"\b(?:for|as|def|class|func|fn|function|let|const|var|val)\s+{word}\b"
    return re.search(f"{assigned}|{declared}", text) is not None


def _told(line: str) -> str:
    text = line.strip()
    return text if len(text) >= _MIN_LINE else ""
