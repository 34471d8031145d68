"""The web side of `obsvty serve`: /healthz, /readyz, and what other packages mount beside them."""

from __future__ import annotations

import socket
import threading
from importlib.metadata import entry_points
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol

from obsvty.errors import ReceiverError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from obsvty.settings import Settings

GROUP = "obsvty.web_apps"


class MakeWebApp(Protocol):
    """What an entry point of the group `obsvty.web_apps` names."""

    def __call__(self, settings: Settings) -> Starlette | None:
        """An app whose routes are served beside the health endpoint; None when it must not be served."""
        ...


def mounted_apps(settings: Settings) -> list[Starlette]:
    """The installed web apps that may be served with these settings; the MCP server is one of them.

    Raises:
        SettingsError: an app cannot be imported.
    """
    found: list[Starlette] = []
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        try:
            make: MakeWebApp = point.load()
        except (ImportError, AttributeError) as exc:
            raise SettingsError(
                f"The web app {point.name!r} cannot be imported.",
                hint="Re-install the package that offers it.",
            ) from exc
        app = make(settings)
        if app is not None:
            found.append(app)
    return found


def is_loopback(host: str) -> bool:
    """Only this machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class WebEndpoint:
    """GET /healthz: the process lives. GET /readyz: ports are bound, a manifest is published. And mounted apps."""

    def __init__(self, address: str, apps: Sequence[Starlette] = ()) -> None:
        self._address = address
        self._apps = apps
        self.ready = False
        self.port = 0

    def start(self) -> None:
        """Listen; raises `ReceiverError` when the port is taken."""
        import uvicorn

        host, _, port = self._address.rpartition(":")
        try:
            self._socket = socket.create_server((host, int(port)), reuse_port=False)
        except (OSError, ValueError) as exc:
            raise ReceiverError(
                f"The health endpoint cannot listen on {self._address}.",
                hint="Stop what uses the port, or set OBSVTY_MCP__HTTP to another address.",
            ) from exc
        self.port = int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            self._app(), log_level="warning", access_log=False, timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="obsvty-web", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _app(self) -> Starlette:
        from contextlib import AsyncExitStack, asynccontextmanager

        from starlette.applications import Starlette
        from starlette.responses import JSONResponse
        from starlette.routing import Route

        def healthz(_request: Request) -> Response:
            return JSONResponse({"status": "ok"})

        def readyz(_request: Request) -> Response:
            status = "ok" if self.ready else "not ready"
            return JSONResponse({"status": status}, status_code=200 if self.ready else 503)

        @asynccontextmanager
        async def lifespan(_app: Starlette):
            async with AsyncExitStack() as stack:
                for app in self._apps:
                    await stack.enter_async_context(app.router.lifespan_context(app))
                yield

        routes = [Route("/healthz", healthz), Route("/readyz", readyz)]
        app = Starlette(routes=routes, lifespan=lifespan)
        for mounted in self._apps:
            app.mount(
                "/", mounted
            )  # each app's own middleware (token, Host and Origin checks) stays around its routes
        return app
