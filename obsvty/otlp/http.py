"""OTLP over HTTP: a raw ASGI application in uvicorn, in its own thread. Answered means durable."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from obsvty.errors import ReceiverError
from obsvty.otlp.http_app import HttpApp
from obsvty.otlp.receive import WORKERS, check_tls, port_taken, split_address

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import uvicorn

    from obsvty.otlp.receive import Put

log = logging.getLogger(__name__)

_START_S = 10.0
# Longer than exporters wait between two requests (5 s for spans, 60 s for metrics), which else find a closed connection
_KEEP_ALIVE_S = 75


class HttpReceiver:
    """An OTLP/HTTP server in threads of its own: POST /v1/traces, /v1/logs, /v1/metrics.

    Args:
        address: `host:port`; port 0 lets the system choose, `port` says which.
        put: stores one serialized request; blocks until it is durable; called from 16 threads at once.
        token: when set, requests without `Authorization: Bearer <token>` get 401.
        max_message_mb: limit of one request in MiB, before and after decompression.
        tls_cert: PEM certificate; with `tls_key` the port speaks TLS.
        tls_key: its key.
        tls_client_ca: PEM certificates; when set, only clients with a certificate that one of them signed may send.
        cors_origins: origins whose pages may send; `*` allows all.
    """

    def __init__(
        self,
        address: str,
        put: Put,
        *,
        token: str | None = None,
        max_message_mb: int = 64,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        tls_client_ca: Path | None = None,
        cors_origins: Sequence[str] = (),
    ) -> None:
        self._address = address
        self._put = put
        self._token = token
        self._max_bytes = max_message_mb << 20
        self._tls = check_tls(tls_cert, tls_key, tls_client_ca)
        self._cors_origins = tuple(cors_origins)
        self._running: tuple[uvicorn.Server, threading.Thread, ThreadPoolExecutor] | None = None
        self._lock = threading.Lock()
        self.port = split_address(address)[1]

    def start(self) -> None:
        """Listen. Returns when the port accepts requests.

        Raises:
            ReceiverError: the port is taken or the address is not one of this machine.
        """
        import uvicorn

        listener = self._bind()
        self.port = listener.getsockname()[1]
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="otlp-http")
        app = HttpApp(
            self._put, pool, token=self._token, max_bytes=self._max_bytes, cors_origins=self._cors_origins
        )
        started = threading.Event()

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                started.set()

        tls = self._tls
        server = Server(
            uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                ssl_certfile=tls and tls.cert,
                ssl_keyfile=tls and str(tls.key),
                ssl_ca_certs=str(tls.client_ca) if tls and tls.client_ca else None,
                ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.client_ca else ssl.CERT_NONE,
            )
        )

        def run() -> None:
            try:
                server.run(sockets=[listener])
            finally:
                listener.close()
                started.set()

        thread = threading.Thread(target=run, name="otlp-http", daemon=True)
        thread.start()
        started.wait(_START_S)
        if not server.started:
            server.should_exit = True
            thread.join()
            pool.shutdown()
            raise ReceiverError(f"The server on {self._address} did not start.", hint="See the log.")
        self._running = (server, thread, pool)
        log.info("OTLP/HTTP listens on port %d", self.port)

    def stop(self, grace_s: float = 5.0) -> None:
        """Take no new requests, let those in flight finish, and return when no `put` runs any more.

        Requests that take longer than `grace_s` lose their connection, which tells their senders to try again.
        """
        with self._lock:
            running, self._running = self._running, None
        if running is None:
            return
        server, thread, pool = running
        server.config.timeout_graceful_shutdown = max(1, round(grace_s))
        server.should_exit = True
        thread.join()
        pool.shutdown(wait=True)

    def _bind(self) -> socket.socket:
        host, port = split_address(self._address)
        try:
            family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = socket.socket(family, kind, protocol)
        except OSError as exc:
            raise port_taken(self._address, "http", exc.strerror or "") from exc
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(target)
            listener.listen(1024)
        except OSError as exc:
            listener.close()
            raise port_taken(self._address, "http", exc.strerror or "") from exc
        return listener
