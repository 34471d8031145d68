"""`obsvty lab`: JupyterLab with the obsvty kernel and the notebooks, on loopback, asking nothing of the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from obsvty.errors import UsageError

_PACKAGED = Path(__file__).parent / "notebooks"  # put there by the wheel
_IN_CLONE = Path(__file__).parents[2] / "notebooks"


def start_lab(data_dir: Path, *, folder: Path | None = None) -> int:
    """Run JupyterLab until it is stopped; returns its exit code.

    Args:
        data_dir: what the kernel opens.
        folder: where the notebooks are put, and Lab starts; default `obsvty-notebooks` in the working folder. Notebooks
            that are there are never overwritten.

    Raises:
        UsageError: JupyterLab is not installed.
    """
    if find_spec("jupyterlab") is None:
        raise UsageError(
            "JupyterLab is not installed.",
            hint="uv run --extra lab obsvty lab, or: pip install 'obsvty[lab]'",
        )
    from obsvty.notebook.kernelspec import kernelspec_path

    root = folder or Path("obsvty-notebooks")
    root.mkdir(parents=True, exist_ok=True)
    notebooks = _PACKAGED if _PACKAGED.is_dir() else _IN_CLONE
    for notebook in sorted(notebooks.glob("*.ipynb")):
        if not (root / notebook.name).exists():
            shutil.copy(notebook, root / notebook.name)
    command = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", f"--ServerApp.root_dir={root.resolve()}"]
    # Lab asks its makers for news and updates otherwise
    command += ["--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    if os.geteuid() == 0:
        command.append("--allow-root")
    environment = {
        **os.environ,
        "OBSVTY_DATA_DIR": str(data_dir.resolve()),
        "JUPYTER_PATH": os.pathsep.join([str(kernelspec_path()), os.environ.get("JUPYTER_PATH", "")]),
    }
    return subprocess.run(command, env=environment, check=False).returncode
