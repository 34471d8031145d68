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


def reply(
    session: Session, text: str, data: object, *, incident_id: str = "", client: str = "mcp client"
) -> CallToolResult:
    """Compact text beside lean structured content, both sanitized with the same pseudonyms, and recorded."""
    gate = session.gate(incident_id)
    clean = gate.document("mcp reply", cast("dict[str, None]", {"text": text, "data": data}))
    body = cast("dict[str, object]", clean.content)
    wire = json.dumps(body, ensure_ascii=False, default=str).encode()
    with gate.egress(sink="mcp", destination=client, redactions=clean.redactions) as egress:
        egress.record(wire)
    return CallToolResult(
        content=[TextContent(type="text", text=str(body["text"]))],
        structured_content=cast("dict[str, object]", body["data"]),
    )


def told(tool: Callable[_P, CallToolResult]) -> Callable[_P, CallToolResult]:
    """What we foresaw becomes a message that the model may read; anything else stays in the local log."""

    @wraps(tool)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> CallToolResult:
        try:
            return tool(*args, **kwargs)
        except ObsvtyError as error:
            raise ToolError(str(error)) from None

    return run
