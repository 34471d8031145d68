"""From the path that telemetry named to the path in the repository."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

# Folders that hold other people's code, in any of the ecosystems whose SDKs send code.* or stack traces.
_THIRD_PARTY: Final = (
    "/site-packages/",
    "/dist-packages/",
    "/node_modules/",
    "/vendor/bundle/",
    "/gems/",
    "/pkg/mod/",
    "/.cargo/registry/",
    "/rustc/",
    "/usr/lib/",
    "/usr/local/lib/",
    "/usr/local/go/",
    "/.m2/",
    "/lib/python",
)
_THIRD_PARTY_STARTS: Final = ("<", "node:", "internal/", "java/", "javax/", "jdk/", "sun/", "kotlin/")


def normal_path(path: str) -> str:
    """Forward slashes, no drive letter, no leading `./`."""
    path = path.replace("\\", "/")
    if len(path) > 1 and path[1] == ":":
        path = path[2:]
    while path.startswith("./"):
        path = path[2:]
    return path


def is_third_party(path: str) -> bool:
    """Whether a telemetry path lies in an installed package, the language's own library, or is no file at all."""
    path = normal_path(path)
    return path.startswith(_THIRD_PARTY_STARTS) or any(part in f"/{path}" for part in _THIRD_PARTY)


def repository_path(path: str, known: Collection[str], *, prefix: str = "") -> str:
    """The repository file that a telemetry path means: the one that shares its longest end; `""` when none does.

    Args:
        path: as sent: absolute in a container, relative to a work folder, or a repository path already.
        known: repository paths to choose from.
        prefix: the service's folder in a monorepo. Between files that share equally much, one inside it wins;
            otherwise a tie is no answer.
    """
    if is_third_party(path):
        return ""
    parts = [part for part in normal_path(path).split("/") if part]
    best, ties = 0, list[str]()
    for candidate in known:
        names = candidate.split("/")
        shared = 0
        while shared < min(len(parts), len(names)) and parts[-1 - shared] == names[-1 - shared]:
            shared += 1
        if shared and shared == best:
            ties.append(candidate)
        elif shared > best:
            best, ties = shared, [candidate]
    if len(ties) > 1:
        # `main.py` sent as such is the file at the root, not each of that name.
        whole = [name for name in ties if name.count("/") + 1 == best]
        inside = [name for name in ties if prefix and name.startswith(prefix.strip("/") + "/")]
        ties = whole if len(whole) == 1 else inside
    return ties[0] if len(ties) == 1 else ""
