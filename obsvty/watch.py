"""The watch loop: looks at what streams in, investigates what is new, and tells whom it should."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from obsvty.deliver.verdict import headline
from obsvty.errors import ObsvtyError
from obsvty.model import Incident, Investigation, Window
from obsvty.session import Session

if TYPE_CHECKING:
    from obsvty.settings import Settings

log = logging.getLogger(__name__)

_LOOK_BACK_S = 3 * 3600.0  # baseline and incident window of the slowest detector fit into it


def watch_tick(session: Session, seen: dict[str, tuple[object, ...]]) -> list[Investigation]:
    """Investigate the incidents that are new or have changed since the last tick, and alert.

    Args:
        session: the data folder.
        seen: incident id -> what it looked like; updated. An incident that an earlier process told about is
            investigated once more, but its alert is edited, not sent again.
    """
    told: list[Investigation] = []
    for incident in session.detect(_recent(session)):
        looks = _looks(incident)
        if seen.get(incident.id) == looks:
            continue
        inv = session.investigate(incident)
        seen[incident.id] = looks
        told.append(inv)
        if inv.confidence >= session.settings.alerts.min_confidence:
            session.alert(inv)
    return told


def _recent(session: Session) -> Window | None:
    """The last hours of what is stored, so that a tick costs the same on the first day and a month later."""
    newest: int | None = session.traces.start_ns.max().to_pyarrow().as_py()
    if newest is None:
        return None
    return Window.of_ns(newest - int(_LOOK_BACK_S * 1e9), newest + 1_000)


def _looks(incident: Incident) -> tuple[object, ...]:
    """What makes an incident worth telling again: its findings and whether it is over, not its growing counts."""
    kinds = tuple((f.kind, f.service, f.operation) for f in incident.findings)
    return (kinds, incident.end, incident.deployment is not None)


class Watch:
    """Runs `watch_tick` every `[watch] interval_s` seconds in a thread of its own."""

    def __init__(self, settings: Settings, *, tell: Callable[[str], None] = log.info) -> None:
        self._settings = settings
        self._tell = tell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="obsvty-watch", daemon=True)

    def start(self) -> None:
        """Begin watching."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the tick that is running and end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        seen: dict[str, tuple[object, ...]] = {}
        with Session(self._settings.data_dir, self._settings) as session:
            while not self._stop.wait(self._settings.watch.interval_s):
                try:
                    for inv in watch_tick(session, seen):
                        self._tell(f"incident {inv.incident_id}: {inv.verdict}, {headline(inv)}")
                except ObsvtyError as exc:
                    log.warning("watch: %s", exc)
                except Exception as exc:  # noqa: BLE001 outermost loop: one bad tick must not end the watch
                    # no traceback: it could quote telemetry
                    log.error("watch: unexpected %s; the next tick tries again", type(exc).__name__)  # noqa: TRY400
