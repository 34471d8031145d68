"""JSON, times and windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
JsonObject: TypeAlias = "Mapping[str, JsonValue]"

Signal = Literal["traces", "logs", "metrics"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_ns(time_ns: int) -> datetime:
    """Unix nanoseconds to aware UTC (microsecond precision)."""
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def to_ns(time: datetime) -> int:
    """Aware datetime to Unix nanoseconds, without going through a float."""
    delta = time - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1000


def rfc3339(time: datetime) -> str:
    """UTC with milliseconds and a Z: `2026-11-25T14:59:31.250Z`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, kw_only=True)
class Window:
    """A half-open interval `[start, end)`."""

    start: datetime
    end: datetime

    @property
    def start_ns(self) -> int:
        """Start in Unix nanoseconds."""
        return to_ns(self.start)

    @property
    def end_ns(self) -> int:
        """End in Unix nanoseconds; not inside."""
        return to_ns(self.end)

    @classmethod
    def of_ns(cls, start_ns: int, end_ns: int) -> Window:
        """From Unix nanoseconds."""
        return cls(start=from_ns(start_ns), end=from_ns(end_ns))
