"""PyGithub's requests, each told to `on_request` before it leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from github import Auth, GithubRetry
from github.Requester import Requester

if TYPE_CHECKING:
    from types import TracebackType

    from github.Requester import HTTPRequestsConnectionClass, HTTPSRequestsConnectionClass
    from urllib3 import Retry
    from urllib3.connectionpool import ConnectionPool
    from urllib3.response import HTTPResponse

    from obsvty.ports.git import GitConfig

    Told = Callable[[str, str, bytes], None]

PUBLIC_API: Final = "https://api.github.com"
_RETRIES: Final = 2


def recorded_requester(config: GitConfig) -> Requester:
    """PyGithub's requester for a configuration; nothing is sent before it is used."""
    token = config.token
    base_url = (config.base_url or PUBLIC_API).rstrip("/")
    told = config.on_request or _nobody
    retry = _RecordedRetry(
        total=_RETRIES,
        secondary_rate_wait=1,
        backoff_factor=0.2,
        told=lambda m, path: told(m, _origin(base_url) + path, b""),
    )
    return _RecordedRequester(
        Auth.Token(token.get_secret_value()) if token is not None else None,
        base_url,
        timeout=max(1, round(config.timeout_s)),
        user_agent="obsvty",
        per_page=100,
        verify=True,
        retry=retry,
        pool_size=None,
        told=told,
    )


def _nobody(_method: str, _url: str, _body: bytes) -> None:
    return


def _origin(base_url: str) -> str:
    scheme, _, rest = base_url.partition("://")
    return f"{scheme}://{rest.split('/', 1)[0]}"


class _RecordedRequester(Requester):
    """Every JSON request of PyGithub goes through `requestJson`."""

    def __init__(
        self,
        auth: Auth.Auth | None,
        base_url: str,
        *,
        timeout: int,
        user_agent: str,
        per_page: int,
        verify: bool,
        retry: GithubRetry,
        pool_size: int | None,
        told: Told,
    ) -> None:
        super().__init__(auth, base_url, timeout, user_agent, per_page, verify, retry, pool_size)
        self._told = told

    def requestJson(  # noqa: N802 the library's name
        self,
        verb: str,
        url: str,
        parameters: dict[str, object] | None = None,
        headers: dict[str, object] | None = None,
        input: object | None = None,  # noqa: A002 the library's name
        cnx: HTTPRequestsConnectionClass | HTTPSRequestsConnectionClass | None = None,
        follow_302_redirect: bool = False,
    ) -> tuple[int, dict[str, object], str]:
        absolute = url if "://" in url else self.base_url + url
        full = Requester.add_parameters_to_url(absolute, dict(parameters or {}))
        self._told(verb, full, b"")
        return super().requestJson(verb, url, parameters, headers, input, cnx, follow_302_redirect)


class _RecordedRetry(GithubRetry):
    """A retry is a request of its own; urllib3 asks `increment` before each."""

    def __init__(self, *, told: Callable[[str, str], None] | None = None, **options: object) -> None:
        super().__init__(**options)  # pyright: ignore[reportArgumentType] handed through as they are
        self._told = told

    def new(self, **options: object) -> GithubRetry:
        """A copy, as urllib3 makes one for each attempt."""
        return super().new(told=self._told, **options)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: HTTPResponse | None = None,  # pyright: ignore[reportIncompatibleMethodOverride] PyGithub's is narrower too
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Retry:
        """What to do next; raises when the attempts are used up, so that no request is told of that is not made."""
        after = super().increment(method, url, response, error, _pool, _stacktrace)
        if self._told is not None:
            self._told(method or "GET", url or "")
        return after
