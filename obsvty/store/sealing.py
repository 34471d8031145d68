"""Logs become segments, and small segments larger ones; each step is one new generation of the manifest."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from obsvty.errors import StoreError
from obsvty.store.decoding import Decoder, decode_records
from obsvty.store.files import put_in_place
from obsvty.store.imports import ImportedRequests, request_hash
from obsvty.store.manifest import MANIFEST_NAME, DroppedFile, Manifest, SegmentFile, publish, read_manifest
from obsvty.store.schema import TABLES
from obsvty.store.segments import merge_segments, write_segment
from obsvty.store.wal import Record, read_wal, wal_numbers, wal_path

log = logging.getLogger(__name__)

# A file of this size is worth its place; merging it again would only rewrite bytes
_LARGE_BYTES = 64 << 20
# One merge stays in the segment thread: about 128 MB is 2 M spans and some seconds of CPU
_MERGE_BYTES = 128 << 20


class Sealer:
    """Owns the manifest. Used by one thread at a time.

    Raises:
        StoreError: the manifest is damaged, or missing where there are segments.
    """

    def __init__(
        self, root: Path, decode: Decoder, imports: ImportedRequests, *, merge_files: int, grace_ns: int
    ) -> None:
        self._root = root
        self._decode = decode
        self._imports = imports
        self._merge_files = merge_files
        self._grace_ns = grace_ns
        self.segments = 0
        self.rows = 0
        found = read_manifest(root)
        if found is None and any((root / "seg").glob("*.parquet")):
            raise StoreError(
                f"{root / MANIFEST_NAME} is missing, but there are segments.",
                hint="Put it back from a backup, or move the whole data folder away to start with an empty one.",
            )
        self._manifest = found or Manifest()

    @property
    def quarantined(self) -> int:
        """Requests in `quarantine/`, over the folder's life."""
        return self._manifest.quarantined

    @property
    def crowded(self) -> bool:
        """So many files that readers feel it: merging may not wait for a quiet moment any more."""
        return len(self._manifest.files) > 8 * self._merge_files

    @property
    def next_number(self) -> int:
        """A log number that was never used."""
        segments = [int(p.name[:12]) for p in (self._root / "seg").glob("*.parquet") if p.name[:12].isdigit()]
        return 1 + max(self._manifest.sealed, *wal_numbers(self._root / "wal"), *segments, -1)

    def recover(self) -> int:
        """Clean up what a crash left, replay logs without a segment, publish. Returns the requests replayed."""
        self._remove_strays()
        recovered = 0
        for number in wal_numbers(self._root / "wal"):
            path = wal_path(self._root / "wal", number)
            records = read_wal(path) if number > self._manifest.sealed else []
            if records:
                recovered += len(records)
                self.seal(number, records)
            path.unlink(missing_ok=True)
        # a folder without a manifest has no tables: publish one at once, so that readers can begin
        self._publish(self._without_expired(self._manifest))
        if recovered:
            log.info("replayed %d requests", recovered)
        return recovered

    def seal(self, number: int, records: Sequence[Record]) -> None:
        """Make the records of a log visible, exactly once, and remove the log. Raises `OSError`, `StoreError`."""
        decoded = decode_records(self._decode, records)
        files = [
            written
            for name in TABLES
            if (written := write_segment(self._root, f"{number:012d}", name, decoded.tables.get(name, ())))
        ]
        for position, record in decoded.refused:
            self._quarantine(number, position, record)
        once = [request_hash(record.signal, record.body) for record in records if record.once]
        if once:
            self._imports.add(once)
        manifest = self._manifest
        self._publish(
            replace(
                manifest,
                sealed=number,
                quarantined=manifest.quarantined + len(decoded.refused),
                files=(*manifest.files, *files),
            )
        )
        wal_path(self._root / "wal", number).unlink(missing_ok=True)
        self.segments += 1
        self.rows += sum(file.rows for file in files if file.table != "resources")

    def merge(self) -> None:
        """Merge small files where there are too many of one table and level, and unlink what nobody reads any more."""
        for name in TABLES:
            while files := self._next_merge(name):
                self._merge(name, files)
        manifest = self._without_expired(self._manifest)
        if manifest is not self._manifest:
            self._publish(manifest)

    def _next_merge(self, name: str) -> Sequence[SegmentFile]:
        levels: dict[int, list[SegmentFile]] = {}
        for file in self._manifest.files:
            if file.table == name and file.size_bytes < _LARGE_BYTES:
                levels.setdefault(file.level, []).append(file)
        for files in levels.values():
            if len(files) <= self._merge_files:
                continue
            chosen: list[SegmentFile] = []
            size_bytes = 0
            for file in files:
                size_bytes += file.size_bytes
                if len(chosen) > 1 and size_bytes > _MERGE_BYTES:
                    break
                chosen.append(file)
            return chosen
        return ()

    def _merge(self, name: str, files: Sequence[SegmentFile]) -> None:
        manifest = self._manifest
        merged = merge_segments(self._root, f"m{manifest.generation + 1:012d}", files)
        if merged is None:
            return
        gone = {file.path for file in files}
        first = next(i for i, file in enumerate(manifest.files) if file.path in gone)
        before = manifest.files[:first]
        after = tuple(file for file in manifest.files[first:] if file.path not in gone)
        at_ns = time.time_ns()
        dropped = tuple(DroppedFile(path=file.path, at_ns=at_ns) for file in files)
        self._publish(
            replace(manifest, files=(*before, merged, *after), dropped=(*manifest.dropped, *dropped))
        )
        log.debug("merged %d files of %s", len(files), name)

    def _without_expired(self, manifest: Manifest) -> Manifest:
        """Unlink files whose grace period is over; the same manifest when there are none."""
        limit_ns = time.time_ns() - self._grace_ns
        expired = [file for file in manifest.dropped if file.at_ns <= limit_ns]
        if not expired:
            return manifest
        for file in expired:
            (self._root / file.path).unlink(missing_ok=True)
        return replace(manifest, dropped=tuple(file for file in manifest.dropped if file.at_ns > limit_ns))

    def _remove_strays(self) -> None:
        """Files that a crash left between two generations. Segments that the manifest should know are kept and told."""
        known = {file.path for file in (*self._manifest.files, *self._manifest.dropped)}
        for path in (self._root / "seg").iterdir():
            if f"seg/{path.name}" in known:
                continue
            number = path.name[:12]
            if (
                path.suffix == ".tmp"
                or path.name.startswith("m")
                or (number.isdigit() and int(number) <= self._manifest.sealed)
            ):
                path.unlink(missing_ok=True)
            elif not wal_path(self._root / "wal", int(number) if number.isdigit() else -1).exists():
                log.warning("%s is not in the manifest; it is kept but not read", path.name)

    def _quarantine(self, number: int, position: int, record: Record) -> None:
        # named by its place in the log: a replay writes the same file again instead of a second one
        path = self._root / "quarantine" / f"{number:012d}-{position:06d}.{record.signal}.bin"
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(record.body)
        put_in_place(temporary, path)
        log.warning(
            "a %s request could not be decoded and is kept in quarantine/%s", record.signal, path.name
        )

    def _publish(self, manifest: Manifest) -> None:
        following = replace(manifest, generation=self._manifest.generation + 1)
        publish(self._root, following)
        self._manifest = following
