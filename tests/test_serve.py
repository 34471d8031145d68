"""`obsvty serve`: unmodified SDKs send to it, it is watched and healthy, and it stops with nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from obsvty.errors import StoreLocked
from obsvty.otlp.files import read_requests
from obsvty.serve import Ports, serve
from obsvty.session import Session
from obsvty.settings import Settings, load_settings

CAPTURE = Path(__file__).parents[1] / "obsvty/demo/data/shop.otlp.jsonl.gz"


def free(data: Path, *, watch: bool = False) -> Settings:
    return load_settings(
        store={"dir": data},
        receiver={"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"},
        mcp={"http": "127.0.0.1:0"},
        watch={"enabled": watch, "interval_s": 0.2},
    )


class Running:
    """A server in a thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.said: list[str] = []
        self._stop, ready = threading.Event(), threading.Event()
        ports: list[Ports] = []

        def note(bound: Ports) -> None:
            ports.append(bound)
            ready.set()

        self._thread = threading.Thread(
            target=serve,
            args=(settings,),
            kwargs={"stop": self._stop, "ready": note, "tell": self.said.append},
        )
        self._thread.start()
        assert ready.wait(10)
        self.ports = ports[0]

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    server = Running(free(tmp_path / "data"))
    yield server
    server.stop()


def send(exporter: SpanExporter, count: int) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "checkout", "service.version": "1"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for i in range(count):
        with provider.get_tracer("test").start_as_current_span("GET /checkout", attributes={"i": i}):
            pass
    provider.shutdown()


def test_an_unmodified_sdk_sends_over_grpc_and_http_and_nothing_is_lost_at_the_stop(tmp_path: Path) -> None:
    server = Running(free(tmp_path / "data"))
    send(GrpcExporter(endpoint=f"http://127.0.0.1:{server.ports.grpc}", insecure=True), 20)
    send(HttpExporter(endpoint=f"http://127.0.0.1:{server.ports.http}/v1/traces"), 20)
    server.stop()
    with Session(tmp_path / "data", server.settings) as obs:
        rows = obs.sql("select name, count(*) n, count(distinct attributes['i']) i from traces group by 1")
        assert rows.to_pyarrow().to_pylist() == [{"name": "GET /checkout", "n": 40, "i": 20}]


def test_what_was_acknowledged_is_visible_while_it_runs(running: Running) -> None:
    with Session(running.settings.data_dir, running.settings) as obs:
        table = obs.traces
        assert table.count().to_pyarrow().as_py() == 0
        send(GrpcExporter(endpoint=f"http://127.0.0.1:{running.ports.grpc}", insecure=True), 5)
        seen = threading.Event()
        for _ in range(100):
            if table.count().to_pyarrow().as_py() == 5:
                seen.set()
                break
            seen.wait(0.1)
        assert seen.is_set()


def test_health_and_readiness_are_told(running: Running) -> None:
    for path in ("healthz", "readyz"):
        with urllib.request.urlopen(f"http://127.0.0.1:{running.ports.health}/{path}", timeout=5) as answer:
            assert json.load(answer) == {"status": "ok"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{running.ports.health}/metrics", timeout=5)
    refused.value.close()
    assert refused.value.code == 404


def test_a_second_server_on_the_same_folder_is_refused(running: Running) -> None:
    with pytest.raises(StoreLocked):
        serve(running.settings, stop=threading.Event())


def test_the_watch_loop_finds_the_incident_in_the_stream_and_alerts_once(
    tmp_path: Path, imported_demo: object
) -> None:
    settings = free(tmp_path / "data", watch=True)
    settings = settings.model_copy(
        update={"git": settings.git.model_copy(update={"repo": str(imported_demo.repo)})}
    )
    server = Running(settings)
    try:
        for sig, body in read_requests(CAPTURE):
            request = urllib.request.Request(
                f"http://127.0.0.1:{server.ports.http}/v1/{sig}",
                data=body,
                headers={"Content-Type": "application/x-protobuf"},
            )
            urllib.request.urlopen(request, timeout=10).close()
        alerts = tmp_path / "data" / "alerts" / "alerts.jsonl"
        waited = threading.Event()
        for _ in range(300):
            if alerts.exists() and "d34db33" in alerts.read_text():
                break
            waited.wait(0.1)
        assert "d34db33" in alerts.read_text()
    finally:
        server.stop()
    assert any("code_change" in line for line in server.said)
    with Session(tmp_path / "data", settings) as obs:
        assert len(obs.state.incidents()) == 1
        keys = {d.key for d in obs.state.deliveries(obs.state.incidents()[0].id)}
        assert len(keys) == 1


def test_binding_to_the_network_without_a_token_is_said_aloud(tmp_path: Path) -> None:
    settings = free(tmp_path / "data")
    open_wide = settings.receiver.model_copy(update={"grpc": "0.0.0.0:0"})
    server = Running(settings.model_copy(update={"receiver": open_wide}))
    server.stop()
    assert any("without a token" in line for line in server.said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_the_command_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    environment = {
        **os.environ,
        "OBSVTY_RECEIVER__GRPC": "127.0.0.1:0",
        "OBSVTY_RECEIVER__HTTP": "127.0.0.1:0",
        "OBSVTY_MCP__HTTP": "127.0.0.1:0",
    }
    command = [sys.executable, "-m", "obsvty", "serve", "--data", str(tmp_path / "data")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if "OTLP/gRPC on" in line:
                port = line.split("OTLP/gRPC on 127.0.0.1:")[1].split(",")[0]
                send(GrpcExporter(endpoint=f"http://127.0.0.1:{port}", insecure=True), 7)
                process.send_signal(number)
        assert process.wait(20) == 0, lines
    assert not any("Traceback" in line for line in lines)
    with Session(tmp_path / "data", load_settings()) as obs:
        assert obs.traces.count().to_pyarrow().as_py() == 7
