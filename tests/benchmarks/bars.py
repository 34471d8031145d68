"""What both benchmarks print: the machine, the versions, and each bar with whether it holds."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A promise and what was measured. `at_most` False: the figure must be at least the limit."""

    name: str
    measured: float
    limit: float
    unit: str
    at_most: bool = True

    @property
    def holds(self) -> bool:
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "measured": round(self.measured, 3),
            "limit": self.limit,
            "unit": self.unit,
            "at_most": self.at_most,
            "holds": self.holds,
        }

    def line(self) -> str:
        sign = "<=" if self.at_most else ">="
        told = f"{self.measured:.1f} {sign} {self.limit:g} {self.unit}"
        return f"  {'holds ' if self.holds else 'MISSED'}  {self.name:<44} {told}"


def machine() -> str:
    """Processor, cores, memory, Python and the libraries that decide the figures."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    names = ("duckdb", "pyarrow", "ptars", "protobuf", "grpcio", "uvicorn")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    cores = len(os.sched_getaffinity(0))
    return f"{cpu}, {cores} cores, {memory_gb:.0f} GB; Python {platform.python_version()}; {versions}"


def verdict(bars: list[Bar]) -> str:
    """Each bar on a line, and the count."""
    missed = sum(not bar.holds for bar in bars)
    return "\n".join(
        ["Bars", *(bar.line() for bar in bars), f"  {len(bars) - missed} of {len(bars)} bars hold"]
    )


def exit_code(bars: list[Bar]) -> int:
    return 0 if all(bar.holds for bar in bars) else 1
