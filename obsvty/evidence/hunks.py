"""A commit's diff as file patches and hunks with the line numbers of the new file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchSet

from obsvty.model import Hunk

FileKind = Literal["source", "test", "docs", "lock", "manifest", "config", "other"]

_MAX_PATCH: Final = 300_000  # characters; larger ones are generated, and parsing them costs seconds
_LOCKS: Final = frozenset(
    {
        "uv.lock",
        "poetry.lock",
        "pipfile.lock",
        "package-lock.json",
        "npm-shrinkwrap.json",
        "yarn.lock",
        "bun.lock",
    }
    | {
        "pnpm-lock.yaml",
        "go.sum",
        "cargo.lock",
        "gemfile.lock",
        "composer.lock",
        "packages.lock.json",
        "flake.lock",
    }
    | {"gradle.lockfile", "requirements.lock"}
)
_MANIFESTS: Final = frozenset(
    {"pyproject.toml", "setup.cfg", "setup.py", "pipfile", "package.json", "go.mod", "cargo.toml", "gemfile"}
    | {"composer.json", "pom.xml", "build.gradle", "build.gradle.kts"}
)
_DOCS: Final = frozenset({".md", ".rst", ".txt", ".adoc", ".mdx"})
_CONFIG: Final = frozenset(
    {".yaml", ".yml", ".toml", ".ini", ".cfg", ".env", ".conf", ".properties", ".tf", ".json"}
)
_OTHER: Final = frozenset(
    {
        ".po",
        ".pot",
        ".mo",
        ".svg",
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".ico",
        ".map",
        ".snap",
        ".csv",
        ".lock",
        ".pdf",
    }
    | {".woff", ".woff2", ".ttf", ".css", ".scss", ".less"}
)
# Not `test` and `testing` anywhere: packages ship such folders as code (`django/test`, `sqlalchemy/testing`).
_TESTS: Final = frozenset({"tests", "spec", "specs", "__tests__", "testdata", "e2e"})
_COMMENT: Final = ("#", "//", "/*", "*", "--", "<!--", "%", ";;")


@dataclass(frozen=True, kw_only=True)
class HunkPatch:
    """One hunk. `start` and `end` bound the lines it added; where it only removed, both are the line after the gap."""

    start: int
    end: int
    section: str  # what git prints after the second @@: usually the enclosing function
    text: str
    added: tuple[tuple[int, str], ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FilePatch:
    """What a commit did to one file. `hunks` is empty for binary, odd, generated and purely renamed files."""

    path: str
    old_path: str
    change: Literal["added", "removed", "renamed", "changed"]
    kind: FileKind
    hunks: tuple[HunkPatch, ...]

    @property
    def only_comments(self) -> bool:
        """Whether each line added or removed is blank or a comment."""
        lines = [line for hunk in self.hunks for line in (*[text for _, text in hunk.added], *hunk.removed)]
        return bool(lines) and all(not line.strip() or line.strip().startswith(_COMMENT) for line in lines)


def parse_diff(text: str) -> list[FilePatch]:
    """File patches of a unified diff, in its order.

    Files are parsed one by one: git prints a binary file without a NUL byte as text, which would fail all of them.
    """
    starts = [0] if text.startswith("diff --git ") else []
    at = text.find("\ndiff --git ")
    while at >= 0:
        starts.append(at + 1)
        at = text.find("\ndiff --git ", at + 1)
    patches: list[FilePatch] = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=False):
        patch = _parse_file(text[start:end])
        if patch is not None:
            patches.append(patch)
    return patches


def to_hunk(path: str, hunk: HunkPatch) -> Hunk:
    """The model's value for a hunk of a file."""
    return Hunk(file=path, start=hunk.start, end=hunk.end, text=hunk.text)


