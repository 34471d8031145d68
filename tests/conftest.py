"""What every test may use: the demo's incident, imported once, and a network that ends at this machine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from obsvty.demo.bundled import clone_history, import_capture
from obsvty.session import Session
from obsvty.settings import load_settings


def _refuse_the_network(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: Python's sockets reach loopback only. (It does not see gRPC's own C code.)"""
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = str(arguments[1][0])
    elif event == "socket.getaddrinfo":
        host = str(arguments[0] or "localhost")
    else:
        return
    if host != "localhost" and not ip_address(host.split("%")[0]).is_loopback:
        raise PermissionError("a test tried to leave this machine")


sys.addaudithook(_refuse_the_network)


@dataclass(frozen=True)
class Demo:
    """The bundled incident: a data folder and a clone."""

    data: Path
    repo: Path


@pytest.fixture(scope="session")
def imported_demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Made once; nobody writes into it."""
    folder = tmp_path_factory.mktemp("demo")
    import_capture(folder / "data", progress=lambda _done, _total: None)
    return Demo(data=folder / "data", repo=clone_history(folder / "shop"))


@pytest.fixture
def demo(imported_demo: Demo, tmp_path: Path) -> Demo:
    """A copy that the test may change."""
    shutil.copytree(imported_demo.data, tmp_path / "data")
    return Demo(data=tmp_path / "data", repo=imported_demo.repo)


@pytest.fixture
def open_demo(demo: Demo) -> Callable[..., Session]:
    """Open the demo's data with settings: `open_demo(llm={"engine": "openai"})`."""

    def opened(**settings: object) -> Session:
        return Session(demo.data, load_settings(store={"dir": demo.data}, **settings))

    return opened
