"""Times as people type them: RFC 3339, Unix nanoseconds, or relative (`-15m`)."""

import re
from datetime import UTC, datetime, timedelta

from obsvty.errors import UsageError
from obsvty.model import Window, from_ns

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_RELATIVE = re.compile(r"-(\d+(?:\.\d+)?)([smhdw])")
_NANOSECONDS = re.compile(r"\d{16,20}")


def parse_time(text: str, *, now: datetime) -> datetime:
    """A time as aware UTC; a time without a zone is UTC. Raises `UsageError`."""
    text = text.strip()
    if text == "now":
        return now
    if relative := _RELATIVE.fullmatch(text):
        return now - timedelta(seconds=float(relative[1]) * _UNITS[relative[2]])
    if _NANOSECONDS.fullmatch(text):
        return from_ns(int(text))
    try:
        time = datetime.fromisoformat(text)
    except ValueError as exc:
        raise UsageError(
            "A time could not be read.",
            hint="Write 2026-11-25T14:59:31Z, Unix nanoseconds, or -15m (s, m, h, d, w).",
        ) from exc
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def parse_window(start: str | None, end: str | None, *, now: datetime, name: str = "") -> Window | None:
    """A window from two options; both or none. `name` is the options' prefix. Raises `UsageError`."""
    if start is None and end is None:
        return None
    if start is None:
        raise UsageError(f"--{name}end needs --{name}start.")
    window = Window(start=parse_time(start, now=now), end=parse_time(end or "now", now=now))
    if window.start >= window.end:
        raise UsageError(f"--{name}start must be before --{name}end.")
    return window
