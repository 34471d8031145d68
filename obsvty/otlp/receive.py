"""What both transports do with a request, and how both listen: addresses, certificates, tokens."""

from __future__ import annotations

import logging
import secrets
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from obsvty.errors import ObsvtyError, OtlpError, ReceiverError, StoreOverloaded
from obsvty.otlp.check import CheckedRequest, check_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from obsvty.model import Signal

    Put: TypeAlias = Callable[[Signal, bytes], None]

log = logging.getLogger(__name__)

WORKERS: Final = 16  # most of them wait for a shared fdatasync, not for a core


class NotStored(Exception):
    """The request is fine, and could not be stored now."""


def receive(put: Put, signal: Signal, body: bytes) -> CheckedRequest:
    """Validate a request and store it. Returns when it is durable.

    Raises:
        OtlpError: the bytes are not OTLP; the sender must not try again.
        NotStored: anything else; the sender should try again, because the other answers make it drop the data.
    """
    try:
        checked = check_request(signal, body)
        if not checked.empty:
            put(signal, checked.body)
    except OtlpError:
        raise
    except StoreOverloaded as exc:
        raise NotStored("Too much is waiting to be written.") from exc
    except ObsvtyError as exc:
        log.warning("A request of %s could not be stored: %s", signal, exc)
        raise NotStored("The store cannot be written now.") from exc
    except Exception as exc:
        # Uncaught it would be UNKNOWN or 500, after which exporters drop the data: our mistake, their loss.
        # No traceback: an exception's text can quote telemetry.
        log.error("A request of %s could not be stored: unexpected %s", signal, type(exc).__name__)  # noqa: TRY400
        raise NotStored("The store cannot be written now.") from exc
    return checked


def authorized(header: str | bytes | None, token: str | None) -> bool:
    """Whether an `authorization` header carries the token; always, when there is none to carry."""
    if token is None:
        return True
    given = header.encode("latin-1", "replace") if isinstance(header, str) else header or b""
    scheme, _, credential = given.partition(b" ")
    same = secrets.compare_digest(credential.strip(), token.encode())
    return same and scheme.lower() == b"bearer"


def split_address(address: str) -> tuple[str, int]:
    """`host:port` (IPv6 in brackets) as a pair; port 0 lets the system choose.

    Raises:
        ReceiverError: it is neither.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ReceiverError(
            f"{address} is not an address to listen on.", hint="Write host:port, e.g. 127.0.0.1:4317."
        )
    return host, int(port)


def port_taken(address: str, setting: str, reason: str = "") -> ReceiverError:
    """The error for an address that cannot be bound."""
    why = f" ({reason})" if reason else ""
    return ReceiverError(
        f"Cannot listen on {address}{why}.",
        hint=f"Another program, perhaps a Collector or another `obsvty serve`, may have the port: stop it, or set "
        f"[receiver] {setting}.",
    )


@dataclass(frozen=True, kw_only=True)
class Tls:
    """PEM files that fit together. With `client_ca`, clients must show a certificate that it signed."""

    cert: Path
    key: Path
    client_ca: Path | None = None


def check_tls(cert: Path | None, key: Path | None, client_ca: Path | None = None) -> Tls | None:
    """The files, when certificate and key are given and fit; None when none is given.

    Raises:
        ReceiverError: one is missing, cannot be read, or they do not belong together.
    """
    if cert is None and key is None and client_ca is None:
        return None
    if cert is None or key is None:
        raise ReceiverError(
            "TLS needs a certificate and its key.", hint="Set both [receiver] tls_cert and tls_key."
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as exc:
        raise ReceiverError(
            f"The certificate {cert.name} and key {key.name} cannot be used.",
            hint="Both must be PEM files, readable by this process, and belong together.",
        ) from exc
    try:
        if client_ca is not None:
            context.load_verify_locations(client_ca)
    except (OSError, ssl.SSLError) as exc:
        raise ReceiverError(
            f"The clients' authority {client_ca.name if client_ca else ''} cannot be used.",
            hint="[receiver] tls_client_ca must be a PEM file of certificates, readable by this process.",
        ) from exc
    return Tls(cert=cert, key=key, client_ca=client_ca)
