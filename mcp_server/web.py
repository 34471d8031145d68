"""MCP over streamable HTTP, mounted by `obsvty serve` at /mcp."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl

import obsvty
from mcp_server.server import build_server

if TYPE_CHECKING:
    from starlette.applications import Starlette

_SCOPE = "obsvty"
_NAMES = ("127.0.0.1", "localhost", "[::1]")  # how a client on this machine calls it


class OneToken(TokenVerifier):
    """The token of the settings, compared in constant time."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token's rights, or None."""
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return None
        return AccessToken(token=token, client_id="mcp", scopes=[_SCOPE])


def make_web_app(settings: obsvty.Settings) -> Starlette | None:
    """The app to mount; None where it would be open to the network without a token.

    Host and Origin are checked also when the server binds all interfaces: a web page that a person visits must not be
    able to ask it.
    """
    host, _, port = settings.mcp.http.rpartition(":")
    token = settings.mcp.token
    if token is None and not obsvty.is_loopback(host):
        return None
    resource = f"http://{host}:{port}/mcp"
    auth = verifier = None
    if token is not None:
        verifier = OneToken(token.get_secret_value())
        auth = AuthSettings(
            issuer_url=AnyHttpUrl(f"http://{host}:{port}/"),
            resource_server_url=AnyHttpUrl(resource),
            required_scopes=[_SCOPE],
            validate_token_resource=False,  # one token of one server: it has no other audience
        )
    server = build_server(obsvty.Session(settings.data_dir, settings), auth=auth, token_verifier=verifier)
    names = [*_NAMES, *([host] if host not in ("", "0.0.0.0", *_NAMES) else [])]  # noqa: S104 a comparison
    return server.streamable_http_app(
        transport_security=TransportSecuritySettings(
            allowed_hosts=[f"{name}:*" for name in names],
            allowed_origins=[f"http://{name}:*" for name in names],
        )
    )
