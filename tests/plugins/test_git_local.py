"""The local provider on real repositories: normal, bare, shallow, damaged, foreign and full of odd names."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsvty.errors import RepositoryError, RepositoryMissing, RevisionUnknown
from obsvty.plugins.git_local import LocalGitProvider, glob_pattern
from obsvty.ports.git import GitConfig
from obsvty.ports.testing import make_repository


def git(folder: Path, *arguments: str) -> str:
    who = {"NAME": "Ada Byron", "EMAIL": "ada@shop.example", "DATE": "1790000000 +0000"}
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()},
    }
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=30)
    return done.stdout.strip()


def commit(folder: Path, subject: str, **texts: str) -> str:
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", subject)
    return git(folder, "rev-parse", "HEAD")


def provider(folder: Path) -> LocalGitProvider:
    return LocalGitProvider(GitConfig(repository=str(folder)))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def test_hashes_tags_and_branches_resolve_and_everything_else_is_unknown(repository: Path) -> None:
    revision = commit(repository, "one", a="1\n")
    git(repository, "tag", "v1.0.0")
    found = provider(repository)
    for name in (revision, revision[:7], revision[:9].upper(), "v1.0.0", "main", f" {revision}\n"):
        assert found.resolve(name) == revision
    for name in (
        "0" * 40,
        "nope",
        "",
        "main~1",
        "main..main",
        "--all",
        "-n1",
        "@{u}",
        "a\nb",
        ":a",
        "v1.0.0^{tree}",
    ):
        with pytest.raises(RevisionUnknown):
            found.resolve(name)


@given(name=st.text(min_size=1, max_size=30).filter(lambda text: text.strip() != "HEAD"))
def test_no_text_from_telemetry_is_taken_for_an_option_or_a_range(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    if not folder.exists():
        folder.mkdir()
        git(folder, "init", "--quiet", "--initial-branch=main")
        commit(folder, "one", a="1\n")
    with pytest.raises(RevisionUnknown):
        provider(folder).resolve(name)


def test_commits_are_rev_list_newest_first_with_merges(repository: Path) -> None:
    base = commit(repository, "one", a="1\n")
    git(repository, "switch", "--quiet", "-c", "side")
    commit(repository, "on the side", b="1\n")
    git(repository, "switch", "--quiet", "main")
    commit(repository, "on main", c="1\n")
    git(repository, "merge", "--quiet", "--no-ff", "--no-edit", "side")
    found = provider(repository).commits(base, "main")
    assert [c.revision for c in found] == git(repository, "rev-list", f"{base}..main").split()
    assert len(found[0].parents) == 2
    assert provider(repository).diff(found[0].revision) == ""
    assert provider(repository).commits("main", base) == []
    assert len(provider(repository).commits("", "main", limit=2)) == 2


def test_a_commit_carries_author_body_and_reviewers(repository: Path) -> None:
    body = "feat: ü\n\nWhy.\n\nReviewed-by: Bo Lind <bo@shop.example>\nReviewed-by: Chi <chi@shop.example>"
    commit(repository, body, a="1\n")
    found = provider(repository).commits("", "main")[0]
    assert (found.author, found.email, found.subject) == ("Ada Byron", "ada@shop.example", "feat: ü")
    assert found.body.startswith("Why.")
    assert found.reviewers == ("Bo Lind <bo@shop.example>", "Chi <chi@shop.example>")
    assert found.time.timestamp() == 1_790_000_000


def test_a_diff_is_the_same_alone_and_in_a_batch_and_names_are_unquoted(repository: Path) -> None:
    commit(repository, "root", a="1\n")
    for number in range(5):
        commit(repository, f"c{number}", a=f"{number}\n", **{"ü b.txt": f"{number}\n"})
    batched = provider(repository)
    revisions = [c.revision for c in batched.commits("", "main")]
    together = [batched.diff(revision) for revision in revisions]
    assert together == [provider(repository).diff(revision) for revision in revisions]
    assert "+++ b/ü b.txt" in together[0]
    assert together[-1].startswith("diff --git a/a b/a\nnew file mode")
    for text, revision in zip(together, revisions, strict=True):
        names = git(repository, "show", "--format=", "--name-only", revision).splitlines()
        assert text.count("diff --git ") == len(names)


def test_a_line_that_is_a_commits_hash_does_not_end_its_diff(repository: Path) -> None:
    first = commit(repository, "one", a="1\n")
    second = commit(repository, "two", a=f"{first}\n{first}\n")
    found = provider(repository)
    found.commits("", "main")
    assert found.diff(second).count(f"+{first}") == 2


def test_blame_names_the_writer_of_each_line_and_looks_through_formatting(repository: Path) -> None:
    first = commit(repository, "one", a="def f():\n  return 1\n")
    formatting = commit(repository, "format", a="def f(*, z=0):\n  return (1)\n")
    third = commit(repository, "three", a="def f(*, z=0):\n  return (1)\nx = 2\n")
    assert provider(repository).blame("main", "a", 1, 9) == {1: formatting, 2: formatting, 3: third}
    head = commit(repository, "ignore", **{".git-blame-ignore-revs": f"# format\n{formatting}\n{'0' * 40}\n"})
    assert provider(repository).blame(head, "a", 1, 9) == {1: first, 2: first, 3: third}
    assert provider(repository).blame_since(formatting, head, "a", [(1, 1), (3, 9)]) == {3: third}
    assert provider(repository).blame("main", "nope", 1, 2) == {}
    assert provider(repository).blame("main", "a", 7, 9) == {}


def test_files_match_globs_and_leave_out_binaries_links_and_large_ones(repository: Path) -> None:
    for folder in ("docs/deep", "app"):
        (repository / folder).mkdir(parents=True)
    for name in ("README.md", "docs/one.md", "docs/deep/two.md", "app/a.py"):
        (repository / name).write_text(f"{name}\n", "utf-8")
    (repository / "binary.md").write_bytes(b"\0\1")
    (repository / "latin.md").write_bytes(b"\xe9")
    (repository / "large.md").write_bytes(b"x" * ((1 << 20) + 1))
    (repository / "link.md").symlink_to("README.md")
    revision = commit(repository, "one")
    found = provider(repository)
    assert found.files(revision, "docs/*.md") == {"docs/one.md": "docs/one.md\n"}
    assert list(found.files(revision, "**/*.md")) == ["README.md", "docs/deep/two.md", "docs/one.md"]
    assert list(found.files(revision, "app/a.py")) == ["app/a.py"]
    assert found.files(revision, "nothing/*") == {}


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("**/*.md", "a.md", True),
        ("**/*.md", "x/y/a.md", True),
        ("docs/*.md", "docs/x/a.md", False),
        ("docs/**", "docs/x/a.md", True),
        ("**/app/cards.py", "app/cards.py", True),
        ("**/app/cards.py", "myapp/cards.py", False),
        ("a.b", "axb", False),
        ("a?c", "a/c", False),
    ],
)
def test_globs_stay_inside_folders_unless_doubled(pattern: str, path: str, matches: bool) -> None:
    assert bool(glob_pattern(pattern).fullmatch(path)) is matches


def test_a_bare_repository_a_folder_inside_and_a_second_work_tree_are_read(
    repository: Path, tmp_path: Path
) -> None:
    revision = commit(repository, "one", a="1\n")
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), "bare.git")
    git(repository, "worktree", "add", "--quiet", str(tmp_path / "second"))
    (repository / "folder").mkdir()
    for folder in (tmp_path / "bare.git", repository / "folder", tmp_path / "second"):
        assert provider(folder).resolve(revision[:8]) == revision


def test_a_shallow_clone_says_how_to_get_the_rest(repository: Path, tmp_path: Path) -> None:
    old = commit(repository, "one", a="1\n")
    middle = commit(repository, "two", a="2\n")
    head = commit(repository, "three", a="3\n")
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{repository}", "shallow")
    found = provider(tmp_path / "shallow")
    with pytest.raises(RevisionUnknown, match="--unshallow"):
        found.commits(old, head)
    assert [c.revision for c in found.commits(middle, head)] == [head]
    with pytest.raises(RevisionUnknown, match="--unshallow"):
        found.diff(middle)


def test_no_repository_an_empty_folder_and_a_damaged_one_are_told_apart(
    repository: Path, tmp_path: Path
) -> None:
    with pytest.raises(RepositoryMissing, match="does not exist"):
        provider(tmp_path / "nowhere").resolve("main")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RepositoryMissing, match="no git repository"):
        provider(empty).resolve("main")
    revision = commit(repository, "one", a="1\n")
    for file in (repository / ".git" / "objects").rglob("*"):
        if file.is_file():
            file.chmod(0o644)
            file.write_bytes(b"")
    with pytest.raises(RepositoryError):
        provider(repository).commits("", revision)
    (repository / ".git" / "HEAD").unlink()
    with pytest.raises(RepositoryMissing, match="damaged"):
        provider(repository).resolve("main")


def test_a_repository_whose_settings_name_programs_runs_none_of_them(
    repository: Path, tmp_path: Path
) -> None:
    revision = commit(repository, "one", a="1\n", **{".gitattributes": "* diff=spy\n"})
    marker = tmp_path / "ran"
    spy = tmp_path / "spy.sh"
    spy.write_text(f"#!/bin/sh\ntouch {marker}\ncat\n", "utf-8")
    spy.chmod(0o755)
    for name in (
        "diff.external",
        "diff.spy.command",
        "diff.spy.textconv",
        "core.fsmonitor",
        "core.pager",
        "gpg.program",
    ):
        git(repository, "config", name, str(spy))
    git(repository, "config", "log.showSignature", "true")
    found = provider(repository)
    found.commits("", revision)
    assert "+1" in found.diff(revision)
    assert found.blame(revision, "a", 1, 1) == {1: revision}
    assert list(found.files(revision, "a")) == ["a"]
    assert not marker.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_a_repository_that_belongs_to_another_user_is_read(repository: Path) -> None:
    revision = commit(repository, "one", a="1\n")
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 12345, 12345)
    assert [c.revision for c in provider(repository).commits("", "main")] == [revision]
    assert provider(repository).blame("main", "a", 1, 1) == {1: revision}


def test_constructing_a_provider_does_no_io_and_a_missing_git_is_said(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = provider(repository)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(RepositoryError, match="Install git"):
        found.resolve("main")


def test_a_repository_whose_objects_are_damaged_says_so_and_blames_no_revision(tmp_path: Path) -> None:
    known = make_repository(tmp_path)
    command = ["git", "-C", str(known.path), "gc", "--quiet"]
    subprocess.run(command, check=True, capture_output=True)
    for pack in known.path.rglob("*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(b"not a pack")
    provider = LocalGitProvider(GitConfig(repository=str(known.path)))
    with pytest.raises(RepositoryMissing, match="damaged"):
        provider.resolve(known.head)
