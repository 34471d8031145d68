"""`obsvty serve`: receivers, the watch loop and a health endpoint around one writer."""

from __future__ import annotations

import json
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from types import FrameType
from typing import TYPE_CHECKING

from obsvty.errors import ReceiverError
from obsvty.otlp.decode import decode
from obsvty.otlp.grpc import GrpcReceiver
from obsvty.otlp.http import HttpReceiver
from obsvty.store.writer import Writer

if TYPE_CHECKING:
    from obsvty.settings import Settings

log = logging.getLogger(__name__)

_GRACE_S = 3.0  # in-flight requests finish within this; compose allows 10 s before it kills


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where a running server listens; useful when the settings say port 0."""

    grpc: int
    http: int
    health: int


def serve(
    settings: Settings,
    *,
    tell: Callable[[str], None] = log.info,
    stop: threading.Event | None = None,
    ready: Callable[[Ports], None] | None = None,
) -> None:
    """Receive until `stop` is set, or until SIGINT or SIGTERM. All that was acknowledged is stored when it returns.

    Args:
        settings: `[receiver]`, `[watch]`, `[mcp] http` (where /healthz and /readyz are), `[store]`.
        tell: told what a person should know.
        stop: ends it; default: signals do.
        ready: called once with the ports when everything listens.

    Raises:
        StoreLocked: another process writes this data folder. ReceiverError: a port is taken.
    """
    from obsvty.watch import Watch

    done = stop or _stop_on_signal()
    _warn_open(settings, tell)
    receiver = settings.receiver
    token = receiver.token.get_secret_value() if receiver.token else None
    with ExitStack() as running:
        writer = running.enter_context(Writer(settings.data_dir, decode))
        grpc = GrpcReceiver(
            receiver.grpc,
            writer.put,
            token=token,
            max_message_mb=receiver.max_message_mb,
            tls_cert=receiver.tls_cert,
            tls_key=receiver.tls_key,
        )
        grpc.start()
        running.callback(grpc.stop, _GRACE_S)
        http = HttpReceiver(
            receiver.http,
            writer.put,
            token=token,
            max_message_mb=receiver.max_message_mb,
            tls_cert=receiver.tls_cert,
            tls_key=receiver.tls_key,
            cors_origins=receiver.cors_origins,
        )
        http.start()
        running.callback(http.stop, _GRACE_S)
        health = HealthEndpoint(settings.mcp.http)
        health.start()
        running.callback(health.stop)
        if settings.watch.enabled:
            watch = Watch(settings, tell=tell)
            watch.start()
            running.callback(watch.stop)
        ports = Ports(grpc=grpc.port, http=http.port, health=health.port)
        tell(f"OTLP/gRPC on {_at(receiver.grpc, ports.grpc)}, OTLP/HTTP on {_at(receiver.http, ports.http)}")
        tell(f"health on http://{_at(settings.mcp.http, ports.health)}/healthz, data in {settings.data_dir}")
        tell("Ctrl-C stops it; nothing that was acknowledged is lost.")
        health.ready = True
        if ready is not None:
            ready(ports)
        done.wait()
        tell("Stopping: finishing requests and writing what is waiting.")


def _stop_on_signal() -> threading.Event:
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    return stop


def _at(address: str, port: int) -> str:
    return f"{address.rsplit(':', 1)[0]}:{port}"


def _warn_open(settings: Settings, tell: Callable[[str], None]) -> None:
    """Binding beyond this machine without a token is allowed (a container does it), but never silent."""
    if settings.receiver.token is not None:
        return
    for address in (settings.receiver.grpc, settings.receiver.http):
        if not _is_loopback(address.rsplit(":", 1)[0]):
            tell(f"warning: {address} is open to the network without a token; set OBSVTY_RECEIVER__TOKEN.")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


_Message = MutableMapping[str, object]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class HealthEndpoint:
    """GET /healthz: the process lives. GET /readyz: ports are bound and a manifest is published."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.ready = False
        self.port = 0

    def start(self) -> None:
        """Listen; raises `ReceiverError` when the port is taken."""
        import socket

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
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app, interface="asgi3", log_level="warning", lifespan="off", access_log=False
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="obsvty-health", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    async def _app(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        del receive
        known = {"/healthz": True, "/readyz": self.ready}
        ok = known.get(str(scope["path"]))
        status = 404 if ok is None else 200 if ok else 503
        body = json.dumps({"status": "ok" if ok else "not ready" if ok is False else "unknown path"}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
