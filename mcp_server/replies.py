"""Every reply passes the gate and stands in the ledger before it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, cast

from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent

from obsvty import ObsvtyError, Session

_P = ParamSpec("_P")
_CLIENT = "mcp client"


def reply(session: Session, text: str, data: object, *, incident_id: str = "") -> CallToolResult:
    """Compact text beside lean structured content, both sanitized with the same pseudonyms, and recorded."""
    clean = _outgoing(session, {"text": text, "data": data}, incident_id)
    return CallToolResult(
        content=[TextContent(type="text", text=str(clean["text"]))],
        structured_content=cast("dict[str, object]", clean["data"]),
    )


def reply_text(session: Session, text: str, *, incident_id: str = "") -> str:
    """A resource or prompt: sanitized and recorded like a reply."""
    return str(_outgoing(session, {"text": text}, incident_id)["text"])


def _outgoing(session: Session, content: dict[str, object], incident_id: str) -> dict[str, object]:
    gate = session.gate(incident_id)
    clean = gate.document("mcp reply", cast("dict[str, None]", content))
    body = cast("dict[str, object]", clean.content)
    with gate.egress(sink="mcp", destination=_CLIENT, redactions=clean.redactions) as egress:
        egress.record(json.dumps(body, ensure_ascii=False, default=str).encode())
    return body


def told(tool: Callable[_P, CallToolResult]) -> Callable[_P, CallToolResult]:
    """What we foresaw becomes a message that the model may read; anything else stays in the local log."""

    @wraps(tool)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> CallToolResult:
        try:
            return tool(*args, **kwargs)
        except ObsvtyError as error:
            raise ToolError(str(error)) from None

    return run
