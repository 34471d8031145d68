"""Logs become segments, exactly once; each is one new generation of the manifest."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from obsvty.store.catalog import Catalog
from obsvty.store.decoding import Decoder, decode_records
from obsvty.store.files import put_in_place
from obsvty.store.imports import ImportedRequests, request_hash
from obsvty.store.manifest import FORMAT
from obsvty.store.recent import RecentRequests
from obsvty.store.schema import TABLES
from obsvty.store.segments import write_segment
from obsvty.store.wal import Record, read_wal, wal_numbers, wal_path

log = logging.getLogger(__name__)


class Sealer:
    """Turns logs into segments. Used by one thread at a time."""

    def __init__(
        self, root: Path, decode: Decoder, catalog: Catalog, imports: ImportedRequests, recent: RecentRequests
    ) -> None:
        self._root = root
        self._decode = decode
        self._catalog = catalog
        self._imports = imports
        self._recent = recent
        self.segments = 0
        self.rows = 0

    @property
    def next_number(self) -> int:
        """A log number that was never used."""
        segments = [int(p.name[:12]) for p in (self._root / "seg").glob("*.parquet") if p.name[:12].isdigit()]
        return 1 + max(self._catalog.manifest.sealed, *wal_numbers(self._root / "wal"), *segments, -1)

    def recover(self) -> int:
        """Replay logs without a segment, and publish. Returns the requests replayed."""
        recovered = 0
        for number in wal_numbers(self._root / "wal"):
            path = wal_path(self._root / "wal", number)
            if number > self._catalog.manifest.sealed:
                content = read_wal(path)
                for offset, data in content.damaged:
                    self._keep(f"{number:012d}-at-{offset:09d}.wal.bin", data)
                    log.warning(
                        "%d bytes of log %d are no whole record and are kept aside", len(data), number
                    )
                if content.records:
                    recovered += len(content.records)
                    self.seal(number, content.records)
                    self._recent.add((_hash(r) for r in content.records if not r.once), time.time_ns())
            path.unlink(missing_ok=True)
        # a folder without a manifest has no tables: publish one at once, so that readers can begin
        self._catalog.change(lambda manifest: replace(manifest, format=FORMAT))
        if recovered:
            log.info("replayed %d requests", recovered)
        return recovered

    def seal(self, number: int, records: Sequence[Record]) -> None:
        """Make the records of a log visible, exactly once, and remove the log. Raises `OSError`, `StoreError`."""
        decoded = decode_records(self._decode, records)
        once = [_hash(record) for record in records if record.once]
        now_ns = time.time_ns()
        files = [
            written
            for name in TABLES
            if (
                written := write_segment(
                    self._root,
                    f"{number:012d}",
                    name,
                    decoded.tables.get(name, ()),
                    logs=(number, number),
                    came_ns=(now_ns, now_ns),
                )
            )
        ]
        for position, record in decoded.refused:
            # named by its place in the log: a replay writes the same file again instead of a second one
            name = f"{number:012d}-{position:06d}.{record.signal}.bin"
            self._keep(name, record.body)
            log.warning("a %s request could not be decoded and is kept in quarantine/%s", record.signal, name)
        if once:
            self._imports.add(once)
        self._recent.keep([_hash(record) for record in records if not record.once], now_ns)
        self._catalog.change(
            lambda manifest: replace(
                manifest,
                sealed=number,
                quarantined=manifest.quarantined + len(decoded.refused),
                files=(*manifest.files, *files),
            )
        )
        wal_path(self._root / "wal", number).unlink(missing_ok=True)
        self.segments += 1
        self.rows += sum(file.rows for file in files if file.table != "resources")

    def remove_strays(self) -> None:
        """Files that a crash left between two generations. Segments that the manifest should know are kept and told."""
        manifest = self._catalog.manifest
        known = {file.path for file in (*manifest.files, *manifest.dropped)}
        for path in (self._root / "seg").iterdir():
            if f"seg/{path.name}" in known:
                continue
            number = path.name[:12]
            if (
                path.suffix == ".tmp"
                or path.name.startswith("m")
                or (number.isdigit() and int(number) <= manifest.sealed)
            ):
                path.unlink(missing_ok=True)
            elif not wal_path(self._root / "wal", int(number) if number.isdigit() else -1).exists():
                log.warning("%s is not in the manifest; it is kept but not read", path.name)

    def _keep(self, name: str, data: bytes) -> None:
        path = self._root / "quarantine" / name
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(data)
        put_in_place(temporary, path)


def _hash(record: Record) -> bytes:
    return record.request or request_hash(record.signal, record.body)
