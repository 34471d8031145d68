"""Which commit runs: told by the environment, else by a build stamp, else by `.git`; standard library only.

A wrong revision is worse than none: only full hashes count, and what a later source knows (branch, repository) is added
only when it speaks of the same revision.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from obsvty.otlp.vcs_git import (
    Checkout,
    find_git_dir,
    full_hash,
    read_checkout,
    read_text,
    short_ref,
    upwards,
    web_url,
)

REVISION: Final = "vcs.ref.head.revision"
NAME: Final = "vcs.ref.head.name"
URL: Final = "vcs.repository.url.full"
STAMP_FILE: Final = ".obsvty-build.json"
STAMP_VARIABLE: Final = "OBSVTY_BUILD_STAMP"
# what Obsvty reads as the revision, when it is stated in OTEL_RESOURCE_ATTRIBUTES, strongest first
_STATED_REVISION: Final = (
    REVISION,
    "vcs.repository.ref.revision",
    "vcs.revision",
    "git.commit.sha",
    "org.opencontainers.image.revision",
)
_MAX_STAMP_BYTES: Final = 1 << 16
_LAUNCHER: Final = re.compile(
    r"(?:^|.*/)(?:bin|Scripts|lib(?:64)?/python[0-9][^/]*(?:/.*)?|site-packages/.*)"
)

# (full hash, branch or tag, parts of the repository's url), strongest first: what was set for this purpose, what
# platforms set for the application they run, then what CI systems set for their jobs
VARIABLES: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("VCS_REF_HEAD_REVISION", "VCS_REF_HEAD_NAME", ("VCS_REPOSITORY_URL_FULL",)),
    ("OTEL_VCS_REF_HEAD_REVISION", "OTEL_VCS_REF_HEAD_NAME", ("OTEL_VCS_REPOSITORY_URL_FULL",)),
    ("HEROKU_SLUG_COMMIT", "", ()),
    ("HEROKU_BUILD_COMMIT", "", ()),
    ("RENDER_GIT_COMMIT", "RENDER_GIT_BRANCH", ()),
    ("VERCEL_GIT_COMMIT_SHA", "VERCEL_GIT_COMMIT_REF", ()),
    ("RAILWAY_GIT_COMMIT_SHA", "RAILWAY_GIT_BRANCH", ()),
    ("KOYEB_GIT_SHA", "KOYEB_GIT_BRANCH", ()),
    ("CF_PAGES_COMMIT_SHA", "CF_PAGES_BRANCH", ()),
    ("SOURCE_COMMIT", "SOURCE_BRANCH", ("SOURCE_REPOSITORY_URL",)),
    ("DD_GIT_COMMIT_SHA", "DD_GIT_BRANCH", ("DD_GIT_REPOSITORY_URL",)),
    ("GITHUB_SHA", "GITHUB_REF_NAME", ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY")),
    ("CI_COMMIT_SHA", "CI_COMMIT_REF_NAME", ("CI_PROJECT_URL",)),
    ("BUILDKITE_COMMIT", "BUILDKITE_BRANCH", ("BUILDKITE_REPO",)),
    ("CIRCLE_SHA1", "CIRCLE_BRANCH", ("CIRCLE_REPOSITORY_URL",)),
    ("BITBUCKET_COMMIT", "BITBUCKET_BRANCH", ("BITBUCKET_GIT_HTTP_ORIGIN",)),
    ("BUILD_SOURCEVERSION", "BUILD_SOURCEBRANCH", ("BUILD_REPOSITORY_URI",)),
    ("DRONE_COMMIT_SHA", "DRONE_BRANCH", ("DRONE_GIT_HTTP_URL",)),
    ("TRAVIS_COMMIT", "TRAVIS_BRANCH", ()),
    ("CODEBUILD_RESOLVED_SOURCE_VERSION", "", ("CODEBUILD_SOURCE_REPO_URL",)),
    ("GIT_COMMIT", "GIT_BRANCH", ("GIT_URL",)),
    ("GIT_REVISION", "", ()),
    ("GIT_SHA", "", ()),
    ("COMMIT_SHA", "BRANCH_NAME", ()),
)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a process looks for a stamp and for `.git`.

    Attributes:
        folders: each is searched, then the folders above it, in this order.
        beside: searched for a stamp alone, without the folders above it; None: nowhere.
        stamps: whether stamps count; not when one is being made.
    """

    folders: tuple[Path, ...] = ()
    beside: Path | None = None
    stamps: bool = True


