"""GitHub's REST API over a real repository, on loopback: as much of it as a provider asks."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

from obsvty.ports.testing.loopback import Loopback, Received, Reply


class LoopbackGitHub(Loopback):
    """`base_url` goes into `[git] base_url`; `name` into `[git] repo`."""

    name = "example/shop"

    def __init__(self, repo: Path) -> None:
        self._repo = repo
        super().__init__()

    @property
    def base_url(self) -> str:
        """Where the API begins."""
        return self.origin

    def respond(self, request: Received) -> Reply:
        """What GitHub would say, as far as it is known here; 404 else."""
        path = unquote(urlsplit(request.path).path)
        head = f"/repos/{self.name}"
        if path == head:
            return _json({"id": 1, "full_name": self.name, "name": "shop", "url": f"{self.origin}{head}"})
        kind, _, rest = path.removeprefix(f"{head}/").partition("/")
        try:
            if kind == "commits":
                return _json([] if rest.endswith("/pulls") else self._commit(rest, files=True))
            if kind == "compare":
                return _json(self._compare(*rest.split("...")))
            if rest.startswith("trees/"):
                return _json(self._tree(rest.removeprefix("trees/")))
            if rest.startswith("blobs/"):
                return _json(self._blob(rest.removeprefix("blobs/")))
        except subprocess.CalledProcessError:
            pass
        return _json({"message": "Not Found"}, status=404)

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self._repo), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def _compare(self, base: str, head: str) -> dict[str, object]:
        revisions = self._git("rev-list", "--reverse", f"{base}..{head}").split()
        commits = [self._commit(r, files=False) for r in revisions]
        return {
            "status": "ahead",
            "ahead_by": len(commits),
            "behind_by": 0,
            "total_commits": len(commits),
            "base_commit": self._commit(base, files=False),
            "merge_base_commit": self._commit(base, files=False),
            "commits": commits,
            "files": [],
            "url": f"{self.origin}/repos/{self.name}/compare/{base}...{head}",
        }

    def _commit(self, revision: str, *, files: bool) -> dict[str, object]:
        fields = self._git(
            "show", "-s", "--format=%H%x00%an%x00%ae%x00%aI%x00%B%x00%P", f"{revision}^{{commit}}"
        )
        sha, author, email, date, message, parents = fields.rstrip("\n").split("\0")
        person = {"name": author, "email": email, "date": date}
        return {
            "sha": sha,
            "url": f"{self.origin}/repos/{self.name}/commits/{sha}",
            "html_url": f"https://github.example/{self.name}/commit/{sha}",
            "commit": {"message": message.strip(), "author": person, "committer": person},
            "author": None,
            "committer": None,
            "parents": [
                {"sha": p, "url": f"{self.origin}/repos/{self.name}/commits/{p}"} for p in parents.split()
            ],
            **({"files": self._files(sha)} if files else {}),
        }

    def _files(self, sha: str) -> list[dict[str, object]]:
        listed = self._git("show", "--format=", "--name-status", "--no-renames", sha).splitlines()
        status = {"A": "added", "M": "modified", "D": "removed"}
        found: list[dict[str, object]] = []
        for line in listed:
            letter, name = line.split("\t")
            diff = self._git("show", "--format=", sha, "--", name)
            patch = diff[diff.index("@@") :].rstrip("\n")
            changes = [x for x in patch.splitlines() if x[:1] in "+-"]
            found.append(
                {
                    "filename": name,
                    "status": status[letter],
                    "patch": patch,
                    "changes": len(changes),
                    "additions": sum(x[0] == "+" for x in changes),
                    "deletions": sum(x[0] == "-" for x in changes),
                    "sha": sha,
                }
            )
        return found

    def _tree(self, revision: str) -> dict[str, object]:
        entries: list[dict[str, object]] = []
        for line in self._git("ls-tree", "-r", "-l", revision).splitlines():
            about, path = line.split("\t")
            mode, kind, sha, size = about.split()
            entries.append({"path": path, "mode": mode, "type": kind, "sha": sha, "size": int(size)})
        return {"sha": revision, "tree": entries, "truncated": False}

    def _blob(self, sha: str) -> dict[str, object]:
        body = self._git("cat-file", "blob", sha).encode()
        return {
            "sha": sha,
            "encoding": "base64",
            "content": base64.b64encode(body).decode(),
            "size": len(body),
        }


def _json(value: object, *, status: int = 200) -> Reply:
    headers = {"content-type": "application/json; charset=utf-8"}
    return Reply(status=status, headers=headers, pieces=(json.dumps(value).encode(),))
