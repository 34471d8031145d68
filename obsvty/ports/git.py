"""GitProvider: where commits come from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr

from obsvty.model import Commit


@dataclass(frozen=True, kw_only=True)
class GitConfig:
    """What a provider may be told. `repository` is a path for `local`, `owner/name` for `github`.

    `on_request` is told method and URL of each request before it leaves this machine, retries included; what it raises
    (`EgressBlocked`) stops the request. A provider that sends a body hands it over as well.
    """

    repository: str
    clone: Path | None = None  # a local clone, where a remote provider can use one as well
    base_url: str = ""  # of an enterprise server's API
    token: SecretStr | None = None
    timeout_s: float = 30.0
    on_request: Callable[[str, str, bytes], None] | None = None


class GitProvider(ABC):
    """Read access to one repository.

    Constructing a provider does no I/O. Every method raises `RepositoryMissing` when there is no repository where the
    configuration says (or it is corrupt, or the server refuses), and `RevisionUnknown` when it does not hold a revision
    (a shallow clone says so in the hint). Nothing is ever an empty list because of an error. Revisions that come from
    telemetry are untrusted: only what matches a hash or names a tag or branch that exists is ever handed to git.
    """

    name: ClassVar[str]

    def __init__(self, config: GitConfig) -> None:
        self.config = config

    @abstractmethod
    def resolve(self, revision: str) -> str:
        """The full 40-hex commit that `revision` (abbreviated hash, tag, branch) names. Raises `RevisionUnknown`."""

    @abstractmethod
    def commits(self, base: str, head: str, *, limit: int = 2000) -> Sequence[Commit]:
        """Exactly `git rev-list base..head`, newest first, merges included. An empty `base` means: the last `limit`.

        Every commit returned is an ancestor of `head` (or `head` itself) and none is an ancestor of `base`.
        """

    @abstractmethod
    def diff(self, revision: str) -> str:
        """Unified diff of a commit against its first parent, 3 lines of context, file names unquoted, no colour.

        Of a root commit: against the empty tree. Of a merge: empty text.
        """

    @abstractmethod
    def blame(self, revision: str, file: str, start: int, end: int) -> Mapping[int, str]:
        """Line number of `file` at `revision` -> full revision that wrote it, for lines `start..end` inclusive.

        Lines beyond the file's end are left out; an unknown file gives an empty mapping, and so does a provider
        without blame (GitHub's REST API has none).
        """

    @abstractmethod
    def files(self, revision: str, pattern: str) -> Mapping[str, str]:
        """Repository path -> text of the files at `revision` that match a glob (`docs/*.md`, `**/*.md`, `app/a.py`).

        Files that are not UTF-8 text or are larger than 1 MiB are left out.
        """
