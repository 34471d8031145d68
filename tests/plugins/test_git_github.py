"""The GitHub provider with the real PyGithub client against recorded-shape answers on loopback."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer

from obsvty.errors import RepositoryError, RepositoryMissing, RevisionUnknown
from obsvty.plugins.git_github import GitHubProvider
from obsvty.ports.git import GitConfig

BASE: Final = "a" * 40
MIDDLE: Final = "b" * 40
HEAD: Final = "c" * 40
REPO: Final = "/repos/acme/shop"
PATCH: Final = "@@ -1,2 +1,3 @@ def f():\n x = 1\n+y = 2\n z = 3"


def commit_json(
    server: HTTPServer, sha: str, parents: list[str], files: list[Mapping[str, object]]
) -> dict[str, object]:
    who = {"name": "Bo Lind", "email": "bo@shop.example", "date": "2026-11-09T13:37:00Z"}
    return {
        "sha": sha,
        "url": server.url_for(f"{REPO}/commits/{sha}"),
        "html_url": f"https://github.com/acme/shop/commit/{sha}",
        "commit": {"message": f"feat: {sha[:3]}\n\nWhy.", "author": who, "committer": who},
        "parents": [{"sha": parent, "url": server.url_for(f"{REPO}/commits/{parent}")} for parent in parents],
        "files": files,
    }


def file_json(name: str, status: str, patch: str | None, **more: str) -> dict[str, object]:
    entry: dict[str, object] = {"filename": name, "status": status, "sha": "1" * 40, **more}
    return entry if patch is None else entry | {"patch": patch}


@pytest.fixture
def answer(httpserver: HTTPServer) -> Callable[..., None]:
    def add(path: str, body: object, *, status: int = 200) -> None:
        httpserver.expect_request(f"{REPO}{path}").respond_with_json(body, status=status)

    add(
        "",
        {
            "full_name": "acme/shop",
            "name": "shop",
            "url": httpserver.url_for(REPO),
            "owner": {"login": "acme"},
        },
    )
    return add


@pytest.fixture
def provider(httpserver: HTTPServer) -> GitHubProvider:
    config = GitConfig(
        repository="acme/shop",
        base_url=httpserver.url_for("").rstrip("/"),
        token=SecretStr("secret-token"),
        timeout_s=5,
    )
    return GitHubProvider(config)


@pytest.fixture
def commits(httpserver: HTTPServer, answer: Callable[..., None]) -> None:
    files = [
        file_json("app/cards.py", "added", "@@ -0,0 +1,2 @@\n+a = 1\n+b = 2"),
        file_json("app/checkout.py", "modified", PATCH),
        file_json("app/new.py", "renamed", None, previous_filename="app/old.py"),
        file_json("logo.png", "modified", None),
        file_json("gone.py", "removed", "@@ -1 +0,0 @@\n-x = 1"),
    ]
    head = commit_json(httpserver, HEAD, [MIDDLE], [])
    middle = commit_json(httpserver, MIDDLE, [BASE], files)
    base = commit_json(httpserver, BASE, [], [])
    for body in (head, middle, base):
        answer(f"/commits/{body['sha']}", body)
    answer("/commits/v1.4.0", base)
    answer("/commits", [head, middle, base])
    answer(
        f"/compare/{BASE}...{HEAD}",
        {
            "url": httpserver.url_for(f"{REPO}/compare/{BASE}...{HEAD}"),
            "total_commits": 2,
            "commits": [middle, head],
        },
    )
    answer(f"/commits/{HEAD}/pulls", [])
    answer(f"/commits/{BASE}/pulls", [])
    answer(f"/commits/{MIDDLE}/pulls", [{"number": 7, "url": httpserver.url_for(f"{REPO}/pulls/7")}])
    answer(
        "/pulls/7/reviews",
        [
            {"id": 1, "state": "APPROVED", "user": {"login": "chi"}},
            {"id": 2, "state": "COMMENTED", "user": {"login": "eve"}},
        ],
    )


@pytest.mark.usefixtures("commits")
def test_the_comparison_gives_commits_newest_first_with_their_reviewers(provider: GitHubProvider) -> None:
    found = provider.commits("v1.4.0", HEAD)
    assert [commit.revision for commit in found] == [HEAD, MIDDLE]
    assert found[1].reviewers == ("chi",)
    assert (found[1].author, found[1].subject, found[1].body) == ("Bo Lind", "feat: bbb", "Why.")
    assert found[1].time.isoformat() == "2026-11-09T13:37:00+00:00"
    assert found[1].parents == (BASE,)
    assert [commit.revision for commit in provider.commits("", HEAD, limit=2)] == [HEAD, MIDDLE]
    assert provider.commits(BASE, BASE) == []


@pytest.mark.usefixtures("commits")
def test_a_diff_is_rebuilt_with_the_headers_that_the_patches_lack(provider: GitHubProvider) -> None:
    assert provider.diff(MIDDLE) == (
        "diff --git a/app/cards.py b/app/cards.py\nnew file mode 100644\n--- /dev/null\n+++ b/app/cards.py\n"
        "@@ -0,0 +1,2 @@\n+a = 1\n+b = 2\n"
        f"diff --git a/app/checkout.py b/app/checkout.py\n--- a/app/checkout.py\n+++ b/app/checkout.py\n{PATCH}\n"
        "diff --git a/app/old.py b/app/new.py\nrename from app/old.py\nrename to app/new.py\n"
        "diff --git a/logo.png b/logo.png\nBinary files a/logo.png and b/logo.png differ\n"
        "diff --git a/gone.py b/gone.py\ndeleted file mode 100644\n"
        "--- a/gone.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x = 1\n"
    )
    assert provider.blame(MIDDLE, "app/cards.py", 1, 2) == {}


@pytest.mark.usefixtures("commits")
def test_files_come_from_the_tree_of_the_revision(
    provider: GitHubProvider, answer: Callable[..., None]
) -> None:
    def entry(
        path: str, sha: str, *, mode: str = "100644", kind: str = "blob", size: int = 3
    ) -> dict[str, object]:
        return {"path": path, "sha": sha, "mode": mode, "type": kind, "size": size}

    tree = [
        entry("docs/a.md", "1" * 40),
        entry("docs", "2" * 40, mode="040000", kind="tree"),
        entry("docs/link.md", "3" * 40, mode="120000"),
        entry("docs/large.md", "4" * 40, size=2 << 20),
        entry("docs/odd.md", "5" * 40),
    ]
    answer(f"/git/trees/{HEAD}", {"sha": HEAD, "tree": tree, "truncated": False})
    for sha, body in (("1" * 40, "hé\n".encode()), ("5" * 40, b"\xff\xfe")):
        content = base64.encodebytes(body).decode()
        answer(f"/git/blobs/{sha}", {"sha": sha, "content": content, "encoding": "base64", "size": 3})
    assert provider.files(HEAD, "docs/*.md") == {"docs/a.md": "hé\n"}
    assert provider.files(HEAD, "nothing/*.md") == {}


@pytest.mark.parametrize(
    ("status", "body", "error", "hint"),
    [
        (401, {"message": "Bad credentials"}, RepositoryMissing, "OBSVTY_GIT__TOKEN"),
        (403, {"message": "Resource not accessible"}, RepositoryError, "OBSVTY_GIT__TOKEN"),
        (404, {"message": "Not Found"}, RepositoryMissing, "OWNER/NAME"),
        (410, {"message": "Gone"}, RepositoryError, "clone"),
    ],
)
def test_what_the_server_refuses_is_an_error_that_says_what_to_do_and_holds_no_token(
    httpserver: HTTPServer,
    provider: GitHubProvider,
    status: int,
    body: Mapping[str, str],
    error: type[RepositoryError],
    hint: str,
) -> None:
    httpserver.expect_request(REPO).respond_with_json(body, status=status)
    with pytest.raises(error) as caught:
        provider.commits("", HEAD)
    assert hint in caught.value.hint
    assert "secret-token" not in f"{caught.value!s}{caught.value!r}"


def test_a_revision_that_github_does_not_hold_is_unknown(
    provider: GitHubProvider, answer: Callable[..., None]
) -> None:
    answer(f"/commits/{HEAD}", {"message": f"No commit found for SHA: {HEAD}"}, status=422)
    with pytest.raises(RevisionUnknown):
        provider.resolve(HEAD)
    for text in ("--all", "a..b", "a\nb", "../../user", ""):
        with pytest.raises(RevisionUnknown):
            provider.resolve(text)


def test_a_server_that_cannot_be_reached_is_an_error_and_constructing_asks_nothing() -> None:
    found = GitHubProvider(GitConfig(repository="acme/shop", base_url="http://127.0.0.1:9", timeout_s=1))
    with pytest.raises(RepositoryError, match="cannot be reached"):
        found.resolve("main")
    wrong = GitHubProvider(GitConfig(repository="/some/path", base_url="http://127.0.0.1:9"))
    with pytest.raises(RepositoryMissing, match="OWNER/NAME"):
        wrong.resolve("main")


def test_a_clone_that_holds_the_revisions_answers_without_a_request(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@shop.example"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *who, *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    (tmp_path / "a.py").write_text("a = 1\n", "utf-8")
    git("add", "a.py")
    git("commit", "--quiet", "-m", "one")
    revision = git("rev-parse", "HEAD")
    config = GitConfig(repository="acme/shop", base_url="http://127.0.0.1:9", clone=tmp_path, timeout_s=1)
    found = GitHubProvider(config)
    assert found.resolve("main") == revision
    assert [commit.revision for commit in found.commits("", revision)] == [revision]
    assert "+a = 1" in found.diff(revision)
    assert found.blame(revision, "a.py", 1, 1) == {1: revision}
    assert found.files(revision, "*.py") == {"a.py": "a = 1\n"}
