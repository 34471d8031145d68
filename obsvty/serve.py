"""`obsvty serve`: receivers, the watch loop and a health endpoint around one writer."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from obsvty.otlp.decode import decode
from obsvty.otlp.grpc import GrpcReceiver
from obsvty.otlp.http import HttpReceiver
from obsvty.store.writer import Writer
from obsvty.web import WebEndpoint, is_loopback, mounted_apps

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
        writer = running.enter_context(
            Writer(
                settings.data_dir,
                decode,
                retention_days=settings.store.retention_days,
                max_gb=settings.store.max_gb,
            )
        )
        grpc = GrpcReceiver(
            receiver.grpc,
            writer.put,
            token=token,
            max_message_mb=receiver.max_message_mb,
            tls_cert=receiver.tls_cert,
            tls_key=receiver.tls_key,
            tls_client_ca=receiver.tls_client_ca,
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
            tls_client_ca=receiver.tls_client_ca,
            cors_origins=receiver.cors_origins,
        )
        http.start()
        running.callback(http.stop, _GRACE_S)
        apps = mounted_apps(settings)
        health = WebEndpoint(settings.mcp.http, apps)
        health.start()
        running.callback(health.stop)
        if settings.watch.enabled:
            watch = Watch(settings, tell=tell)
            watch.start()
            running.callback(watch.stop)
        ports = Ports(grpc=grpc.port, http=http.port, health=health.port)
        tell(f"OTLP/gRPC on {_at(receiver.grpc, ports.grpc)}, OTLP/HTTP on {_at(receiver.http, ports.http)}")
        web = f"http://{_at(settings.mcp.http, ports.health)}"
        tell(f"{f'MCP on {web}/mcp, ' if apps else ''}health on {web}/healthz, data in {settings.data_dir}")
        if not apps:
            tell("MCP is off: it would be open to the network. Set OBSVTY_MCP__TOKEN to turn it on.")
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
        if not is_loopback(address.rsplit(":", 1)[0]):
            tell(f"warning: {address} is open to the network without a token; set OBSVTY_RECEIVER__TOKEN.")
