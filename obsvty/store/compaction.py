"""What happens to segments after they are written: merged, checked, set aside, dropped when old, unlinked.

Runs beside the thread that writes segments: files are immutable, and only the manifest is shared (`Catalog`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from obsvty.errors import StoreError
from obsvty.store.catalog import Catalog
from obsvty.store.files import file_checksum, sync_folder
from obsvty.store.manifest import DroppedFile, Manifest, SegmentFile
from obsvty.store.schema import TABLES
from obsvty.store.segments import merge_segments

log = logging.getLogger(__name__)

# A file of this size is worth its place (1 M spans and more); merging it again would only rewrite bytes
_LARGE_BYTES = 64 << 20
# One merge: about 2 M spans, some seconds of CPU, one row group in memory
_MERGE_BYTES = 128 << 20
# Merged files span at most this part of the retention time, so that it is overstepped by 1/8 at most
_SPANS_A_RETENTION = 8
# So much is read and compared with its checksum before the writer takes requests; the rest while it serves
_CHECKED_AT_START_BYTES = 128 << 20


class Compactor:
    """Keeps the segments of a data folder few, whole and within bounds. Used by one thread at a time.

    Args:
        root: the data folder.
        catalog: its manifest.
        merge_files: small files of one table and level that may lie side by side.
        grace_ns: how long a file is kept after it left the manifest, for readers that began before.
        retention_ns: what came in longer ago goes, segment by segment; None keeps it.
        max_bytes: the oldest telemetry goes when the live segments are larger than this; None keeps it.
    """

    def __init__(
        self,
        root: Path,
        catalog: Catalog,
        *,
        merge_files: int,
        grace_ns: int,
        retention_ns: int | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self._root = root
        self._catalog = catalog
        self._merge_files = merge_files
        self._grace_ns = grace_ns
        self._retention_ns = retention_ns
        self._max_bytes = max_bytes
        self._unchecked: list[SegmentFile] = []

    def start(self) -> None:
        """Set aside what is damaged or gone, as far as that is seen quickly; the rest is for `check_some`.

        Raises:
            StoreError: all segments are gone, which is a folder that is not there rather than damage.
        """
        files = self._catalog.manifest.files
        missing = [file for file in files if not (self._root / file.path).exists()]
        if missing and len(missing) == len(files):
            raise StoreError(
                f"The manifest of {self._root} names {len(files)} segments, and none of them is there.",
                hint="Check that the whole data folder is mounted, or move it away to start with an empty one.",
            )
        self._set_aside([file for file in files if not self._looks_whole(file)])
        self._catalog.change(_with_arrival)
        self._unchecked = [file for file in self._catalog.manifest.files if file.checksum >= 0]
        budget_bytes = _CHECKED_AT_START_BYTES
        while self._unchecked and budget_bytes > 0:
            budget_bytes -= self._unchecked[-1].size_bytes
            self.check_some()

    def check_some(self) -> bool:
        """Compare one more file with its checksum, newest first; whether there are others."""
        if self._unchecked:
            file = self._unchecked.pop()
            if file in self._catalog.manifest.files and not self._is_whole(file):
                self._set_aside([file])
        return bool(self._unchecked)

    def tidy(self, proceed: Callable[[], bool] = lambda: True) -> None:
        """Retention, merges and unlinking; between two merges it stops when `proceed` says so. Raises `OSError`."""
        self.retain()
        self.unlink_expired()
        for name in TABLES:
            while proceed() and (files := self._next_merge(name)):
                self._merge(name, files)

    def retain(self) -> None:
        """Drop what is too old, and the oldest when there is too much. Raises `OSError`."""
        old = self._too_old(self._catalog.manifest)
        if old:
            self._catalog.change(lambda manifest: _without(manifest, {file.path for file in old}))
            log.info("retention dropped %d segments", len(old))

    def unlink_expired(self) -> None:
        """Unlink files whose grace period is over. Raises `OSError`."""
        limit_ns = time.time_ns() - self._grace_ns
        expired = {file.path for file in self._catalog.manifest.dropped if file.at_ns <= limit_ns}
        if not expired:
            return
        for path in expired:
            (self._root / path).unlink(missing_ok=True)
        self._catalog.change(
            lambda manifest: replace(
                manifest, dropped=tuple(file for file in manifest.dropped if file.path not in expired)
            )
        )

    def _too_old(self, manifest: Manifest) -> list[SegmentFile]:
        signals = sorted(
            (file for file in manifest.files if file.table != "resources"),
            key=lambda file: (file.came_to_ns, file.path),
        )
        limit_ns = None if self._retention_ns is None else time.time_ns() - self._retention_ns
        left_bytes = sum(file.size_bytes for file in manifest.files)
        old: list[SegmentFile] = []
        for file in signals:
            too_old = limit_ns is not None and file.came_to_ns < limit_ns
            if not too_old and (self._max_bytes is None or left_bytes <= self._max_bytes):
                break
            old.append(file)
            left_bytes -= file.size_bytes
        if old:
            # each log brings the resources that it uses: those of logs before all that is left serve nobody
            first = min((file.first_log for file in signals[len(old) :]), default=manifest.sealed + 1)
            old += [file for file in manifest.files if file.table == "resources" and file.last_log < first]
        return old

    def _next_merge(self, name: str) -> Sequence[SegmentFile]:
        levels: dict[int, list[SegmentFile]] = {}
        for file in self._catalog.manifest.files:
            if file.table == name and file.size_bytes < _LARGE_BYTES:
                levels.setdefault(file.level, []).append(file)
        for files in levels.values():
            if len(files) <= self._merge_files:
                continue
            return self._beside_each_other(files)
        return ()

    def _beside_each_other(self, files: Sequence[SegmentFile]) -> Sequence[SegmentFile]:
        """The first two files, and those behind them that still fit into one."""
        chosen = list(files[:2])
        size_bytes = sum(file.size_bytes for file in chosen)
        for file in files[2:]:
            size_bytes += file.size_bytes
            # a file is dropped as a whole, when its last row is old: it must not span a year where little comes in
            span_ns = file.came_to_ns - chosen[0].came_from_ns
            too_long = self._retention_ns is not None and span_ns > self._retention_ns / _SPANS_A_RETENTION
            if size_bytes > _MERGE_BYTES or too_long:
                break
            chosen.append(file)
        return chosen

    def _merge(self, name: str, files: Sequence[SegmentFile]) -> None:
        stem = f"m{self._catalog.manifest.generation + 1:012d}"
        try:
            merged = merge_segments(self._root, stem, files)
        except (OSError, pa.ArrowException):
            damaged = [file for file in files if not self._is_whole(file)]
            if not damaged:
                raise
            self._set_aside(damaged)
            return
        if merged is None:
            return
        self._catalog.change(lambda manifest: _without(manifest, {file.path for file in files}, merged))
        log.debug("merged %d files of %s", len(files), name)

    def _looks_whole(self, file: SegmentFile) -> bool:
        try:
            return (self._root / file.path).stat().st_size == file.size_bytes
        except OSError:
            return False

    def _is_whole(self, file: SegmentFile) -> bool:
        if not self._looks_whole(file):
            return False
        try:
            return file.checksum < 0 or file_checksum(self._root / file.path) == file.checksum
        except OSError:
            return False

    def _set_aside(self, files: Sequence[SegmentFile]) -> None:
        """Move damaged files to `quarantine/`, and let the manifest forget them, so that queries work again."""
        if not files:
            return
        for file in files:
            path = self._root / file.path
            kept = self._root / "quarantine" / path.name
            there = path.exists()
            if there:
                path.rename(kept)
            log.error(
                "segment %s is %s and is not read any more: %d rows",
                path.name,
                f"damaged, is kept in quarantine/{kept.name}" if there else "gone",
                file.rows,
            )
        sync_folder(self._root / "quarantine")
        gone = {file.path for file in files}
        self._catalog.change(
            lambda manifest: replace(
                manifest,
                files=tuple(file for file in manifest.files if file.path not in gone),
                damaged=manifest.damaged + len(files),
            )
        )


def _with_arrival(manifest: Manifest) -> Manifest:
    """The manifest where files of earlier versions, which did not say when they came in, came in now."""
    if all(file.came_to_ns for file in manifest.files):
        return manifest
    now_ns = time.time_ns()
    files = (
        f if f.came_to_ns else replace(f, came_from_ns=now_ns, came_to_ns=now_ns) for f in manifest.files
    )
    return replace(manifest, files=tuple(files))


def _without(manifest: Manifest, gone: Collection[str], instead: SegmentFile | None = None) -> Manifest:
    """The manifest with `instead` where the first of `gone` was; the others are dropped, and wait for unlinking."""
    files = list(manifest.files)
    first = next((i for i, file in enumerate(files) if file.path in gone), 0)
    left = [*files[:first], *([instead] if instead else []), *files[first:]]
    at_ns = time.time_ns()
    dropped = tuple(DroppedFile(path=file.path, at_ns=at_ns) for file in files if file.path in gone)
    return replace(
        manifest,
        files=tuple(file for file in left if file.path not in gone),
        dropped=(*manifest.dropped, *dropped),
    )
