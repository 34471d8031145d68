"""Real git repositories made in tmp_path, and the bundled shop."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pytest

from obsvty.model import EdgeChange, OperationDiff
from obsvty.plugins.git_local import LocalGitProvider
from obsvty.ports.git import GitConfig
from obsvty.store.schema import LOGS, TRACES


class History:
    """A repository that grows commit by commit; times are given, so that hashes are the same in every run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str, stdin: str | None = None) -> str:
        time = f"{1_790_000_000 + self.count * 3600} +0000"
        who = {"NAME": "Ada Byron", "EMAIL": "ada@shop.example", "DATE": time}
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()},
        }
        command = ["git", "-C", str(self.folder), *arguments]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment, input=stdin, timeout=30
        )
        return done.stdout.strip()

    def commit(self, subject: str, changes: Mapping[str, str | None], *, body: str = "") -> str:
        """Write (or, for None, delete) files, commit everything, and return the revision."""
        for name, text in changes.items():
            path = self.folder / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
        self.count += 1
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject, *(["-m", body] if body else []))
        return self.git("rev-parse", "HEAD")

    def provider(self) -> LocalGitProvider:
        return LocalGitProvider(GitConfig(repository=str(self.folder)))


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "repository")


@pytest.fixture
def new_history(tmp_path: Path) -> Callable[[str], History]:
    return lambda name: History(tmp_path / name)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> LocalGitProvider:
    folder = tmp_path_factory.mktemp("shop") / "clone"
    with as_file(files("obsvty.demo") / "data" / "shop.bundle") as bundle:
        subprocess.run(
            ["git", "clone", "--quiet", "-b", "main", str(bundle), str(folder)], check=True, timeout=30
        )
    return LocalGitProvider(GitConfig(repository=str(folder)))


def new_edge(
    edge: str, ms: float, *, kind: str = "new", calls: tuple[float, float] = (0.0, 1.0)
) -> EdgeChange:
    assert kind in ("new", "more_calls", "slower", "same")
    return EdgeChange(
        edge=edge,
        service="shop",
        kind=kind,
        calls_before=calls[0],
        calls_after=calls[1],
        ms_before=0.0,
        ms_after=ms,
    )


@pytest.fixture
def shop_diff() -> OperationDiff:
    """What the bundled capture shows: three new calls of about 122 ms each."""
    issuer = [new_edge(f"POST 127.0.0.1:9090/issuer/{call}", 122.0) for call in ("bin", "avs", "velocity")]
    charge = new_edge("POST 127.0.0.1:8001/charge", 0.9, kind="same", calls=(1.0, 1.0))
    return OperationDiff(
        service="shop",
        operation="POST /checkout",
        requests_before=59,
        requests_after=65,
        ms_before=134.0,
        ms_after=504.0,
        edges=(*issuer, charge, new_edge("self", 3.1, kind="slower", calls=(1.0, 1.0))),
    )


def spans_table(*rows: Mapping[str, object]) -> ir.Table:
    return _table(
        TRACES,
        rows,
        {"duration_ns": 1_000_000, "start_ns": 0, "kind": 2, "service_name": "shop", "events": []},
    )


def logs_table(*rows: Mapping[str, object]) -> ir.Table:
    return _table(LOGS, rows, {"time_ns": 0, "service_name": "shop"})


def _table(
    schema: pa.Schema, rows: tuple[Mapping[str, object], ...], defaults: Mapping[str, object]
) -> ir.Table:
    whole = [{"attributes": [], **defaults, **row} for row in rows]
    return ibis.memtable(pa.Table.from_pylist(whole, schema=schema))


@dataclass(frozen=True)
class Make:
    """Builders of tables and edges for tests of this room."""

    spans: Callable[..., ir.Table] = spans_table
    logs: Callable[..., ir.Table] = logs_table
    edge: Callable[..., EdgeChange] = new_edge


@pytest.fixture
def make() -> Make:
    return Make()