def file_kind(path: str) -> FileKind:
    """What a repository path is, from its name alone."""
    pure = PurePosixPath(path.lower())
    folders = set(pure.parts[:-1])
    if pure.name in _LOCKS:
        return "lock"
    if pure.name in _MANIFESTS or (pure.name.startswith("requirements") and pure.suffix == ".txt"):
        return "manifest"
    if folders & _TESTS or _test_name(pure) or pure.parts[0] == "test" or "src/test/" in path:
        return "test"
    if pure.suffix in _DOCS or folders & {"docs", "doc"} or pure.name in {"license", "authors", "codeowners"}:
        return "docs"
    if pure.suffix in _OTHER or folders & {"locale", "locales"}:
        return "other"
    if pure.suffix in _CONFIG or pure.name.startswith((".", "dockerfile")) or folders & {".github", ".ci"}:
        return "config"
    return "source"


def _test_name(path: PurePosixPath) -> bool:
    stem = path.stem
    return (
        stem.startswith("test_") or stem.endswith(("_test", "_spec", ".test", ".spec")) or stem == "conftest"
    )


def _parse_file(text: str) -> FilePatch | None:
    path, old_path, change = _names(text)
    if not path:
        return None
    kind = file_kind(path)
    hunks: tuple[HunkPatch, ...] = ()
    at = text.find("\n--- ")
    if at >= 0 and kind not in ("lock", "other") and len(text) <= _MAX_PATCH:
        try:
            hunks = tuple(_hunks(text[at + 1 :]))
        except UnidiffParseError:
            hunks = ()
    return FilePatch(path=path, old_path=old_path, change=change, kind=kind, hunks=hunks)


def _names(text: str) -> tuple[str, str, Literal["added", "removed", "renamed", "changed"]]:
    """New path, old path, kind of change, from git's header lines (which hold paths with blanks unambiguously)."""
    old = new = renamed_from = renamed_to = ""
    change: Literal["added", "removed", "renamed", "changed"] = "changed"
    first, _, rest = text.partition("\n")
    for line in rest.split("\n"):
        if line.startswith("@@"):
            break
        if line.startswith("new file mode"):
            change = "added"
        elif line.startswith("deleted file mode"):
            change = "removed"
        elif line.startswith("rename from "):
            renamed_from, change = line.removeprefix("rename from "), "renamed"
        elif line.startswith("rename to "):
            renamed_to = line.removeprefix("rename to ")
        elif line.startswith("--- "):
            old = line[4:].rstrip("\t\r").removeprefix("a/")
        elif line.startswith("+++ "):
            new = line[4:].rstrip("\t\r").removeprefix("b/")
            break
    if not new:  # binary, renamed without an edit, or an empty file: `diff --git a/NAME b/NAME`
        half = first.removeprefix("diff --git a/")
        same = half[: max(0, (len(half) - 3) // 2)]
        new = renamed_to or (same if half == f"{same} b/{same}" else half.rpartition(" b/")[2])
        old = renamed_from or new
    if new == "/dev/null":
        new = old
    return new, renamed_from or ("" if old == "/dev/null" else old), change


def _hunks(text: str) -> list[HunkPatch]:
    found: list[HunkPatch] = []
    for file in PatchSet(text):
        for hunk in file:
            added: list[tuple[int, str]] = []
            removed: list[str] = []
            next_line = hunk.target_start
            gap = 0
            for line in hunk:
                if line.is_added:
                    added.append((line.target_line_no or next_line, line.value.rstrip("\r\n")))
                elif line.is_removed:
                    removed.append(line.value.rstrip("\r\n"))
                    gap = gap or next_line
                if not line.is_removed and line.target_line_no:
                    next_line = line.target_line_no + 1
            start = added[0][0] if added else max(1, gap)
            end = added[-1][0] if added else max(1, gap)
            found.append(
                HunkPatch(
                    start=start,
                    end=end,
                    section=hunk.section_header or "",
                    text="".join(str(line) for line in hunk),
                    added=tuple(added),
                    removed=tuple(removed),
                )
            )
    return found
