"""`python -m mcp_server [--data DIR]`: MCP over stdio. Standard output carries frames only."""

import argparse
import logging
import sys
from pathlib import Path

import obsvty


def run() -> None:
    """Serve until standard input closes."""
    parser = argparse.ArgumentParser(prog="obsvty-mcp", description="Obsvty's MCP server over stdio.")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder; default as in obsvty")
    parser.add_argument("--repo", type=Path, metavar="PATH", help="clone to look for commits in")
    chosen = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    try:
        session = obsvty.open(chosen.data)
    except obsvty.ObsvtyError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(error.exit_code) from None
    from mcp_server.server import build_server

    build_server(session, repo=chosen.repo).run("stdio")


if __name__ == "__main__":
    run()