def places(working: Path | None, main: Path | None) -> Places:
    """Places of a process with this working folder and main file, both absolute; None where unknown.

    The program's own folder comes before the working folder: a program may be started from inside another repository.
    A launcher (`.venv/bin/uvicorn`, `lib/python3.13/site-packages/gunicorn/__main__.py`) is not the program, and may
    lie in a repository that is none of it: pyenv's Pythons do.
    """
    folders = [] if working is None else [working]
    if main is None:
        return Places(folders=tuple(folders))
    if main.suffix == ".py" and not _LAUNCHER.fullmatch(main.parent.as_posix()):
        folders.insert(0, main.parent)
    return Places(folders=tuple(dict.fromkeys(folders)), beside=main.parent)


def find_checkout(environment: Mapping[str, str], where: Places, *, revision: str = "") -> Checkout | None:
    """The commit that runs, with its branch and repository as far as they are known; None when nothing tells.

    Args:
        environment: variables of the process.
        where: see `places`.
        revision: full hash, when it is known already and only the rest is asked.
    """
    found = Checkout(revision=revision) if revision else None
    for told in _told(environment, where):
        if told is None:
            continue
        if found is None:
            found = told
        elif told.revision == found.revision:
            found = replace(found, name=found.name or told.name, url=found.url or told.url)
        if found.name and found.url:
            break
    return found


def _told(environment: Mapping[str, str], where: Places) -> Iterator[Checkout | None]:
    yield _from_variables(environment)
    if where.stamps:
        yield _from_stamp(environment, where)
    ceilings = environment.get("GIT_CEILING_DIRECTORIES", "").split(":")
    for folder in where.folders:
        git_dir = find_git_dir(folder, ceilings)
        if git_dir is not None:
            yield read_checkout(git_dir)
            return


def _stated_attributes(environment: Mapping[str, str]) -> dict[str, str]:
    """What OTEL_RESOURCE_ATTRIBUTES says, parsed as the SDK does; empty values left out."""
    stated: dict[str, str] = {}
    for item in environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, _, value = item.partition("=")
        value = unquote(value.strip())
        if value:
            stated[key.strip()] = value
    return stated


def attributes(environment: Mapping[str, str], where: Places) -> dict[str, str]:
    """The resource attributes of the running code; what OTEL_RESOURCE_ATTRIBUTES states is never contradicted.

    (With `otel,vcs` the SDK lets this detector overwrite what `otel` read, so the stated values are repeated.)
    """
    stated = _stated_attributes(environment)
    kept = {key: stated[key] for key in (REVISION, NAME, URL) if key in stated}
    revision = next((stated[key] for key in _STATED_REVISION if key in stated), "")
    if revision and not full_hash(revision):
        return kept  # a tag or an abbreviation: what else is found may speak of other code
    found = find_checkout(environment, where, revision=full_hash(revision))
    return kept if found is None else as_attributes(found) | kept


def as_attributes(checkout: Checkout) -> dict[str, str]:
    """Resource attributes, without those that are unknown; also the content of a build stamp."""
    values = {REVISION: checkout.revision, NAME: checkout.name, URL: checkout.url}
    return {key: value for key, value in values.items() if value}


def _from_variables(environment: Mapping[str, str]) -> Checkout | None:
    for revision_in, name_in, url_in in VARIABLES:
        revision = full_hash(environment.get(revision_in, ""))
        if revision:
            parts = [environment.get(part, "").rstrip("/") for part in url_in]
            return Checkout(
                revision=revision,
                name=short_ref(environment.get(name_in, "")),
                url=web_url("/".join(parts)) if all(parts) else "",
            )
    return None


def _from_stamp(environment: Mapping[str, str], where: Places) -> Checkout | None:
    named = environment.get(STAMP_VARIABLE, "")
    if named:
        return read_stamp(Path(named))
    files = [above / STAMP_FILE for folder in where.folders for above in upwards(folder)]
    if where.beside is not None:
        files.append(where.beside / STAMP_FILE)
    return next((found for file in files if (found := read_stamp(file)) is not None), None)


def read_stamp(file: Path) -> Checkout | None:
    """What a build stamp says; None when it is absent, no stamp, or without a full hash."""
    try:
        stamp: object = json.loads(read_text(file, _MAX_STAMP_BYTES) or "null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(stamp, dict):
        return None
    revision, name, url = (
        value if isinstance(value := stamp.get(key), str) else "" for key in (REVISION, NAME, URL)
    )
    if not full_hash(revision):
        return None
    return Checkout(revision=full_hash(revision), name=short_ref(name), url=web_url(url))
