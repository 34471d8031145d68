"""How long after its acknowledgement telemetry is visible to another process, and what a span costs.

    python tests/benchmarks/freshness.py [--seconds 90] [--rate 5000]

Starts `obsvty serve` on an empty folder, sends spans over gRPC at a steady rate, and asks from another process for the
newest span again and again. The figures are upper bounds: they hold the time of the query that saw the span. Prints a
table and JSON; exits with 1 when the 99th percentile is above two seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SERVE = {
    "OBSVTY_RECEIVER__GRPC": "127.0.0.1:0",
    "OBSVTY_RECEIVER__HTTP": "127.0.0.1:0",
    "OBSVTY_MCP__HTTP": "127.0.0.1:0",
    "OBSVTY_WATCH__ENABLED": "false",
}
LIMIT_S = 2.0
POLL = """
import sys, time
from pathlib import Path
from obsvty.store.reader import Reader
with Reader(Path(sys.argv[1])) as reader:
    newest = reader.table("traces").start_ns.max()
    while True:
        seen = newest.to_pyarrow().as_py()
        print(time.time_ns(), seen or 0, flush=True)
        time.sleep(0.02)
"""


def request(rng: random.Random, spans: int, start_ns: int) -> bytes:
    """Spans of 12 attributes, every third with an event, 3 % with an error: about 600 bytes each on the wire."""
    export = ExportTraceServiceRequest()
    resource = export.resource_spans.add()
    for key, value in (
        ("service.name", rng.choice(("cart", "checkout", "payment"))),
        ("service.version", "1.4.2"),
        ("host.name", f"ip-10-0-0-{rng.randrange(8)}"),
        ("deployment.environment.name", "prod"),
    ):
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_spans.add()
    scope.scope.name = "opentelemetry.instrumentation.fastapi"
    for i in range(spans):
        if i % 8 == 0:
            trace_id, root = rng.randbytes(16), rng.randbytes(8)
        span = scope.spans.add(
            trace_id=trace_id,
            span_id=root if i % 8 == 0 else rng.randbytes(8),
            parent_span_id=b"" if i % 8 == 0 else root,
            name=f"GET /api/v1/orders/{{id}}/{i % 8}",
            kind=2,
            start_time_unix_nano=start_ns,
            end_time_unix_nano=start_ns + rng.randrange(1_000_000, 400_000_000),
        )
        for key, value in (
            ("http.request.method", "GET"),
            ("http.route", "/api/v1/orders/{id}"),
            ("url.path", f"/api/v1/orders/{rng.randrange(10**6)}"),
            ("url.scheme", "https"),
            ("server.address", "shop.example"),
            (
                "user_agent.original",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0 Safari/537.36",
            ),
            ("client.address", f"10.1.{rng.randrange(256)}.{rng.randrange(256)}"),
            ("enduser.id", f"user-{rng.randrange(10**5)}"),
            ("code.file.path", "/srv/app/orders.py"),
            ("code.function.name", "get_order"),
        ):
            span.attributes.add(key=key).value.string_value = value
        span.attributes.add(key="http.response.status_code").value.int_value = 200
        span.attributes.add(key="db.rows").value.int_value = rng.randrange(50)
        if i % 3 == 0:
            span.events.add(name="cache.miss", time_unix_nano=start_ns + 5)
        if rng.random() < 0.03:
            span.status.code = 2
    return export.SerializeToString()


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--seconds", type=float, default=90)
    options.add_argument("--rate", type=int, default=5000, help="spans a second")
    options.add_argument("--spans", type=int, default=100, help="spans a request")
    given = options.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "obsvty", "serve", "--data", folder],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **SERVE},
        )
        assert server.stderr is not None
        port = 0
        for line in server.stderr:
            if found := re.search(r"gRPC on \S+:(\d+)", line):
                port = int(found[1])
            if "Ctrl-C" in line:
                break
        poll = subprocess.Popen([sys.executable, "-c", POLL, folder], stdout=subprocess.PIPE, text=True)
        assert poll.stdout is not None
        poll.stdout.readline()
        seen_at: list[tuple[int, int]] = []  # when, newest span's start

        def collect() -> None:
            # while it is sent: a full pipe would stop the queries
            for line in poll.stdout or ():
                at_ns, seen = map(int, line.split())
                seen_at.append((at_ns, seen))
                if last and seen >= last[0]:
                    return

        last: list[int] = []
        collector = threading.Thread(target=collect)
        collector.start()
        started_cpu_s = cpu_s(server.pid)

        acknowledged: list[
            tuple[int, int, float]
        ] = []  # start_ns of the request, when acknowledged, ack time
        rng = random.Random(1)
        pause = threading.Event()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(EXPORT)
            began = time.monotonic()
            wire_bytes = 0
            while time.monotonic() - began < given.seconds:
                start_ns = time.time_ns()
                body = request(rng, given.spans, start_ns)
                sent = time.monotonic()
                call(body, timeout=30)
                acknowledged.append((start_ns, time.time_ns(), time.monotonic() - sent))
                wire_bytes += len(body)
                ahead = began + len(acknowledged) * given.spans / given.rate - time.monotonic()
                if ahead > 0:
                    pause.wait(ahead)
            sent_s = time.monotonic() - began
        used_cpu_s = cpu_s(server.pid) - started_cpu_s

        last.append(acknowledged[-1][0])
        collector.join(60)
        waits: list[float] = []
        for at_ns, seen in seen_at:
            while len(waits) < len(acknowledged) and acknowledged[len(waits)][0] <= seen:
                waits.append(max(0.0, (at_ns - acknowledged[len(waits)][1]) / 1e9))
        poll.kill()
        poll.wait()
        poll.stdout.close()
        server.terminate()
        server.communicate(timeout=60)
        manifest = json.loads((Path(folder) / "manifest.json").read_text())

    files = [file for file in manifest["files"] if file["table"] == "traces"]
    acks = [ack for _, _, ack in acknowledged]
    spans = len(acknowledged) * given.spans
    figures = {
        "spans": spans,
        "spans_per_s": round(spans / sent_s),
        "visible_after_s_p50": round(quantile(waits, 0.5), 3),
        "visible_after_s_p99": round(quantile(waits, 0.99), 3),
        "visible_after_s_max": round(max(waits), 3),
        "acknowledged_after_ms_p50": round(1000 * quantile(acks, 0.5), 1),
        "acknowledged_after_ms_p99": round(1000 * quantile(acks, 0.99), 1),
        "queries_meanwhile": len(seen_at),
        "server_cpu_us_per_span": round(1e6 * used_cpu_s / spans, 1),
        "wire_bytes_per_span": round(wire_bytes / spans),
        "stored_bytes_per_span": round(
            sum(f["size_bytes"] for f in files) / sum(f["rows"] for f in files), 1
        ),
        "rows": sum(f["rows"] for f in files),
        "segments": len(files),
        "merged_segments": sum(f["level"] > 0 for f in files),
    }
    for name, value in figures.items():
        print(f"{name:28} {value}")
    print(json.dumps(figures))
    return 0 if figures["visible_after_s_p99"] <= LIMIT_S and len(waits) == len(acknowledged) else 1


if __name__ == "__main__":
    sys.exit(main())
