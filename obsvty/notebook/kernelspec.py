"""Where Jupyter finds the obsvty kernel: installed beside Jupyter by the wheel, and written down where it is not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import platformdirs

from obsvty.errors import StoreError

NAME: Final = "obsvty"
SPEC: Final = {
    "argv": [sys.executable, "-m", "obsvty.notebook.kernel", "-f", "{connection_file}"],
    "display_name": "Obsvty (traces, logs, metrics)",
    "language": "python",
    "interrupt_mode": "signal",
    "metadata": {"debugger": True},
}


def kernelspec_path(folder: Path | None = None) -> Path:
    """A folder for `JUPYTER_PATH` that holds `kernels/obsvty`.

    The environment's own share/jupyter where the package was installed with its shared data; else a kernelspec for
    this interpreter is written.

    Args:
        folder: where to write it; default the platform's user cache folder.

    Raises:
        StoreError: it cannot be written.
    """
    installed = Path(sys.prefix) / "share" / "jupyter"
    if folder is None and (installed / "kernels" / NAME / "kernel.json").is_file():
        return installed
    root = folder or Path(platformdirs.user_cache_dir("obsvty", appauthor=False)) / "jupyter"
    spec = root / "kernels" / NAME / "kernel.json"
    try:
        spec.parent.mkdir(parents=True, exist_ok=True)
        spec.write_text(json.dumps(SPEC, indent=2) + "\n", encoding="utf-8")
    except OSError as exc:
        raise StoreError(
            "The kernelspec cannot be written.", hint="Is the user's cache folder writable?"
        ) from exc
    return root
