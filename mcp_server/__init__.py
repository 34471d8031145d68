"""Obsvty over MCP: the same functions as the notebook and the command line, for an on-call agent."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_server.server import build_server

__all__ = ["build_server", "main"]


def main() -> None:
    """`obsvty-mcp`: serve over stdio; `--data DIR` names the data folder."""
    from mcp_server.__main__ import run

    run()


def __getattr__(name: str) -> object:
    if name == "build_server":
        from mcp_server.server import build_server

        return build_server
    raise AttributeError(f"module 'mcp_server' has no attribute {name!r}")
