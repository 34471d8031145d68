"""Settings to plug-ins: the one place where a name in obsvty.toml becomes an object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from obsvty.errors import EgressBlocked, RepositoryError, SettingsError
from obsvty.ports import (
    AlertConfig,
    AlertPlugin,
    DocGenerator,
    GitConfig,
    GitProvider,
    LLMConfig,
    LLMEngine,
)
from obsvty.ports.registry import load
from obsvty.privacy import Gate
from obsvty.settings import Settings


@dataclass(frozen=True, kw_only=True)
class FoundRepository:
    """A repository to look for commits in."""

    git: GitProvider
    label: str  # what people call it: a path or owner/name
    path: str  # the service's folder in it; "" for all of it


def make_engine(settings: Settings, *, name: str = "") -> LLMEngine:
    """The configured engine, or the one called `name`. Raises `PluginNotFound`."""
    llm = settings.llm
    return load(LLMEngine, name or llm.engine)(
        LLMConfig(
            model=llm.model,
            base_url=llm.base_url,
            api_key=llm.api_key,
            timeout_s=llm.timeout_s,
            max_tokens=llm.max_tokens,
        )
    )


def make_alert_plugin(settings: Settings, name: str, *, folder: Path) -> AlertPlugin:
    """The alert plug-in called `name`; `folder` is where one that writes files does so.

    Raises:
        PluginNotFound: none is called so. SettingsError: it lacks something.
    """
    slack = settings.alerts.slack
    if name != "slack":  # Slack's secrets are nobody else's business
        return load(AlertPlugin, name)(AlertConfig(folder=folder.resolve()))
    return load(AlertPlugin, name)(
        AlertConfig(
            channel=slack.channel,
            token=slack.token,
            webhook_url=slack.webhook_url,
            base_url=slack.base_url,
            folder=folder.resolve(),
        )
    )


def make_doc_generator(name: str = "notebook") -> DocGenerator:
    """The document generator called `name`. Raises `PluginNotFound`."""
    return load(DocGenerator, name)()


def find_repository(
    settings: Settings,
    *,
    service: str,
    repo: str | Path | None = None,
    revision: str = "",
    gate: Gate | None = None,
    remembered: str = "",
) -> FoundRepository | None:
    """Where the code of a service is.

    Args:
        settings: `[git]` and `[git.services.NAME]`.
        service: whose code.
        repo: a clone that the caller names; wins over the settings.
        revision: what runs; the working folder counts only when it is a clone that holds it.
        gate: records the requests of a provider that makes some; without one, such a provider makes none.
        remembered: the clone that was named last; counts, like the working folder, only when it holds the revision.

    Returns:
        None when nothing is named and the working folder is not it. A named repository is returned unread: using it
        raises `RepositoryMissing` when it is not there.
    """
    git = settings.git
    own = git.services.get(service)
    path = own.path if own else ""
    if repo is not None:
        return FoundRepository(git=_provider("local", str(repo)), label=str(repo), path=path)
    named = (own.repo if own else "") or git.repo
    if named:
        if git.provider == "github" and "/" not in named:
            raise SettingsError(
                "[git] repo must be OWNER/NAME with the github provider.", hint="Correct obsvty.toml."
            )
        provider = load(GitProvider, git.provider)(
            GitConfig(
                repository=named,
                base_url=git.base_url,
                token=git.token,
                on_request=_recorder(git.provider, gate),
            )
        )
        return FoundRepository(git=provider, label=named, path=path)
    for place in (str(Path.cwd()), remembered):
        if place and _holds(_provider("local", place), revision or "HEAD"):
            return FoundRepository(git=_provider("local", place), label=place, path=path)
    return None


def _holds(git: GitProvider, revision: str) -> bool:
    try:
        git.resolve(revision)
    except RepositoryError:
        return False
    return True


def _provider(name: str, repository: str) -> GitProvider:
    return load(GitProvider, name)(GitConfig(repository=repository))


def _recorder(sink: str, gate: Gate | None) -> Callable[[str, str, bytes], None]:
    """Each request of a provider is an egress: method, URL and body are in the ledger before it leaves."""

    def record(method: str, url: str, body: bytes) -> None:
        if gate is None:
            raise EgressBlocked("A repository on a server is asked within an incident only.")
        line = f"{method} {url}".encode()
        with gate.egress(sink=sink, destination=url) as egress:
            egress.record(line + (b"\n" + body if body else b""))

    return record
