"""An incident's own telemetry, pinned beside its notebook as Parquet: the analysis outlives the store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from obsvty.errors import NothingFound, UsageError
from obsvty.model import Window
from obsvty.notebook.requests import find_requests

if TYPE_CHECKING:
    import ibis.expr.types as ir


def window(start: str, end: str) -> Window:
    """A window from RFC 3339 texts with a zone. Raises `UsageError` for anything else."""
    try:
        first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    except ValueError as exc:
        raise UsageError(
            "A window's time is not RFC 3339.", hint="Example: 2026-11-25T14:59:31.250Z."
        ) from exc
    if first.tzinfo is None or last.tzinfo is None:
        raise UsageError("A window's time has no zone.", hint="End it in Z.")
    return Window(start=first, end=last)


@dataclass(frozen=True)
class Snapshot:
    """Tables of one incident, read from Parquet files in one folder."""

    folder: Path

    @cached_property
    def traces(self) -> ir.Table:
        """The spans; the canonical columns."""
        return self._read("traces")

    @cached_property
    def logs(self) -> ir.Table:
        """The log records; the canonical columns."""
        return self._read("logs")

    @property
    def sha256(self) -> dict[str, str]:
        """File name -> digest: what the numbers were computed from."""
        files = sorted(self.folder.glob("*.parquet"))
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def requests(self, *, service: str, operation: str, baseline: Window, window: Window) -> ir.Table:
        """The operation's requests in the two windows; see `find_requests`."""
        return find_requests(
            self.traces, service=service, operation=operation, baseline=baseline, window=window
        )

    def _read(self, name: str) -> ir.Table:
        import ibis

        path = self.folder / f"{name}.parquet"
        if not path.is_file():
            raise NothingFound(
                f"There is no {path.name} beside this notebook.",
                hint="Keep the notebook and its Parquet files in one folder.",
            )
        return ibis.read_parquet(path)


def open_snapshot(folder: str | Path = ".") -> Snapshot:
    """The snapshot in a folder. Raises `UsageError` when the folder holds none."""
    path = Path(folder)
    if not any(path.glob("*.parquet")):
        raise UsageError(
            "The folder holds no Parquet snapshot.", hint="Open the notebook where it was written."
        )
    return Snapshot(path)
