"""The writer's manifest: several threads change it, one change at a time, each durable before the next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from obsvty.errors import StoreError
from obsvty.store.manifest import MANIFEST_NAME, Manifest, publish, read_manifest


class Catalog:
    """Owns the manifest of a data folder.

    Raises:
        StoreError: the manifest is damaged, or missing where there are segments.
    """

    def __init__(self, root: Path) -> None:
        found = read_manifest(root)
        if found is None and any((root / "seg").glob("*.parquet")):
            raise StoreError(
                f"{root / MANIFEST_NAME} is missing, but there are segments.",
                hint="Put it back from a backup, or move the whole data folder away to start with an empty one.",
            )
        self._root = root
        self._lock = threading.Lock()
        self._manifest = found or Manifest()

    @property
    def manifest(self) -> Manifest:
        """The generation of this moment."""
        return self._manifest

    def change(self, make: Callable[[Manifest], Manifest]) -> None:
        """Publish what `make` makes of the current generation; nothing when it returns the same object.

        Raises:
            OSError: the generation before it is still the current one.
        """
        with self._lock:
            following = make(self._manifest)
            if following is self._manifest:
                return
            following = replace(following, generation=self._manifest.generation + 1)
            publish(self._root, following)
            self._manifest = following
