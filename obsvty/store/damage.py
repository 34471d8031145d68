"""Whether a query failed because of a segment, and what a person does then. Reads; mends nothing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from obsvty.errors import StoreError
from obsvty.store.files import file_checksum
from obsvty.store.manifest import SegmentFile, read_manifest

# Bytes that are compared with their checksums when the engine does not say which file it means: a second or two
_COMPARED_BYTES = 2 << 30


@contextmanager
def reading_segments(root: Path) -> Generator[None]:
    """Turn an engine's error into `StoreError` when a segment is the reason; others pass."""
    try:
        yield
    except duckdb.Error as exc:
        if (error := segment_error(root, exc)) is not None:
            raise error from exc
        raise


def segment_error(root: Path, exc: duckdb.Error) -> StoreError | None:
    """The error to raise when a segment is gone or damaged; None when the query itself is the reason."""
    # garbage in a footer or page is reported as a bare Error ("Out of buffer"), without a file's name
    unnamed = type(exc) is duckdb.Error or isinstance(exc, duckdb.IOException)
    if not unnamed and not isinstance(exc, duckdb.InvalidInputException):
        return None
    manifest = read_manifest(root)
    files = manifest.files if manifest else ()
    said = str(exc)
    budget_bytes = _COMPARED_BYTES if unnamed else 0
    for file in sorted(files, key=lambda file: f"/{file.path}" not in said):
        deep = f"/{file.path}" in said or budget_bytes > 0
        budget_bytes -= file.size_bytes if deep else 0
        if (what := _damage(root, file, deep=deep)) is not None:
            return StoreError(
                f"Segment {root / file.path} {what}; queries that need it fail.",
                hint="Start `obsvty serve` again: at its start it moves damaged segments to quarantine/, and queries "
                "go on without them. Or put the file back from a backup.",
            )
    if isinstance(exc, duckdb.IOException):
        return StoreError(
            f"A segment in {root} cannot be read.",
            hint="Run the query again: the segment may have been merged or dropped while a very long query ran. If it "
            "still fails, check the folder's permissions and disk.",
        )
    return None


def _damage(root: Path, file: SegmentFile, *, deep: bool) -> str | None:
    path = root / file.path
    try:
        if path.stat().st_size != file.size_bytes:
            return "is damaged (its size changed)"
        if deep and file.checksum >= 0 and file_checksum(path) != file.checksum:
            return "is damaged (its bytes changed)"
    except FileNotFoundError:
        return "is gone"
    except OSError:
        return "cannot be read"
    return None
