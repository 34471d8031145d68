"""GitHubProvider: a repository on GitHub, read through its REST API, and through a local clone where there is one.

Requests are GETs and carry no telemetry, but their URLs name revisions, so they are traffic that leaves this machine.
Nothing is sent before a method is called. With `config.clone` only reviewers and links come from GitHub.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from obsvty.errors import RepositoryError, RepositoryMissing, RevisionUnknown
from obsvty.model import Commit
from obsvty.plugins.git_local import LocalGitProvider, glob_pattern
from obsvty.ports.git import GitConfig, GitProvider

if TYPE_CHECKING:
    import github.Commit
    import github.File
    from github.Repository import Repository

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*)/[A-Za-z0-9._-]+")
_REVISION: Final = re.compile(r"(?!.*(\.\.|//|\.lock$))[A-Za-z0-9][A-Za-z0-9._/+-]{0,200}")
_MAX_FILE_BYTES: Final = 1 << 20
_MAX_FILES: Final = 60  # each costs a request; the caller asks for documents and single files
_MAX_REVIEWED: Final = 30  # commits whose pull request is asked for
_RETRIES: Final = 2
_T = TypeVar("_T")


class GitHubProvider(GitProvider):
    """`config.repository` is `owner/name`; `config.base_url` an enterprise server's `https://HOST/api/v3`.

    GitHub has no blame in its REST API: `blame` is empty without a clone. A comparison lists at most as many commits as
    the server pages out; a diff holds at most 3,000 files, and files too large for a patch are named without hunks.
    Each diff is a request: for ranges of more than some hundred commits give a clone.
    """

    name: ClassVar[str] = "github"

    def __init__(self, config: GitConfig) -> None:
        super().__init__(config)
        self._repository: Repository | None = None
        self._resolved: dict[str, str] = {}
        self._diffs: dict[str, str] = {}
        self._trees: dict[str, dict[str, tuple[str, int]]] = {}
        self._clone: LocalGitProvider | None = None
        if config.clone is not None:
            self._clone = LocalGitProvider(
                GitConfig(repository=str(config.clone), timeout_s=config.timeout_s)
            )

    def resolve(self, revision: str) -> str:
        """See `GitProvider.resolve`. The clone is asked first; it may be behind."""
        revision = revision.strip()
        if not _REVISION.fullmatch(revision):
            raise RevisionUnknown(
                "The revision is not a commit hash, tag or branch name.",
                hint="Set vcs.ref.head.revision to `git rev-parse HEAD` at build time.",
            )
        if self._clone is not None:
            with suppress(RevisionUnknown):
                return self._clone.resolve(revision)
        if revision not in self._resolved:
            found = self._ask(lambda repository: repository.get_commit(revision), revision=True)
            self._resolved[revision] = found.sha
        return self._resolved[revision]

    def commits(self, base: str, head: str, *, limit: int = 2000) -> Sequence[Commit]:
        """See `GitProvider.commits`. Reviewers are those of the merged pull requests of the newest 30."""
        head = self.resolve(head)
        base = self.resolve(base) if base else ""
        clone = self._clone_with(*([base, head] if base else [head]))
        if clone is not None:
            return clone.commits(base, head, limit=limit)
        if base == head:
            return []
        found = self._ask(lambda repository: _listed(repository, base, head, limit), revision=True)
        commits = [_commit(item) for item in found]
        self._resolved.update((commit.revision, commit.revision) for commit in commits)
        return [
            self._with_reviewers(item, commit) if place < _MAX_REVIEWED else commit
            for place, (item, commit) in enumerate(zip(found, commits, strict=True))
        ]

    def diff(self, revision: str) -> str:
        """See `GitProvider.diff`. Rebuilt from the files' patches, which come without their headers."""
        revision = self.resolve(revision)
        clone = self._clone_with(revision)
        if clone is not None:
            return clone.diff(revision)
        if revision not in self._diffs:
            self._diffs[revision] = self._ask(
                lambda repository: _diff(repository.get_commit(revision)), revision=True
            )
        return self._diffs[revision]

    def blame(self, revision: str, file: str, start: int, end: int) -> Mapping[int, str]:
        """See `GitProvider.blame`. From the clone; empty without one."""
        clone = self._clone_with(revision)
        return clone.blame(revision, file, start, end) if clone is not None else {}

    def files(self, revision: str, pattern: str) -> Mapping[str, str]:
        """See `GitProvider.files`. Without a clone at most 60 files, the shortest paths first: each is a request."""
        revision = self.resolve(revision)
        clone = self._clone_with(revision)
        if clone is not None:
            return clone.files(revision, pattern)
        if revision not in self._trees:
            self._trees = {revision: self._ask(lambda repository: _tree(repository, revision), revision=True)}
        tree = self._trees[revision]
        matches = glob_pattern(pattern)
        names = [n for n in tree if n == pattern or matches.fullmatch(n)]
        names = [n for n in sorted(names, key=lambda n: (n.count("/"), n)) if tree[n][1] <= _MAX_FILE_BYTES]
        found: dict[str, str] = {}
        for name in sorted(names[:_MAX_FILES]):
            sha = tree[name][0]
            body = self._ask(
                lambda repository, sha=sha: base64.b64decode(repository.get_git_blob(sha).content)
            )
            if b"\0" not in body:
                with suppress(UnicodeDecodeError):
                    found[name] = body.decode("utf-8")
        return found

    def _clone_with(self, *revisions: str) -> LocalGitProvider | None:
        """The clone, if it holds all of these."""
        if self._clone is None:
            return None
        try:
            for revision in revisions:
                self._clone.resolve(revision)
        except RevisionUnknown:
            return None
        return self._clone

    def _with_reviewers(self, item: github.Commit.Commit, commit: Commit) -> Commit:
        """Approvals of the commit's pull request: a courtesy, none without the right to read them."""
        try:
            names = self._ask(lambda _: _approvers(item))
        except RepositoryError:
            return commit
        return Commit(
            revision=commit.revision,
            author=commit.author,
            email=commit.email,
            time=commit.time,
            subject=commit.subject,
            body=commit.body,
            parents=commit.parents,
            reviewers=tuple(dict.fromkeys((*commit.reviewers, *names))),
            url=commit.url,
        )

    def _ask(self, question: Callable[[Repository], _T], *, revision: bool = False) -> _T:
        """Ask GitHub, with its errors as ours; a 404 or 422 on a question about a revision means that."""
        from github import BadCredentialsException, GithubException, RateLimitExceededException
        from requests.exceptions import RequestException

        try:
            if self._repository is None:
                self._repository = self._connect()
            return question(self._repository)
        except BadCredentialsException as exc:
            raise RepositoryMissing(
                "GitHub refused the token.",
                hint="Set OBSVTY_GIT__TOKEN to a token that may read the repository.",
            ) from exc
        except RateLimitExceededException as exc:
            raise RepositoryError(
                "GitHub's rate limit is used up.", hint="Set OBSVTY_GIT__TOKEN, or give a local clone."
            ) from exc
        except GithubException as exc:
            raise _failure(exc.status, revision and self._repository is not None) from exc
        except RequestException as exc:
            raise RepositoryError(
                "GitHub cannot be reached.", hint="Check the network, or use a local clone with [git] repo."
            ) from exc

    def _connect(self) -> Repository:
        from github.Repository import Repository

        from obsvty.plugins.github_requests import recorded_requester

        if not _NAME.fullmatch(self.config.repository):
            raise RepositoryMissing(
                "The repository's name is not OWNER/NAME.", hint="Set [git] repo to OWNER/NAME for GitHub."
            )
        requester = recorded_requester(self.config)
        found = Repository(requester, url=f"/repos/{self.config.repository}")
        found.complete()
        return found


