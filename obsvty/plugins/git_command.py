"""One read-only git command at a time, with nothing of the user's or the system's configuration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from obsvty.errors import RepositoryError, RepositoryMissing

_SETTINGS: Final = (
    "core.quotePath=false",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "log.showSignature=false",
    "protocol.allow=never",  # a partial clone must not start to fetch
    "color.ui=false",
    "blame.ignoreRevsFile=",
    "i18n.logOutputEncoding=UTF-8",
)


class GitCommand:
    """Runs git on the repository at a path: its work tree, a folder inside it, or a bare repository.

    Constructing it does no I/O.
    """

    def __init__(self, repository: str, *, timeout_s: float) -> None:
        self.repository = repository
        self.timeout_s = timeout_s
        self._git_dir: Path | None = None

    def directory(self) -> Path:
        """The repository's git directory.

        Raises:
            RepositoryMissing: there is none.
        """
        if self._git_dir is None:
            try:
                self._git_dir = _find_git_dir(Path(self.repository).expanduser())
            except PermissionError as exc:
                raise RepositoryMissing(
                    "The repository may not be read: another user owns it.",
                    hint="Give this user read access to it, or use a clone of your own.",
                ) from exc
        return self._git_dir

    def run(self, *arguments: str, stdin: bytes = b"", accept: tuple[int, ...] = (0,)) -> bytes:
        """Run one read-only git command. An explicit --git-dir also works where another user owns the folder."""
        directory = self.directory()
        command = ["git", "--no-pager", f"--git-dir={directory}", "-c", f"safe.directory={directory}"]
        command += [part for setting in _SETTINGS for part in ("-c", setting)]
        command += arguments
        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                timeout=self.timeout_s,
                env=_environment(),
                check=False,
            )
        except FileNotFoundError as exc:
            raise RepositoryError("The git command was not found.", hint="Install git.") from exc
        except subprocess.TimeoutExpired as exc:
            raise RepositoryError(
                f"git {arguments[0]} took longer than {self.timeout_s:g} s.",
                hint="Give --base, so that less history is read, or point [git] repo at a local disk.",
            ) from exc
        if done.returncode not in accept:
            raise self._failure(arguments[0], done.stderr.decode("utf-8", "replace"))
        return done.stdout

    def _failure(self, command: str, stderr: str) -> RepositoryError:
        """Git's own words stay out of the message: they can quote names from telemetry."""
        if "dubious ownership" in stderr or "Permission denied" in stderr:  # some objects, not the folder
            return RepositoryMissing(
                "The repository may not be read: another user owns it.",
                hint="Give this user read access to it, or use a clone of your own.",
            )
        if "not a git repository" in stderr:
            return RepositoryMissing(
                "There is no usable git repository where the settings say.", hint="Set [git] repo or --repo."
            )
        return RepositoryMissing(
            f"git {command} failed: the repository is damaged or incomplete.",
            hint="Run `git fsck` there, or clone it again.",
        )

    def shallow_boundary(self) -> frozenset[str]:
        """Commits of a shallow clone whose parents are missing; empty for a whole one."""
        try:
            return frozenset((_common_dir(self.directory()) / "shallow").read_text("ascii").split())
        except FileNotFoundError:
            return frozenset()
        except (OSError, ValueError) as exc:
            raise RepositoryMissing("The repository's list of shallow commits cannot be read.") from exc


def _find_git_dir(start: Path) -> Path:
    if not start.is_dir():
        raise RepositoryMissing(
            "The repository's folder does not exist.", hint="Set [git] repo, or give --repo a clone."
        )
    start = start.resolve()
    for folder in (start, *start.parents):
        for candidate in (folder, folder / ".git"):
            if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
                return candidate
        pointer = folder / ".git"
        if pointer.is_file():  # a work tree beside the main one, or a submodule
            target = pointer.read_text("utf-8", "replace").removeprefix("gitdir:").strip()
            directory = (folder / target).resolve()
            if (directory / "HEAD").is_file():
                return directory
        if pointer.exists():
            raise RepositoryMissing(
                "The repository's .git is damaged.", hint="Run `git fsck` there, or clone it again."
            )
    raise RepositoryMissing(
        "There is no git repository in that folder or above it.",
        hint="Set [git] repo, or give --repo a clone.",
    )


def _common_dir(directory: Path) -> Path:
    pointer = directory / "commondir"
    return (directory / pointer.read_text("utf-8").strip()).resolve() if pointer.is_file() else directory


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_LITERAL_PATHSPECS": "1",
        "LC_ALL": "C",
    }
