"""Looks at what is set up. Reads only; asks nothing of the network."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from obsvty.assembly import find_repository, make_alert_plugin, make_engine
from obsvty.errors import ObsvtyError
from obsvty.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obsvty.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the doctor. `off` is fine: something optional that is not set up."""

    name: str
    state: Literal["ok", "off", "bad"]
    text: str
    mend: str = ""


def examine(settings: Settings, *, repo: Path | None = None) -> list[Check]:
    """Every check, in the order in which a newcomer meets the parts."""
    return [
        *_store(settings),
        *_ports(settings),
        *_git(settings, repo),
        *_engine(settings),
        *_alerts(settings),
        *_notebook(),
        *_mcp(),
    ]


def _store(settings: Settings) -> Iterator[Check]:
    folder = settings.data_dir
    if not folder.exists():
        yield Check(
            name="data",
            state="off",
            text=f"{folder} does not exist yet",
            mend="obsvty serve, or obsvty import FILE",
        )
        return
    try:
        with Session(folder, settings) as session:
            counts = {
                name: session.reader.table(name).count().to_pyarrow().as_py() for name in ("traces", "logs")
            }
            wrong = list(session.egress.verify())
            failed = [
                record
                for incident in session.state.incidents()
                for record in session.state.deliveries(incident.id)
                if record.status == "failed"
            ]
    except ObsvtyError as exc:
        yield Check(name="data", state="bad", text=exc.message, mend=exc.hint)
        return
    writable = os.access(folder, os.W_OK)
    text = f"{folder}: {counts['traces']} spans, {counts['logs']} logs" + ("" if writable else ", read-only")
    yield Check(name="data", state="ok", text=text)
    yield Check(
        name="ledger",
        state="bad" if wrong else "ok",
        text=wrong[0] if wrong else "every row is as it was written",
        mend="obsvty egress verify" if wrong else "",
    )
    for record in failed:
        yield Check(
            name="alert",
            state="bad",
            text=f"{record.incident_id} was not delivered to {record.destination}: {record.reason}",
            mend=f"obsvty alert {record.incident_id}",
        )


def _ports(settings: Settings) -> Iterator[Check]:
    for name, address in (
        ("grpc", settings.receiver.grpc),
        ("http", settings.receiver.http),
        ("health", settings.mcp.http),
    ):
        host, _, port = address.rpartition(":")
        with socket.socket() as probe:
            probe.settimeout(1)
            taken = port.isdigit() and probe.connect_ex((host, int(port))) == 0
        yield Check(
            name=f"port {name}",
            state="ok" if taken else "off",
            text=f"something listens on {address}" if taken else f"nothing listens on {address}",
            mend="" if taken else "obsvty serve",
        )


def _git(settings: Settings, repo: Path | None) -> Iterator[Check]:
    if shutil.which("git") is None:
        yield Check(name="git", state="bad", text="git is not installed", mend="Debian: apt-get install git")
        return
    found = find_repository(settings, service="", repo=repo)
    if found is None:
        yield Check(
            name="repository",
            state="off",
            text="none is named, and this folder is none: no commit can be named",
            mend="set [git] repo in obsvty.toml, or use --repo PATH",
        )
        return
    try:
        head = found.git.resolve("HEAD")
    except ObsvtyError as exc:
        yield Check(name="repository", state="bad", text=exc.message, mend=exc.hint)
        return
    yield Check(name="repository", state="ok", text=f"{found.label} at {head[:12]}")


def _engine(settings: Settings) -> Iterator[Check]:
    try:
        engine = make_engine(settings)
    except ObsvtyError as exc:
        yield Check(name="engine", state="bad", text=exc.message, mend=exc.hint)
        return
    where = f"sends to {engine.destination}" if engine.destination else "nothing leaves this machine"
    yield Check(name="engine", state="ok", text=f"{settings.llm.engine}: {where}")


def _alerts(settings: Settings) -> Iterator[Check]:
    for name in settings.alerts.to:
        try:
            plugin = make_alert_plugin(settings, name, folder=settings.data_dir / "alerts")
        except ObsvtyError as exc:
            yield Check(name=f"alert {name}", state="bad", text=exc.message, mend=exc.hint)
        else:
            yield Check(name=f"alert {name}", state="ok", text=plugin.destination)


def _notebook() -> Iterator[Check]:
    lab = find_spec("jupyterlab") is not None
    yield Check(
        name="lab",
        state="ok" if lab else "off",
        text="JupyterLab is installed" if lab else "JupyterLab is not installed",
        mend="" if lab else "pip install 'obsvty[lab]'",
    )
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    yield Check(
        name="pdf",
        state="ok" if browser else "off",
        text=f"reports to PDF through {browser}"
        if browser
        else "no Chromium: reports as HTML and Markdown only",
        mend="" if browser else "Debian: apt-get install chromium",
    )


def _mcp() -> Iterator[Check]:
    """Another distribution may ship a module `mcp_server` as well; pip installs one over the other without a word."""
    owners = sorted(set(packages_distributions().get("mcp_server", [])))
    strangers = [owner for owner in owners if owner != "obsvty"]
    yield Check(
        name="mcp",
        state="bad" if strangers else "ok",
        text=f"mcp_server also belongs to {', '.join(strangers)}" if strangers else "obsvty mcp is ready",
        mend=f"pip uninstall {strangers[0]} && pip install --force-reinstall obsvty" if strangers else "",
    )
