"""OTLP over gRPC: three methods on raw bytes. A request is answered when it is durable."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from obsvty.errors import OtlpError
from obsvty.otlp.receive import (
    WORKERS,
    NotStored,
    authorized,
    check_tls,
    port_taken,
    receive,
    split_address,
)
from obsvty.otlp.responses import INVALID_ARGUMENT, export_response, retry_info, retry_status, status

if TYPE_CHECKING:
    from pathlib import Path

    import grpc

    from obsvty.model import Signal
    from obsvty.otlp.receive import Put

log = logging.getLogger(__name__)

_PACKAGE: Final = "/opentelemetry.proto.collector."
METHODS: Final[dict[str, Signal]] = {
    f"{_PACKAGE}trace.v1.TraceService/Export": "traces",
    f"{_PACKAGE}logs.v1.LogsService/Export": "logs",
    f"{_PACKAGE}metrics.v1.MetricsService/Export": "metrics",
}


class GrpcReceiver:
    """An OTLP/gRPC server in threads of its own.

    Args:
        address: `host:port`; port 0 lets the system choose, `port` says which.
        put: stores one serialized request; blocks until it is durable; called from 16 threads at once.
        token: when set, calls without `authorization: Bearer <token>` are UNAUTHENTICATED.
        max_message_mb: limit of one request in MiB, after decompression.
        tls_cert: PEM certificate; with `tls_key` the port speaks TLS.
        tls_key: its key.
        tls_client_ca: PEM certificates; when set, only clients with a certificate that one of them signed may call.
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
    ) -> None:
        self._address = address
        self._put = put
        self._token = token
        self._max_bytes = max_message_mb << 20
        self._tls = check_tls(tls_cert, tls_key, tls_client_ca)
        self._server: grpc.Server | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self.port = split_address(address)[1]

    def start(self) -> None:
        """Listen. Returns when the port accepts calls.

        Raises:
            ReceiverError: the port is taken or the address is not one of this machine.
        """
        import grpc

        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="otlp-grpc")
        options = [
            ("grpc.max_receive_message_length", self._max_bytes),  # counted after gzip, measured
            (
                "grpc.so_reuseport",
                0,
            ),  # else a second server would share the port, and each get half of the calls
        ]
        server = grpc.server(pool, handlers=[_handler(self._put, self._token)], options=options)
        try:
            if self._tls is None:
                self.port = server.add_insecure_port(self._address)
            else:
                pair = (self._tls.key.read_bytes(), self._tls.cert.read_bytes())
                authority = self._tls.client_ca and self._tls.client_ca.read_bytes()
                credentials = grpc.ssl_server_credentials([pair], authority, authority is not None)
                self.port = server.add_secure_port(self._address, credentials)
        except (RuntimeError, OSError) as exc:
            server.stop(None)
            pool.shutdown()
            raise port_taken(self._address, "grpc") from exc
        server.start()
        self._server, self._pool = server, pool
        log.info("OTLP/gRPC listens on port %d", self.port)

    def stop(self, grace_s: float = 5.0) -> None:
        """Take no new calls, let those in flight finish, and return when no `put` runs any more.

        Calls that take longer than `grace_s` are cancelled, which tells their senders to try again.
        """
        with self._lock:
            server, pool = self._server, self._pool
            self._server = self._pool = None
        if server is not None and pool is not None:
            server.stop(grace_s).wait()
            pool.shutdown(wait=True)


def _handler(put: Put, token: str | None) -> grpc.GenericRpcHandler:
    import grpc

    def export(signal: Signal, body: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            checked = receive(put, signal, body)
        except OtlpError as exc:
            context.set_trailing_metadata((("grpc-status-details-bin", status(INVALID_ARGUMENT, str(exc))),))
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(exc))
        except NotStored as exc:
            # Python's exporter reads the first of these, others read the second
            context.set_trailing_metadata(
                (
                    ("google.rpc.retryinfo-bin", retry_info()),
                    ("grpc-status-details-bin", retry_status(str(exc))),
                )
            )
            context.abort(grpc.StatusCode.UNAVAILABLE, str(exc))
        return export_response(checked.rejected, checked.message)

    def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "A bearer token is needed.")

    def method(signal: Signal) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.unary_unary_rpc_method_handler(lambda body, context: export(signal, body, context))

    exports = {name: method(signal) for name, signal in METHODS.items()}
    refusal = grpc.unary_unary_rpc_method_handler(refuse)

    class Handler(grpc.GenericRpcHandler):
        def service(
            self, handler_call_details: grpc.HandlerCallDetails
        ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
            found = exports.get(handler_call_details.method)
            if found is None or token is None:
                return found  # None is UNIMPLEMENTED
            header = dict(handler_call_details.invocation_metadata or ()).get("authorization")
            return found if authorized(header, token) else refusal

    return Handler()
