"""A data folder with the bundled capture, a clone of its history, and a real JupyterLab on both."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from obsvty.demo.bundled import clone_history, import_capture

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"


@dataclass(frozen=True)
class Lab:
    """A running server."""

    url: str
    token: str
    folder: Path

    def notebook(self, name: str) -> str:
        return f"{self.url}/lab/tree/{name}?reset&token={self.token}"  # reset: else the last workspace comes back


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment that points at the imported capture and the cloned history."""
    work = tmp_path_factory.mktemp("demo")
    import_capture(work / "data", progress=lambda _done, _all: None)
    clone_history(work / "shop")
    return {"OBSVTY_DATA_DIR": str(work / "data"), "OBSVTY_GIT__REPO": str(work / "shop")}


@pytest.fixture(scope="session")
def lab(demo: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on a free port of loopback, with its own configuration and this repository's kernelspec."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "kernelspec", folder / "jupyter" / "kernels" / "obsvty")
    settings = folder / "settings"
    settings.mkdir()
    quiet = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    (settings / "overrides.json").write_text(json.dumps(quiet))
    (folder / "work").mkdir()
    shutil.copy(ROOT / "notebooks" / "first-incident.ipynb", folder / "work")
    token = secrets.token_hex(8)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {
        **os.environ,
        **demo,
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "run"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_PATH": str(folder / "jupyter"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        f"--ServerApp.token={token}",
        f"--ServerApp.root_dir={folder / 'work'}",
        f"--LabApp.app_settings_dir={settings}",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield Lab(f"http://127.0.0.1:{port}", token, folder)
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real Chromium, headless."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def outside() -> list[str]:
    """Requests that went beyond loopback; `page` fills it."""
    return []


@pytest.fixture
def page(browser: Browser, outside: list[str], tmp_path: Path) -> Iterator[Page]:
    """A page whose every request is looked at."""

    def look(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "file:")):
            outside.append(request.url)

    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.on("request", look)
    yield page
    page.screenshot(path=tmp_path / "last.png")  # what a failed test saw
    page.close()
