"""Old and new semantic-convention names into one vocabulary of promoted columns.

Instrumentation libraries change names between releases, and one trace can hold both vocabularies: whatever
a library says, the same fact ends in the same column. A new name wins over an old one; of a doubled key the
first counts; an unset value is as good as no key. The attributes themselves stay as sent.

The tables below are the only place where names are mapped (semantic-conventions 1.44, deprecated lists included).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import pyarrow as pa

from obsvty.otlp.columns import column, compute, nulls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from obsvty.otlp.columns import Column

# Column -> attribute names, the strongest first. Plain look-ups; what needs more than a look-up is in the
# functions below.
SPAN_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "http_method": ("http.request.method", "http.method"),
    "http_route": ("http.route",),
    "http_status": ("http.response.status_code", "http.status_code"),
    "db_system": ("db.system.name", "db.system"),
    "db_statement": ("db.query.text", "db.statement"),
}
CODE_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "code_file": ("code.file.path", "code.filepath"),
    "code_line": ("code.line.number", "code.lineno"),
    "code_function": ("code.function.name",),  # else code.namespace + code.function, which it replaced
}
RESOURCE_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "service_name": ("service.name",),
    "service_namespace": ("service.namespace",),
    "service_version": ("service.version",),
    "service_instance_id": ("service.instance.id",),
    "deployment_env": ("deployment.environment.name", "deployment.environment"),
    "vcs_revision": (  # else a service.version that is, or ends in, a revision
        "vcs.ref.head.revision",
        "vcs.repository.ref.revision",
        "vcs.revision",
        "git.commit.sha",
        "org.opencontainers.image.revision",
    ),
}
# Where a call goes, or where a request arrived: (host, port) pairs, the strongest first. `net.peer` is the
# other side, so on a server span it is the client, not the host that was asked.
HOST_NAMES: Final = (("server.address", "server.port"), ("http.host", ""))
CLIENT_HOST_NAMES: Final = (
    ("net.peer.name", "net.peer.port"),
    ("network.peer.address", "network.peer.port"),
    ("net.sock.peer.addr", "net.sock.peer.port"),
    ("net.peer.ip", "net.peer.port"),
)
SERVER_HOST_NAMES: Final = (("net.host.name", "net.host.port"), ("http.server_name", "net.host.port"))
SERVER_KINDS: Final = (2, 5)  # server, consumer

URL: Final = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>[^/?#]*)(?P<path>[^?#]*)"
_PATH: Final = r"^(?P<path>/[^?#]*)"
_SHA: Final = re.compile(r"(?:^|\+(?:[0-9a-z-]+\.)*g?)([0-9a-f]{7,40})$")
_PLAIN_NUMBER: Final = re.compile(r"^[0-9]{1,9}$")
_NO_TEXT: Final = pa.scalar(None, pa.string())


class Attributes:
    """One batch of attribute maps, indexed for look-ups: a dictionary of the keys once, then integer compares."""

    def __init__(self, maps: Column, row_of: NDArray[np.int64]) -> None:
        """Args: the maps, and for each of their entries the row it is in."""
        self._rows = len(maps)
        self._row_of = row_of
        self._items = maps.items
        keys = maps.keys.dictionary_encode()
        self._codes = np.asarray(keys.indices)
        self._code = {key: code for code, key in enumerate(cast("list[str]", keys.dictionary.to_pylist()))}
        self._missing = np.asarray(self._items.is_null(), np.bool_) if self._items.null_count else None

    def has(self, key: str) -> bool:
        """Whether any row has the key."""
        return key in self._code

    def first(self, *names: str) -> Column:
        """For each row the value of the first of `names` that it has, as text, else NULL."""
        known = [self._code[name] for name in names if name in self._code]
        if not known:
            return nulls(self._rows, pa.string())
        take = np.full(self._rows, -1, np.int64)
        for code in reversed(known):  # weakest first, so that the strongest overwrites
            entries = np.flatnonzero(self._codes == code)
            if self._missing is not None:
                entries = entries[~self._missing[entries]]
            backwards = entries[::-1]  # so that the first of doubled keys is written last
            take[self._row_of[backwards]] = backwards
        return self._items.take(column(take, mask=take < 0))


def span_columns(attributes: Attributes, kinds: Column) -> dict[str, Column]:
    """The promoted columns of spans; `kinds` are OTLP's span kinds, one a row."""
    columns = {column: attributes.first(*names) for column, names in SPAN_NAMES.items()}
    columns["http_status"] = number(columns["http_status"])
    new, old = (_url_parts(attributes, name) for name in ("url.full", "http.url"))
    columns["url_host"] = compute.coalesce(new[0], old[0], _host(attributes, kinds))
    columns["url_path"] = compute.coalesce(
        new[1], attributes.first("url.path"), old[1], _extract(attributes.first("http.target"), _PATH, "path")
    )
    return columns | code_columns(attributes)


