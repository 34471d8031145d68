"""The manifest: which segment files are live. Replaced atomically; readers look at nothing else.

    {"format": 1, "generation": 7, "sealed": 41, "quarantined": 0,
     "files": [{"path": "seg/000000000041.traces.parquet", "table": "traces", "rows": 512, "size_bytes": 31000,
                "min_ns": 1, "max_ns": 2, "level": 0, "checksum": 3735928559, ...}],
     "dropped": [{"path": "seg/000000000001.traces.parquet", "at_ns": 1}]}

`sealed` is the highest log number whose segment is in `files`: logs up to it are done, later ones are replayed.
`dropped` files were replaced by larger ones and go after a grace period, because a reader may still be reading them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from obsvty.errors import StoreError
from obsvty.store.files import write_in_place

MANIFEST_NAME = "manifest.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class SegmentFile:
    """One live Parquet file. `min_ns` and `max_ns` are of the table's own time; 0 where it has none.

    What has a default is unknown in files of earlier versions.
    """

    path: str  # relative to the data folder
    table: str
    rows: int
    size_bytes: int
    min_ns: int
    max_ns: int
    level: int  # 0 as flushed, n + 1 when merged from files of level n
    checksum: int = -1  # crc32 of the whole file
    first_log: int = 0  # the logs that its rows came in with
    last_log: int = 0
    came_from_ns: int = 0  # when its first and its last rows came in: retention counts from these, because
    came_to_ns: int = 0  # a row's own time may be years ago (a capture that is played again) or in the future


@dataclass(frozen=True, kw_only=True)
class DroppedFile:
    """A file that was replaced, and when (Unix nanoseconds)."""

    path: str
    at_ns: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One generation."""

    generation: int = 0
    sealed: int = -1
    quarantined: int = 0  # requests that could not be decoded
    damaged: int = 0  # segments that were set aside
    files: tuple[SegmentFile, ...] = ()
    dropped: tuple[DroppedFile, ...] = ()
    format: int = FORMAT


_MANIFEST: TypeAdapter[Manifest] = TypeAdapter(Manifest)


def read_manifest(root: Path) -> Manifest | None:
    """The current generation; None when the folder has none yet.

    Raises:
        StoreError: the file is damaged, or of a newer format.
    """
    path = root / MANIFEST_NAME
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise StoreError(
            f"The data folder {root} cannot be read.",
            hint="Check its permissions, or choose another with --data.",
        ) from exc
    try:
        raw: object = json.loads(data)
        newer = isinstance(raw, dict) and raw.get("format", 0) > FORMAT
        manifest = None if newer else _MANIFEST.validate_python(raw)
    except (ValueError, TypeError, ValidationError) as exc:
        raise StoreError(
            f"{path} is damaged.",
            hint="Put it back from a backup, or move the whole data folder away to start with an empty one.",
        ) from exc
    if manifest is None:
        raise StoreError(
            f"{path} was written by a newer version of Obsvty.",
            hint="Install that version, or choose another folder with --data.",
        )
    return manifest


def publish(root: Path, manifest: Manifest) -> None:
    """Replace the manifest durably. Raises `OSError`."""
    write_in_place(root / MANIFEST_NAME, json.dumps(asdict(manifest), separators=(",", ":")).encode())
