"""The bundled incident: a real capture and a real git history, put into a work folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

from obsvty.errors import ObsvtyError, OtlpError, RepositoryError
from obsvty.model import Signal
from obsvty.otlp.decode import decode
from obsvty.otlp.files import ImportReport, import_files
from obsvty.store.writer import Writer

_DATA = files("obsvty.demo") / "data"
CAPTURE = "shop.otlp.jsonl.gz"
HISTORY = "shop.bundle"


def import_capture(data_dir: Path, *, progress: Callable[[int, int], None]) -> ImportReport:
    """Import the capture through the decoder and the store that the receiver uses; a second time changes nothing."""
    with as_file(_DATA / CAPTURE) as capture, Writer(data_dir, decode) as writer:

        def put(signal: Signal, body: bytes) -> None:
            writer.put_once(signal, body)

        report = import_files([capture], put, None, progress=progress)
        writer.flush()
        if writer.stats().quarantined:
            raise OtlpError("The bundled capture could not be decoded.", hint="Re-install obsvty.")
        return report


def clone_history(repo: Path) -> Path:
    """Clone the bundled history into `repo`, anew.

    Raises:
        RepositoryError: git is missing or refused.
    """
    if repo.exists():
        shutil.rmtree(repo)
    repo.parent.mkdir(parents=True, exist_ok=True)
    with as_file(_DATA / HISTORY) as bundle:
        command = ["git", "clone", "--quiet", "--branch", "main", str(bundle), str(repo)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        except FileNotFoundError as exc:
            raise RepositoryError("git is not installed.", hint="Debian: apt-get install git") from exc
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as exc:
            raise RepositoryError(
                "The bundled history could not be cloned.", hint="Is the work folder writable?"
            ) from exc
    return repo


def prepare_work(work: Path) -> Path:
    """An empty data folder for a demo inside `work`; only a folder that a demo made is ever emptied.

    Raises:
        ObsvtyError: `work` holds something else.
    """
    mark = work / ".obsvty-demo"
    if work.exists() and any(work.iterdir()) and not mark.is_file():
        raise ObsvtyError(
            f"{work} is not empty and was not made by the demo.", hint="Name another folder with --work."
        )
    data = work / "data"
    if data.exists():
        shutil.rmtree(data)
    work.mkdir(parents=True, exist_ok=True)
    mark.write_text("made by obsvty demo; may be deleted\n", encoding="utf-8")
    return data
