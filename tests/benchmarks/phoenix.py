"""The peer: arize-phoenix from PyPI, in a venv of its own, on the same payload."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from payload import requests
from server import GrpcSender, cpu_s, send_all, until

if TYPE_CHECKING:
    from pathlib import Path

_INSTALL_S = 900
_START_S = 180.0
_WAIT_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Peer:
    """What Phoenix took for spans that are in its database (SQLite), and nothing when `skipped` says why."""

    version: str = ""
    spans: int = 0
    us_per_span: float = 0.0
    skipped: str = ""


def measure(folder: Path, spans: int, items: int, in_flight: int) -> Peer:
    """Install, start, send `spans` in requests of `items` over gRPC, and wait until the database has them."""
    binary = folder / "venv" / "bin"
    try:
        subprocess.run(
            [sys.executable, "-m", "venv", folder / "venv"], check=True, capture_output=True, timeout=120
        )
        install = [binary / "pip", "install", "--quiet", "--disable-pip-version-check", "arize-phoenix"]
        subprocess.run(install, check=True, capture_output=True, text=True, timeout=_INSTALL_S)
        shown = subprocess.run(
            [binary / "pip", "list", "--format=freeze"],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        return Peer(skipped=f"arize-phoenix could not be installed ({type(exc).__name__}): {_reason(exc)}")
    version = next(
        line.partition("==")[2] for line in shown.stdout.splitlines() if line.startswith("arize-phoenix==")
    )
    work = folder / "work"
    work.mkdir()
    port, http_port = free_port(), free_port()
    environment = {
        **os.environ,
        "PHOENIX_WORKING_DIR": str(work),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(http_port),
        "PHOENIX_GRPC_PORT": str(port),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    with (work / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary / "phoenix", "serve"], cwd=work, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            return _load(process, work / "phoenix.db", port, version, spans, items, in_flight)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            shutil.rmtree(folder, ignore_errors=True)


def _load(
    process: subprocess.Popen[bytes],
    database: Path,
    port: int,
    version: str,
    spans: int,
    items: int,
    in_flight: int,
) -> Peer:
    until(lambda: process.poll() is not None or (stored(database) >= 0 and listens(port)), limit_s=_START_S)
    if process.poll() is not None or stored(database) < 0 or not listens(port):
        return Peer(version=version, skipped="phoenix serve did not start")
    count = max(1, spans // items)
    # its SQLite wants times of today; the ids differ in every request
    bodies = requests("traces", count + 1, items, seed=7, start_ns=time.time_ns() - 3_700_000_000_000)
    send_all(lambda: GrpcSender(port, "traces"), bodies.__getitem__, [count], 1)
    until(lambda: stored(database) >= items, limit_s=_WAIT_S)
    before, began_s = stored(database), cpu_s(process.pid)
    send_all(lambda: GrpcSender(port, "traces"), bodies.__getitem__, range(count), in_flight)
    until(lambda: stored(database) >= before + count * items, limit_s=_WAIT_S)
    durable = stored(database) - before
    if durable <= 0:
        return Peer(version=version, skipped="phoenix stored nothing within the time limit")
    return Peer(version=version, spans=durable, us_per_span=(cpu_s(process.pid) - began_s) / durable * 1e6)


def stored(database: Path) -> int:
    """Spans in Phoenix' database; -1 while there is none."""
    if not database.exists():
        return -1
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("select count(*) from spans").fetchone()[0])
        except sqlite3.OperationalError:
            return -1


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _reason(exc: BaseException) -> str:
    """The last line of what the installer said."""
    lines = str(getattr(exc, "stderr", None) or exc).strip().splitlines()
    return lines[-1] if lines else "no reason given"
