"""A decoder of our own (requests are JSON lists) and a writer process that tests start, watch and kill.

`python feed.py ROOT FIRST COUNT THREADS [ROTATE_S]` writes the number of each acknowledged request to stdout, 4 bytes
each.
"""

import json
import os
import struct
import sys
import threading
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa

from obsvty.errors import OtlpError
from obsvty.model import Signal
from obsvty.store.schema import TABLES
from obsvty.store.writer import Writer

START_NS = 1_764_082_800_000_000_000
SECOND_NS = 1_000_000_000


def span(number: int, *, name: str = "GET /a", **more: object) -> dict[str, object]:
    """One span of a request; `number` makes it unlike the others."""
    return {
        "trace_id": f"{number:032x}",
        "span_id": f"{number:016x}",
        "name": name,
        "start_ns": START_NS + number * SECOND_NS,
        "duration_ns": 1_000_000 * (number % 100 + 1),
        "service_name": "shop",
        "resource_id": "r1",
        "attributes": [("number", str(number)), ("http.route", name)],
        **more,
    }


def request(*rows: Mapping[str, object]) -> bytes:
    return json.dumps(rows).encode()


def decode(signal: Signal, requests: Sequence[bytes]) -> dict[str, pa.Table]:
    rows: list[dict[str, object]] = []
    for body in requests:
        try:
            rows += json.loads(body)
        except ValueError as exc:
            raise OtlpError("not a list") from exc
    schema = TABLES[signal]
    time = "start_time" if signal == "traces" else "time"
    time_ns = "start_ns" if signal == "traces" else "time_ns"
    for row in rows:
        row.setdefault(time, row.get(time_ns))
        for part in (row, *row.get("events", [])):  # JSON has no tuples, and Arrow's maps want them
            part["attributes"] = [tuple(pair) for pair in part.get("attributes", [])]
    ids = sorted({str(row["resource_id"]) for row in rows if "resource_id" in row})
    resources = [{"resource_id": i, "attributes": [("id", i)], "dropped_attributes_count": 0} for i in ids]
    return {
        signal: pa.Table.from_pylist(rows, schema=schema),
        "resources": pa.Table.from_pylist(resources, schema=TABLES["resources"]),
    }


def padded(number: int) -> bytes:
    """A request of two spans and some hundred bytes."""
    text = blake2b(str(number).encode()).hexdigest()
    return request(span(2 * number, attributes=[("text", text)]), span(2 * number + 1))


def main() -> None:
    root, first, count, threads = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    rotate_s = float(sys.argv[5]) if len(sys.argv) > 5 else 0.05
    with Writer(root, decode, rotate_s=rotate_s, merge_files=4, grace_s=0.2, tidy_s=0.05) as writer:

        def feed(offset: int) -> None:
            for number in range(first + offset, first + count, threads):
                writer.put("traces", padded(number))
                os.write(1, struct.pack("<I", number))

        feeders = [threading.Thread(target=feed, args=(i,), daemon=True) for i in range(threads)]
        for feeder in feeders:
            feeder.start()
        for feeder in feeders:
            feeder.join()


if __name__ == "__main__":
    main()
