"""A small git repository whose whole history is known, for tests of git providers."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class KnownRepository:
    """Where it is, and its commits by their names in this file."""

    path: Path
    root: str  # README.md, app.py with 3 lines
    base: str  # tagged v1
    slow: str  # writes line 2 of app.py
    side: str  # on a branch, merged by `merge`; adds docs/größe.md
    merge: str
    head: str  # tip of main; touches nothing of app.py
    elsewhere: str  # on a branch that main never merged


def make_repository(folder: Path) -> KnownRepository:
    """Make the repository in `folder / "repository"`. The same call gives the same revisions everywhere."""
    path = folder / "repository"
    path.mkdir(parents=True)
    git = _Git(path)
    git("init", "--quiet", "--initial-branch=main")
    root = git.commit("Add the app", {"README.md": "# Shop\n", "app.py": "def pay():\n    return 1\n# end\n"})
    base = git.commit("Say more in the readme", {"README.md": "# Shop\n\nSells things.\n"})
    git("tag", "v1")
    git("branch", "elsewhere")
    git("branch", "side")
    slow = git.commit(
        "Ask the issuer three times", {"app.py": "def pay():\n    return ask() + ask() + ask()\n# end\n"}
    )
    git("checkout", "--quiet", "side")
    side = git.commit("Document sizes", {"docs/größe.md": "# Größe\n\nBig.\n", "docs/blob.bin": "\x00\x01"})
    git("checkout", "--quiet", "main")
    git.tick()
    git("merge", "--quiet", "--no-ff", "-m", "Merge side", "side")
    merge = git("rev-parse", "HEAD")
    head = git.commit("Rename a heading", {"README.md": "# The shop\n\nSells things.\n"})
    git("checkout", "--quiet", "elsewhere")
    elsewhere = git.commit("Never merged", {"other.py": "x = 1\n"})
    git("checkout", "--quiet", "main")
    return KnownRepository(
        path=path, root=root, base=base, slow=slow, side=side, merge=merge, head=head, elsewhere=elsewhere
    )


class _Git:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.time = 1_700_000_000

    def tick(self) -> None:
        self.time += 60

    def __call__(self, *arguments: str) -> str:
        identity = {"NAME": "Bo Lind", "EMAIL": "bo@example.org", "DATE": f"{self.time} +0000"}
        environment = {
            f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in identity.items()
        }
        done = subprocess.run(
            ["git", "-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null", *arguments],
            cwd=self.path,
            check=True,
            capture_output=True,
            text=True,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": str(self.path),
                "GIT_CONFIG_NOSYSTEM": "1",
                "LC_ALL": "C.UTF-8",
                **environment,
            },
        )
        return done.stdout.strip()

    def commit(self, subject: str, files: dict[str, str]) -> str:
        self.tick()
        for name, text in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        self("add", "--all")
        self("commit", "--quiet", "-m", subject)
        return self("rev-parse", "HEAD")
