"""What receiving and storing costs, in CPU microseconds a span, against the cost of only parsing the bytes.

    python tests/benchmarks/ingest.py [--peers] [--json]

The whole path is a real `obsvty serve` in a process of its own (watch loop off): receive, validate, write-ahead log
with fdatasync, decode, Parquet segment, manifest; the CPU of all its threads until a reader sees the rows. The floor
is upb's `FromString` of the same requests, alone, in this process. Both are the least of several rounds. Exit code 1
when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bars import Bar, exit_code, machine, verdict
from payload import Renumbered, requests
from phoenix import Peer
from phoenix import measure as measure_phoenix
from server import Sender, Server, send_all, serving

from obsvty.otlp.descriptors import request_class

SIGNALS = {"traces": "spans", "logs": "logs", "metrics": "points"}
TRANSPORTS = ("grpc", "http")
SPAN_BARS = {512: 12.0, 8192: 9.0}
OTHER_BAR = 15.0
MEMORY_BAR_MB = 500.0
PEER_BAR = 100.0
# distinct items sent in turn: more than a segment of a second holds, so that repetition does not help compression
_DISTINCT = 32_768


@dataclass(frozen=True, kw_only=True)
class Row:
    """One signal and request size: microseconds of CPU an item."""

    signal: str
    items: int
    bytes_per_item: float
    floor_us: float
    whole_us: dict[str, float]
    refused: int

    def as_json(self) -> dict[str, object]:
        return {
            "signal": self.signal,
            "items_per_request": self.items,
            "bytes_per_item": round(self.bytes_per_item, 1),
            "floor_us": round(self.floor_us, 3),
            **{f"{transport}_us": round(us, 2) for transport, us in self.whole_us.items()},
            **{f"{transport}_ratio": round(us / self.floor_us, 2) for transport, us in self.whole_us.items()},
            "sent_again": self.refused,
        }

    def line(self) -> str:
        costs = "".join(f"{us:>9.2f}{us / self.floor_us:>8.1f}x" for us in self.whole_us.values())
        name = SIGNALS[self.signal]
        return f"{name:<8}{self.items:>9,}{self.bytes_per_item:>8.0f}{self.floor_us:>10.2f}{costs}"


class Floor:
    """The least that parsing took so far; sampled between the rounds, at the same moments of a shared machine.

    A large block that was freed makes glibc's malloc keep its pages. Without that it may give them back after each
    message and fault them in for the next one, and the same parse takes twice as long (1.6 us a span instead of 0.8).
    """

    def __init__(self, signal: str, bodies: list[bytes], items: int) -> None:
        self._parse = request_class(signal).FromString
        self._bodies = bodies
        self._items = len(bodies) * items
        self.us = float("inf")

    def sample(self) -> None:
        bytearray(31 << 20)
        for _ in range(3):
            began = time.process_time()
            for body in self._bodies:
                self._parse(body)
            self.us = min(self.us, (time.process_time() - began) / self._items * 1e6)


class Sent:
    """Hands out the requests of one server: no two are alike."""

    def __init__(self, requests: Renumbered) -> None:
        self._requests = requests
        self._next = 0

    def send(self, connect: Callable[[], Sender], count: int, in_flight: int) -> int:
        """Send the next `count`; how many had to be sent again."""
        numbers = range(self._next, self._next + count)
        self._next += count
        return send_all(connect, self._requests.request, numbers, in_flight)


def whole_us(
    server: Server,
    signal: str,
    transport: str,
    sent: Sent,
    floor: Floor,
    items: int,
    options: argparse.Namespace,
) -> tuple[float, int]:
    """Least CPU an item of several rounds, and how many requests had to be sent again."""
    count = max(1, options.spans // items)
    connect = server.sender(transport, signal)
    warm_up = max(1, count // 8)
    rows = server.visible(signal) + warm_up * items
    sent.send(connect, warm_up, options.in_flight)  # imports, caches, threads
    server.wait_visible(signal, rows)
    best, refused = float("inf"), 0
    for _ in range(options.repeats):
        floor.sample()  # while the server has nothing to do
        began_s = server.cpu_s()
        refused += sent.send(connect, count, options.in_flight)
        rows += count * items
        server.wait_visible(signal, rows)
        best = min(best, server.cpu_s() - began_s)
        floor.sample()
    if server.visible(signal) != rows:
        raise SystemExit(f"{server.visible(signal)} rows are visible, {rows} were acknowledged")
    return best / (count * items) * 1e6, refused


def measure(folder: Path, signal: str, items: int, options: argparse.Namespace) -> Row:
    bodies = requests(signal, max(1, min(_DISTINCT, options.spans) // items), items)
    sent = Sent(Renumbered(signal, bodies))
    floor = Floor(signal, bodies, items)
    whole: dict[str, float] = {}
    refused = 0
    with serving(folder / f"{signal}-{items}") as server:
        for transport in TRANSPORTS:
            whole[transport], again = whole_us(server, signal, transport, sent, floor, items, options)
            refused += again
    return Row(
        signal=signal,
        items=items,
        bytes_per_item=sum(map(len, bodies)) / (len(bodies) * items),
        floor_us=floor.us,
        whole_us=whole,
        refused=refused,
    )


@dataclass(frozen=True, kw_only=True)
class Sustained:
    """Memory and speed of one long load."""

    spans: int
    peak_mb: float
    idle_mb: float
    us_per_span: float
    wall_s: float
    refused: int


def sustained(folder: Path, items: int, options: argparse.Namespace) -> Sustained:
    """As many spans as asked, as fast as the server takes them, and its peak memory."""
    bodies = requests("traces", max(1, min(_DISTINCT, options.memory_spans) // items), items)
    sent = Sent(Renumbered("traces", bodies))
    count = max(1, options.memory_spans // items)
    with serving(folder / "sustained") as server:
        idle_mb, began_s, began = server.peak_mb(), server.cpu_s(), time.monotonic()
        refused = sent.send(server.sender("grpc", "traces"), count, options.in_flight)
        server.wait_visible("traces", count * items)
        return Sustained(
            spans=count * items,
            peak_mb=server.peak_mb(),
            idle_mb=idle_mb,
            us_per_span=(server.cpu_s() - began_s) / (count * items) * 1e6,
            wall_s=time.monotonic() - began,
            refused=refused,
        )


def bars_of(rows: list[Row], memory: Sustained, peer: Peer | None) -> list[Bar]:
    bars: list[Bar] = []
    for row in rows:
        limit = SPAN_BARS.get(row.items, max(SPAN_BARS.values())) if row.signal == "traces" else OTHER_BAR
        for transport, us in row.whole_us.items():
            name = f"{SIGNALS[row.signal]}, {row.items:,} a request, {transport}"
            bars.append(Bar(name=name, measured=us / row.floor_us, limit=limit, unit="x the floor"))
    name = f"peak memory, {memory.spans:,} spans"
    bars.append(Bar(name=name, measured=memory.peak_mb, limit=MEMORY_BAR_MB, unit="MB"))
    ours = next((row.whole_us["grpc"] for row in rows if row.signal == "traces"), 0.0)
    if peer and not peer.skipped and ours:
        bars.append(
            Bar(
                name=f"less CPU a durable span than Phoenix {peer.version}",
                measured=peer.us_per_span / ours,
                limit=PEER_BAR,
                unit="times",
                at_most=False,
            )
        )
    return bars


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spans", type=int, default=204_800, help="items a round (default 204,800)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 8192], help="items a request")
    parser.add_argument("--signals", nargs="+", choices=SIGNALS, default=list(SIGNALS))
    parser.add_argument("--repeats", type=int, default=3, help="rounds; the least counts")
    parser.add_argument("--in-flight", type=int, default=4, help="connections that send at once")
    parser.add_argument("--memory-spans", type=int, default=1_000_000, help="spans of the sustained load")
    parser.add_argument(
        "--peers", action="store_true", help="also arize-phoenix from PyPI, in a temporary venv"
    )
    parser.add_argument("--peer-spans", type=int, default=4_096, help="spans that Phoenix gets")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    told = sys.stderr if options.json else sys.stdout

    print(machine(), file=told)
    print("CPU microseconds an item; x: against the floor (upb FromString alone)", file=told)
    columns = "".join(f"{transport:>9}{'x':>9}" for transport in TRANSPORTS)
    print(f"{'':<8}{'a request':>9}{'bytes':>8}{'floor':>10}{columns}", file=told)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="obsvty-ingest-") as name:
        folder = Path(name)
        for signal in options.signals:
            for items in options.sizes:
                rows.append(measure(folder, signal, items, options))
                print(rows[-1].line(), file=told, flush=True)
        memory = sustained(folder, options.sizes[0], options)
        print(
            f"sustained: {memory.spans:,} spans in {memory.wall_s:.0f} s wall, {memory.us_per_span:.2f} us a span, "
            f"peak {memory.peak_mb:.0f} MB ({memory.idle_mb:.0f} MB idle), {memory.refused} requests sent again",
            file=told,
            flush=True,
        )
        peer = None
        if options.peers:
            peer = measure_phoenix(
                folder / "phoenix", options.peer_spans, options.sizes[0], options.in_flight
            )
            print(_told_peer(peer), file=told, flush=True)
    bars = bars_of(rows, memory, peer)
    print(verdict(bars), file=told)
    if options.json:
        result = {
            "machine": machine(),
            "rows": [row.as_json() for row in rows],
            "sustained": {
                "spans": memory.spans,
                "peak_mb": round(memory.peak_mb, 1),
                "us_per_span": round(memory.us_per_span, 2),
                "wall_s": round(memory.wall_s, 1),
                "sent_again": memory.refused,
            },
            "peer": None if peer is None else vars(peer),
            "bars": [bar.as_json() for bar in bars],
        }
        print(json.dumps(result, indent=1))
    return exit_code(bars)


def _told_peer(peer: Peer) -> str:
    if peer.skipped:
        return f"phoenix: skipped: {peer.skipped}"
    return f"phoenix {peer.version}: {peer.us_per_span:,.0f} us a span, {peer.spans:,} spans durable in its SQLite"


if __name__ == "__main__":
    sys.exit(main())
