"""`obsvty serve` hands `[store] retention_days` and `max_gb` to the writer."""

import threading
from http.client import HTTPConnection
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from obsvty.serve import Ports, serve
from obsvty.settings import load_settings
from obsvty.store.manifest import read_manifest


@pytest.mark.parametrize("bound", [{"retention_days": 1e-9}, {"max_gb": 1e-9}])
def test_serve_drops_what_is_beyond_its_settings(tmp_path: Path, bound: dict[str, float]) -> None:
    settings = load_settings(
        store={"dir": tmp_path / "data", **bound},
        receiver={"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"},
        mcp={"http": "127.0.0.1:0"},
        watch={"enabled": False},
    )
    stop, ready, pause = threading.Event(), threading.Event(), threading.Event()
    bound_ports: list[Ports] = []

    def note(ports: Ports) -> None:
        bound_ports.append(ports)
        ready.set()

    thread = threading.Thread(target=serve, args=(settings,), kwargs={"stop": stop, "ready": note})
    thread.start()
    try:
        assert ready.wait(10)
        logs = ExportLogsServiceRequest()
        record = logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=5)
        record.body.string_value = "hello"
        client = HTTPConnection("127.0.0.1", bound_ports[0].http, timeout=5)
        client.request(
            "POST", "/v1/logs", logs.SerializeToString(), {"content-type": "application/x-protobuf"}
        )
        answer = client.getresponse()
        answer.read()
        client.close()
        assert answer.status == 200
        for _ in range(1000):
            manifest = read_manifest(tmp_path / "data")
            if manifest and manifest.sealed >= 0 and not any(f.table == "logs" for f in manifest.files):
                break
            pause.wait(0.01)
        assert manifest is not None
        assert "logs" in {file.path.split(".")[1] for file in manifest.dropped}
        assert not any(file.table == "logs" for file in manifest.files)
    finally:
        stop.set()
        thread.join(20)
