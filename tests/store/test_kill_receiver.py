"""`obsvty serve`, killed with SIGKILL at random moments under load: nothing acknowledged is lost, nothing is doubled.

Senders do what exporters do: a request without an acknowledgement is sent again, to the next process.
"""

import http.client
import os
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from obsvty.store.reader import Reader

KILLS = 10
ITEMS = 5  # spans, logs or points a request
START_NS = 1_764_082_800_000_000_000
ENVIRONMENT = {
    "OBSVTY_RECEIVER__GRPC": "127.0.0.1:0",
    "OBSVTY_RECEIVER__HTTP": "127.0.0.1:0",
    "OBSVTY_MCP__HTTP": "127.0.0.1:0",
    "OBSVTY_WATCH__ENABLED": "false",
}
PATHS = {"traces": "/v1/traces", "logs": "/v1/logs", "metrics": "/v1/metrics"}
METHODS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}


def request(signal: str, number: int) -> bytes:
    """A request whose items carry `number * ITEMS` and following as their time."""
    times = [START_NS + number * ITEMS + i for i in range(ITEMS)]
    if signal == "traces":
        spans = ExportTraceServiceRequest()
        scope = spans.resource_spans.add().scope_spans.add()
        for time in times:
            key = time - START_NS + 1
            scope.spans.add(
                trace_id=key.to_bytes(16), span_id=key.to_bytes(8), name="GET /", start_time_unix_nano=time
            ).end_time_unix_nano = time + 5
        return spans.SerializeToString()
    if signal == "logs":
        logs = ExportLogsServiceRequest()
        records = logs.resource_logs.add().scope_logs.add()
        for time in times:
            records.log_records.add(time_unix_nano=time).body.string_value = "hello"
        return logs.SerializeToString()
    points = ExportMetricsServiceRequest()
    gauge = points.resource_metrics.add().scope_metrics.add().metrics.add(name="m").gauge
    for time in times:
        gauge.data_points.add(time_unix_nano=time, as_double=1.0)
    return points.SerializeToString()


class Sender:
    """Sends one signal over one transport, and remembers what was acknowledged."""

    def __init__(self, signal: str, transport: str, first: int) -> None:
        self.signal, self.transport, self.next = signal, transport, first
        self.waiting: list[int] = []
        self.acknowledged: set[int] = set()
        self.again = 0

    def run(self, port: int, told: threading.Semaphore, *, only_waiting: bool = False) -> None:
        """Until the receiver is gone, or nothing waits."""
        export = self._over_grpc if self.transport == "grpc" else self._over_http
        for send in export(port):
            if only_waiting and not self.waiting:
                return
            if not self.waiting:
                self.waiting.append(self.next)
                self.next += 1
            try:
                send(request(self.signal, self.waiting[0]))
            except (grpc.RpcError, OSError, http.client.HTTPException):
                self.again += 1
                return
            self.acknowledged.add(self.waiting.pop(0))
            told.release()

    def _over_grpc(self, port: int):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(METHODS[self.signal])
            while True:
                yield lambda body: call(body, timeout=10)

    def _over_http(self, port: int):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

        def send(body: bytes) -> None:
            connection.request("POST", PATHS[self.signal], body, {"content-type": "application/x-protobuf"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise OSError(answer.status)

        try:
            while True:
                yield send
        finally:
            connection.close()


class Receiver:
    """A process that runs `obsvty serve`."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "obsvty", "serve", "--data", str(root)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )
        assert self.process.stderr is not None
        self.ports: dict[str, int] = {}
        for line in self.process.stderr:
            if found := re.search(r"gRPC on \S+:(\d+), OTLP/HTTP on \S+:(\d+)", line):
                self.ports = {"grpc": int(found[1]), "http": int(found[2])}
            if "Ctrl-C" in line:
                break
        assert self.ports

    def end(self, *, kill: bool) -> None:
        (self.process.kill if kill else self.process.terminate)()
        self.process.communicate(timeout=20)


def send_all(senders: list[Sender], receiver: Receiver, told: threading.Semaphore, **options: bool):
    threads = [
        threading.Thread(
            target=sender.run, args=(receiver.ports[sender.transport], told), kwargs=options, daemon=True
        )
        for sender in senders
    ]
    for thread in threads:
        thread.start()
    return threads


def test_kills_under_load_lose_nothing_that_was_acknowledged_and_double_nothing(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    moments = random.Random(seed)
    senders = [
        Sender(signal, transport, first)
        for signal in METHODS
        for transport, first in (("grpc", 0), ("http", 1_000_000))
    ]
    for _ in range(KILLS):
        receiver = Receiver(tmp_path)
        told = threading.Semaphore(0)
        threads = send_all(senders, receiver, told)
        for _ in range(moments.randrange(1, 300)):
            assert told.acquire(timeout=10)
        receiver.end(kill=True)
        for thread in threads:
            thread.join(20)

    # what was not acknowledged at the last kill is sent once more; some of it is stored already
    receiver = Receiver(tmp_path)
    for thread in send_all(senders, receiver, threading.Semaphore(0), only_waiting=True):
        thread.join(20)
    receiver.end(kill=False)
    assert receiver.process.returncode == 0

    with Reader(tmp_path) as reader:
        for signal in METHODS:
            column = "start_ns" if signal == "traces" else "time_ns"
            stored = Counter(
                time - START_NS for time in reader.table(signal)[column].to_pyarrow().to_pylist()
            )
            sent = {
                number * ITEMS + i
                for sender in senders
                if sender.signal == signal
                for number in sender.acknowledged
                for i in range(ITEMS)
            }
            assert (seed, signal, sent - stored.keys()) == (seed, signal, set())  # lost
            assert (seed, signal, [i for i, times in stored.items() if times > 1]) == (seed, signal, [])
            assert stored.keys() == sent
    assert all(sender.acknowledged and not sender.waiting for sender in senders)
    assert sum(sender.again for sender in senders) >= KILLS  # each kill left requests without an answer
