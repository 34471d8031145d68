"""`obsvty serve` in a process of its own, what it costs, and senders that cost it nothing more than real ones."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_METHODS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_LISTENS = re.compile(r"OTLP/gRPC on \S+:(\d+), OTLP/HTTP on \S+:(\d+)")
_START_S = 60.0
_WAIT_S = 60.0


class Server:
    """A running `obsvty serve`, without its watch loop: what receiving and storing costs, and nothing else."""

    def __init__(
        self, process: subprocess.Popen[str], data: Path, ports: tuple[int, int], told: list[str]
    ) -> None:
        self._process = process
        self._data = data
        self._ports = dict(zip(("grpc", "http"), ports, strict=True))
        self._told = told  # its stderr

    def sender(self, transport: str, table: str) -> Callable[[], Sender]:
        """Makes one client of one connection."""
        port = self._ports[transport]
        return lambda: GrpcSender(port, table) if transport == "grpc" else HttpSender(port, table)

    def cpu_s(self) -> float:
        return cpu_s(self._process.pid)

    def peak_mb(self) -> float:
        """The most memory the process ever had (resident, with mapped files)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1]) / 1024

    def visible(self, table: str) -> int:
        """Rows of the table that readers see: they are in a Parquet segment that the manifest names."""
        manifest = json.loads((self._data / "manifest.json").read_bytes())
        return sum(file["rows"] for file in manifest["files"] if file["table"] == table)

    def wait_visible(self, table: str, rows: int) -> None:
        if not until(lambda: self.visible(table) >= rows):
            seen = self.visible(table)
            tail = "".join(self._told[-5:])
            raise SystemExit(
                f"{rows:,} rows of {table} were acknowledged, {seen:,} are visible after {_WAIT_S:g} s\n{tail}"
            )


@contextmanager
def serving(data: Path) -> Iterator[Server]:
    """Start `obsvty serve` on free ports over `data`; stop it afterwards."""
    environment = {
        **os.environ,
        "OBSVTY_RECEIVER__GRPC": "127.0.0.1:0",
        "OBSVTY_RECEIVER__HTTP": "127.0.0.1:0",
        "OBSVTY_MCP__HTTP": "127.0.0.1:0",
        "OBSVTY_WATCH__ENABLED": "false",
    }
    data.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "obsvty", "--data", str(data), "serve"],
        cwd=data.parent,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        told: list[str] = []
        listens = threading.Event()

        def listen() -> None:
            for line in process.stderr:
                told.append(line)
                if _LISTENS.search(" ".join("".join(told).split())):
                    listens.set()

        threading.Thread(target=listen, daemon=True).start()
        until(lambda: listens.is_set() or process.poll() is not None, limit_s=_START_S)
        text = " ".join("".join(told).split())
        match = _LISTENS.search(text)
        if match is None:
            raise SystemExit(f"obsvty serve did not start: {text}")
        yield Server(process, data, (int(match[1]), int(match[2])), told)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


class Sender:
    """One client with one connection."""

    def send(self, body: bytes) -> bool:
        """Send a request; whether it was acknowledged. When not, it is sent again."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class GrpcSender(Sender):
    def __init__(self, port: int, table: str) -> None:
        options = [("grpc.max_send_message_length", 64 << 20), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
        self._export = self._channel.unary_unary(_METHODS[table])

    def send(self, body: bytes) -> bool:
        try:
            self._export(body, wait_for_ready=True)
        except grpc.RpcError as exc:
            if exc.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True

    def close(self) -> None:
        self._channel.close()


class HttpSender(Sender):
    def __init__(self, port: int, table: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._path = f"/v1/{table}"

    def send(self, body: bytes) -> bool:
        self._connection.request("POST", self._path, body, {"Content-Type": "application/x-protobuf"})
        response = self._connection.getresponse()
        response.read()
        if response.status not in (200, 503):
            raise SystemExit(f"HTTP {response.status} from the receiver")
        return response.status == 200

    def close(self) -> None:
        self._connection.close()


def send_all(
    connect: Callable[[], Sender], request: Callable[[int], bytes], numbers: Iterable[int], in_flight: int
) -> int:
    """Send these requests over `in_flight` connections; how often one had to be sent again."""
    left = iter(numbers)
    lock = threading.Lock()
    refused = 0
    failures: list[BaseException] = []

    def work() -> None:
        nonlocal refused
        sender = connect()
        try:
            while True:
                with lock:
                    number = next(left, None)
                if number is None:
                    return
                body = request(number)
                while not sender.send(body):
                    with lock:
                        refused += 1
                    time.sleep(0.2)
        except BaseException as exc:  # noqa: BLE001 # told to the thread that measures
            failures.append(exc)
        finally:
            sender.close()

    threads = [threading.Thread(target=work) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return refused


def cpu_s(pid: int) -> float:
    """User and system time of a process, all its threads and its children, in seconds."""
    process = psutil.Process(pid)
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        total += times.user + times.system
    return total


def until(true: Callable[[], bool], *, limit_s: float = _WAIT_S) -> bool:
    """Wait until something is true; whether it became so in time."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return bool(true())
