r"""What counts as an operation, an entry span, noise and a failed request: one answer for every analysis.

Regular expressions here are RE2's and Python's common subset, because the same rule runs in the engine (on
columns) and in Python (on the few names of one trace); a test holds the two equal.
"""

# Ibis types a table's column without the operators and methods of its real type; the engine checks those.
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ibis.expr.types as ir

SERVER: Final = 2
CLIENT: Final = 3
PRODUCER: Final = 4
CONSUMER: Final = 5
ERROR: Final = 2

NOISE_ENDINGS: Final = (" http send", " http receive")
"""ASGI instrumentation makes three or more of these per request: 42 % of the spans of a FastAPI service."""

_ID: Final = "{id}"
_NAME_RULES: Final = (
    (r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}", _ID),
    (r"\b[0-9a-f]{16,}\b", _ID),
    (r"([/ :=#])[0-9]+\b", r"\1" + _ID),
)
_HAS_ID: Final = r"[/ :=#][0-9]|[0-9a-fA-F]{8}"
_PATH_ID: Final = re.compile(
    r"[0-9]+|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|(?=[^/]*[0-9])[0-9a-fA-F]{12,}"
    r"|(?=(?:[^/0-9]*[0-9]){3})(?=[^/]*[A-Za-z])[\w~=-]{20,}"
)
_SQL_RULES: Final = (
    (re.compile(r"'(?:[^']|'')*'"), "?"),
    (re.compile(r"(?<![\w$])\$[0-9]+|(?<![\w:]):[A-Za-z_]\w*|%\(\w+\)s|%s"), "?"),
    (re.compile(r"(?<![\w.])-?[0-9]+(?:\.[0-9]+)?(?![\w.])"), "?"),
    (re.compile(r"\s+"), " "),
    (re.compile(r"\(\s*\?(?:\s*,\s*\?)+\s*\)"), "(?)"),
    (re.compile(r"\(\?\)(?:, ?\(\?\))+"), "(?)"),
)
_STATEMENT_CHARS: Final = 160


def template_name(name: str) -> str:
    """A span name without the ids in it: `GET /cart/17` becomes `GET /cart/{id}`."""
    if re.search(_HAS_ID, name):
        for pattern, replacement in _NAME_RULES:
            name = re.sub(pattern, replacement, name)
    return name


def template_path(path: str) -> str:
    """A URL path without its query, with ids as `{id}`."""
    path = path.partition("?")[0]
    return "/".join(_ID if _PATH_ID.fullmatch(part) else part for part in path.split("/"))


def template_statement(statement: str) -> str:
    """A statement's shape: literals and placeholders become `?`, lists of them one `(?)`; bounded in length."""
    for pattern, replacement in _SQL_RULES:
        statement = pattern.sub(replacement, statement)
    statement = statement.strip()
    return statement if len(statement) <= _STATEMENT_CHARS else statement[: _STATEMENT_CHARS - 1] + "…"


def is_noise_name(name: str) -> bool:
    """Whether a span of this name says nothing about what a request does."""
    return name.endswith(NOISE_ENDINGS)


def operation_name(traces: ir.Table) -> ir.StringValue:
    """The templated span name as a column expression; the regular expressions run only where a name holds an id."""
    import ibis

    name = traces.name.fill_null("")
    templated = name
    for pattern, replacement in _NAME_RULES:
        templated = templated.re_replace(pattern, replacement)
    return ibis.cases((name.re_search(_HAS_ID), templated), else_=name)


def is_noise(traces: ir.Table) -> ir.BooleanValue:
    """Spans that say nothing about what a request does."""
    name = traces.name.fill_null("")
    return name.endswith(NOISE_ENDINGS[0]) | name.endswith(NOISE_ENDINGS[1])


def is_root(traces: ir.Table) -> ir.BooleanValue:
    """Spans without a parent."""
    return traces.parent_span_id.fill_null("") == ""


def is_entry(traces: ir.Table) -> ir.BooleanValue:
    """Spans that are a request as its service sees it: server and consumer spans, and roots."""
    return (traces.kind.isin([SERVER, CONSUMER]) | is_root(traces)) & ~is_noise(traces)


def is_failed(traces: ir.Table) -> ir.BooleanValue:
    """Requests that failed: the span says so, or the HTTP status is 500 or more."""
    return (traces.status_code.fill_null(0) == ERROR) | (traces.http_status.fill_null(0) >= 500)