def _listed(repository: Repository, base: str, head: str, limit: int) -> list[github.Commit.Commit]:
    """Newest first. `compare` lists `base..head` oldest first; without a base the history of `head` is walked."""
    if not base:
        found: list[github.Commit.Commit] = []
        for item in repository.get_commits(sha=head):
            if len(found) >= limit:
                break
            found.append(item)
        return found
    return list(repository.compare(base, head).commits)[::-1][:limit]


def _commit(item: github.Commit.Commit) -> Commit:
    subject, _, body = item.commit.message.partition("\n")
    author, committer = item.commit.author, item.commit.committer
    reviewed = re.findall(r"^Reviewed-by: *(.+?) *$", body, re.MULTILINE)
    return Commit(
        revision=item.sha,
        author=author.name or "",
        email=author.email or "",
        time=committer.date.astimezone(UTC),
        subject=subject,
        body=body.strip(),
        parents=tuple(parent.sha for parent in item.parents),
        reviewers=tuple(reviewed),
        url=item.html_url,
    )


def _approvers(item: github.Commit.Commit) -> list[str]:
    names: list[str] = []
    for pull in item.get_pulls():
        names += [
            review.user.login for review in pull.get_reviews() if review.state == "APPROVED" and review.user
        ]
    return names


def _diff(item: github.Commit.Commit) -> str:
    if len(item.parents) > 1:
        return ""
    return "".join(_file_diff(file) for file in item.files)


def _file_diff(file: github.File.File) -> str:
    """The headers that GitHub leaves out, in git's own form; a parser refuses the hunks without them."""
    old = file.previous_filename or file.filename
    lines = [f"diff --git a/{old} b/{file.filename}"]
    before, after = f"a/{old}", f"b/{file.filename}"
    if file.status == "added":
        lines.append("new file mode 100644")
        before = "/dev/null"
    elif file.status == "removed":
        lines.append("deleted file mode 100644")
        after = "/dev/null"
    elif file.status == "renamed":
        lines += [f"rename from {old}", f"rename to {file.filename}"]
    if file.patch:
        lines += [f"--- {before}", f"+++ {after}", file.patch.removesuffix("\n")]
    elif file.status != "renamed":
        lines.append(f"Binary files {before} and {after} differ")
    return "\n".join(lines) + "\n"


def _tree(repository: Repository, revision: str) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for entry in repository.get_git_tree(revision, recursive=True).tree:
        if entry.type == "blob" and entry.mode in ("100644", "100755"):
            found[entry.path] = (entry.sha, entry.size or 0)
    return found


def _failure(status: int, about_revision: bool) -> RepositoryError:
    if status == 401:
        return RepositoryMissing(
            "GitHub refused the token.", hint="Set OBSVTY_GIT__TOKEN to a token that may read the repository."
        )
    if status in (403, 429):
        return RepositoryError(
            "GitHub refused the request: no permission, or the rate limit is used up.",
            hint="Set OBSVTY_GIT__TOKEN to a token that may read the repository, or give a local clone.",
        )
    if status in (404, 409, 422) and about_revision:
        return RevisionUnknown(
            "The repository on GitHub does not hold that revision.", hint="Was the commit pushed?"
        )
    if status == 404:
        return RepositoryMissing(
            "GitHub shows no such repository.",
            hint="Check OWNER/NAME; a private one needs OBSVTY_GIT__TOKEN.",
        )
    return RepositoryError(
        f"GitHub answered with status {status}.", hint="Try again later, or use a local clone."
    )
