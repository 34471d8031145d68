"""The thread that keeps the segments tidy while the writer serves, and also when nothing comes in."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from obsvty.store.compaction import Compactor
from obsvty.store.files import any_store_error

log = logging.getLogger(__name__)

# Merging that may still begin when the writer closes: compose waits 10 s before it kills
_LAST_ROUND_S = 2.0


class TidyThread:
    """Runs the compactor every `every_s` seconds until `stop`, which allows a short last round."""

    def __init__(self, root: Path, compactor: Compactor, *, every_s: float) -> None:
        self._root = root
        self._compactor = compactor
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="obsvty-tidy", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after a last round; a merge that is under way is finished."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._round(float("inf"))
        self._round(time.monotonic() + _LAST_ROUND_S)

    def _round(self, until_s: float) -> None:
        last = self._stop.is_set()

        def proceed() -> bool:
            return self._stop.is_set() == last and time.monotonic() < until_s

        try:
            self._compactor.tidy(proceed)
            if not last:
                self._compactor.check_some()
        except Exception as exc:  # noqa: BLE001 # outermost loop: tidying is an economy and may wait
            log.warning("segments were not tidied: %s", any_store_error(exc, self._root).message)
