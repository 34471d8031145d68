"""Where a destination lies: a file here, this machine, or beyond it."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

_FILE_SINKS: Final = frozenset(
    {"log", "document", "mcp"}
)  # schemeless destinations of these are paths or "stdio"
_PATH: Final = re.compile(r"[/~.\\]|[A-Za-z]:[\\/]")


def is_file(sink: str, destination: str) -> bool:
    """A path, standard output, or nothing: no connection is made. An unclear destination of a remote sink is none."""
    if not destination:
        return True
    if "://" in destination:
        return destination.startswith("file:///")
    return _PATH.match(destination) is not None or sink in _FILE_SINKS


def is_local(sink: str, destination: str) -> bool:
    """Nothing leaves this machine: a file, or a server on loopback. A name that is not `localhost` is not."""
    if is_file(sink, destination):
        return True
    try:
        host = urlsplit(destination if "://" in destination else f"//{destination}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