def code_columns(attributes: Attributes) -> dict[str, Column]:
    """Where in the code: file as sent, line (int32), function with its namespace."""
    columns = {column: attributes.first(*names) for column, names in CODE_NAMES.items()}
    columns["code_line"] = number(columns["code_line"])
    if attributes.has("code.function"):
        function, namespace = attributes.first("code.function"), attributes.first("code.namespace")
        qualified = compute.binary_join_element_wise(namespace, function, ".")  # NULL when either is
        columns["code_function"] = compute.coalesce(columns["code_function"], qualified, function)
    return columns


def resource_columns(attributes: Mapping[str, str | None]) -> dict[str, str | None]:
    """The promoted columns of one resource; there are few, so they are plain Python values."""
    columns = {
        column: next((found for name in names if (found := attributes.get(name))), None)
        for column, names in RESOURCE_NAMES.items()
    }
    columns["vcs_revision"] = columns["vcs_revision"] or revision_in_version(columns["service_version"] or "")
    return columns


def revision_in_version(version: str) -> str | None:
    """The commit that a version names: `3580ae3`, `1.5.0+3580ae3`, `1.5.0+build.7.g3580ae3`; None when it names none.

    A bare number (a date, a build number) is not taken for a revision, unless it is as long as one.
    """
    match = _SHA.search(version.strip().lower())
    if match is None or (match[1].isdigit() and len(match[1]) < 40):
        return None
    return match[1]


def number(text: Column) -> Column:
    """Text of 1 to 9 digits as int32, anything else NULL."""
    if text.null_count == len(text):
        return nulls(len(text), pa.int32())
    return compute.cast(
        compute.if_else(compute.match_substring_regex(text, _PLAIN_NUMBER.pattern), text, _NO_TEXT),
        pa.int32(),
    )


def _host(attributes: Attributes, kinds: Column) -> Column:
    def joined(pairs: tuple[tuple[str, str], ...]) -> list[Column]:
        return [_with_port(attributes, host, port) for host, port in pairs if attributes.has(host)]

    hosts = joined(HOST_NAMES)
    server, client = joined(SERVER_HOST_NAMES), joined(CLIENT_HOST_NAMES)
    if server or client:
        is_server = compute.is_in(kinds, value_set=column(SERVER_KINDS, kinds.type))
        none = nulls(len(kinds), pa.string())
        hosts.append(
            compute.if_else(is_server, compute.coalesce(*server, none), compute.coalesce(*client, none))
        )
    return compute.coalesce(*hosts, nulls(len(kinds), pa.string()))


def _with_port(attributes: Attributes, host_name: str, port_name: str) -> Column:
    host = attributes.first(host_name)
    if not port_name or not attributes.has(port_name):
        return host
    port = attributes.first(port_name)
    return compute.coalesce(compute.binary_join_element_wise(host, port, ":"), host)


def _url_parts(attributes: Attributes, name: str) -> tuple[Column, Column]:
    url = attributes.first(name)
    return _extract(url, URL, "host"), _extract(url, URL, "path")


def _extract(text: Column, pattern: str, group: str) -> Column:
    """A named group of the pattern, NULL where it does not match or is empty."""
    if text.null_count == len(text):
        return text
    part = compute.extract_regex(text, pattern).field(group)
    return compute.if_else(compute.and_(text.is_valid(), compute.not_equal(part, "")), part, _NO_TEXT)
