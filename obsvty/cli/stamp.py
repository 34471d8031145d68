"""`obsvty stamp`: writes the commit into a file that travels with the build, for the `vcs` resource detector."""

from __future__ import annotations

import json as json_text
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from obsvty.cli.options import Json
from obsvty.cli.output import print_json
from obsvty.errors import RepositoryMissing, UsageError

if TYPE_CHECKING:
    from obsvty.otlp.vcs_git import Checkout

_GIVE_IT = 'Give it: obsvty stamp --revision "$(git rev-parse HEAD)"'


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(stamp)


def stamp(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: .obsvty-build.json, here.")
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="REV", help="Full commit hash. Default: the repository's."),
    ] = None,
    repo: Annotated[
        Path | None,
        typer.Option(
            "--repo", metavar="PATH", help="Default: a CI system's variables, else the folder here."
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="The repository's address. Default: its origin."),
    ] = None,
    json: Json = False,
) -> None:
    """Write the commit into a build stamp, which the `vcs` resource detector reads at run time."""
    from obsvty.otlp.vcs import STAMP_FILE, as_attributes

    content = as_attributes(_checkout(revision, repo, url))
    file = output or Path(STAMP_FILE)
    try:
        file.write_text(json_text.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as exc:
        raise UsageError(
            f"{file} cannot be written.", hint="Name a file in a folder that exists: -o FILE."
        ) from exc
    if json:
        print_json({**content})
    else:
        print(f"{file}: {' '.join(content.values())}")


def _checkout(revision: str | None, repo: Path | None, url: str | None) -> Checkout:
    """What the options say; what they leave open comes from the repository, when it is at the same commit."""
    from dataclasses import replace

    from obsvty.otlp.vcs import Places, find_checkout
    from obsvty.otlp.vcs_git import full_hash, web_url

    wanted = full_hash(revision or "")
    if revision is not None and not wanted:
        raise UsageError("--revision is not a full commit hash (40 or 64 hex digits).", hint=_GIVE_IT)
    address = web_url(url or "")
    if url is not None and not address:
        raise UsageError(
            "--url is not the address of a repository.", hint="For example https://github.com/owner/name"
        )
    if repo is not None:
        found = _read_repository(repo)
        if wanted and found.revision != wanted:
            found = replace(found, revision=wanted, name="")  # another commit of the same repository
    else:
        found = find_checkout(os.environ, Places(folders=(Path.cwd(),), stamps=False), revision=wanted)
    if found is None:
        raise RepositoryMissing("There is no git repository with a commit here.", hint=_GIVE_IT)
    return replace(found, url=address or found.url)


def _read_repository(repo: Path) -> Checkout:
    """HEAD of the work tree around `repo`, or of the bare repository there."""
    from obsvty.otlp.vcs_git import find_git_dir, read_checkout

    if not repo.is_dir():
        raise UsageError(f"There is no folder {repo}.")
    git_dir = (
        repo if (repo / "HEAD").is_file() and (repo / "objects").is_dir() else find_git_dir(repo.resolve())
    )
    if git_dir is None:
        raise RepositoryMissing(f"{repo} is not in a git repository.", hint=_GIVE_IT)
    found = read_checkout(git_dir)
    if found is None:
        raise RepositoryMissing(f"The repository at {repo} has no commit that can be read.", hint=_GIVE_IT)
    return found
