"""A request that is sent again, because its acknowledgement was lost, is acknowledged and not stored again."""

import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from types import ModuleType

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from obsvty.errors import StoreError
from obsvty.otlp.decode import decode
from obsvty.otlp.http import HttpReceiver
from obsvty.store.reader import Reader
from obsvty.store.recent import RecentRequests
from obsvty.store.writer import Writer


def count(root: Path, table: str = "traces") -> int:
    with Reader(root) as reader:
        return reader.table(table).count().to_pyarrow().as_py()


def test_the_same_bytes_are_stored_once_before_and_after_they_became_a_segment(
    root: Path, feed: ModuleType
) -> None:
    with Writer(root, feed.decode, rotate_s=60) as writer:
        writer.put("traces", feed.padded(1))
        writer.put("traces", feed.padded(1))
        writer.flush()
        writer.put("traces", feed.padded(1))
        writer.put("traces", feed.padded(2))
        writer.flush()
        assert (writer.stats().requests, writer.stats().resent) == (2, 2)
    assert count(root) == 4


def test_logs_and_metrics_are_stored_once_too_and_signals_are_not_confused(
    root: Path, feed: ModuleType
) -> None:
    body = feed.request({"time_ns": 5})
    with Writer(root, feed.decode) as writer:
        for signal in ("logs", "metrics", "logs", "metrics"):
            writer.put(signal, body)
    assert (count(root, "logs"), count(root, "metrics")) == (1, 1)


def test_a_restart_does_not_forget(root: Path, feed: ModuleType) -> None:
    for _ in range(3):
        with Writer(root, feed.decode) as writer:
            writer.put("traces", feed.padded(1))
    assert count(root) == 2


def test_senders_of_the_same_request_at_the_same_time_are_all_acknowledged_when_it_is_durable(
    root: Path, feed: ModuleType
) -> None:
    with Writer(root, feed.decode) as writer, ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: writer.put("traces", feed.padded(number % 4)), range(200)))
        assert writer.stats().requests == 4
    assert count(root) == 8


def test_a_request_that_was_refused_is_stored_when_it_comes_again(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode, rotate_s=60) as writer:
        (root / "wal").rename(root / "away")
        for _ in range(2):
            with pytest.raises(StoreError, match="data folder"):
                writer.put("traces", feed.padded(1))
        (root / "away").rename(root / "wal")
        writer.put("traces", feed.padded(1))
    assert count(root) == 2


PUT_AND_DIE = """
import importlib.util, os, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("feed", sys.argv[1])
feed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(feed)
from obsvty.store.writer import Writer
writer = Writer(Path(sys.argv[2]), feed.decode, rotate_s=60)
writer.put("traces", feed.padded(1))
os._exit(1)
"""


def test_a_sender_that_retries_after_the_receiver_died_doubles_nothing(root: Path, feed: ModuleType) -> None:
    subprocess.run([sys.executable, "-c", PUT_AND_DIE, str(feed.__file__), str(root)], check=False)
    with Writer(root, feed.decode) as writer:
        assert writer.stats().recovered == 1
        writer.put("traces", feed.padded(1))
    with Writer(root, feed.decode) as writer:
        writer.put("traces", feed.padded(1))
    assert count(root) == 2


def test_what_is_older_than_the_window_is_forgotten_in_memory_and_on_disk(tmp_path: Path) -> None:
    old, new, now_ns = bytes(16), b"\1" * 16, time.time_ns()
    with closing(RecentRequests(tmp_path, window_s=600)) as recent:
        for request, at_ns in ((old, now_ns - 601_000_000_000), (new, now_ns)):
            recent.add([request], at_ns)
            recent.keep([request], at_ns)
        assert (recent.holds(old), recent.holds(new)) == (False, True)
    with closing(RecentRequests(tmp_path, window_s=600)) as recent:
        assert (recent.holds(old), recent.holds(new)) == (False, True)
    assert (tmp_path / "recent.bin").stat().st_size == 32  # one batch of one


def test_a_client_that_loses_an_acknowledgement_on_the_wire_is_counted_once(root: Path) -> None:
    spans = ExportTraceServiceRequest()
    spans.resource_spans.add().scope_spans.add().spans.add(
        trace_id=b"\1" * 16, span_id=b"\2" * 8, name="GET /", start_time_unix_nano=5, end_time_unix_nano=9
    )
    body = spans.SerializeToString()
    stored = threading.Event()
    with Writer(root, decode) as writer:

        def put(signal: str, request: bytes) -> None:
            writer.put(signal, request)
            stored.set()

        receiver = HttpReceiver("127.0.0.1:0", put)
        receiver.start()
        try:
            # the client is gone before the answer reaches it
            with socket.create_connection(("127.0.0.1", receiver.port)) as client:
                head = "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                assert stored.wait(5)
            for _ in range(2):
                again = HTTPConnection("127.0.0.1", receiver.port, timeout=5)
                again.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf"})
                answer = again.getresponse()
                answer.read()
                assert answer.status == 200
                again.close()
        finally:
            receiver.stop(5)
    assert count(root) == 1
