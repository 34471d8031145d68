import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from obsvty.model import Signal
from obsvty.otlp.grpc import GrpcReceiver
from obsvty.otlp.http import HttpReceiver


RESOURCE = Resource({"service.name": "shop"})


class Collected:
    """A `put` that keeps what it gets; `failure` is raised instead while it is set."""

    def __init__(self) -> None:
        self.requests: list[tuple[Signal, bytes]] = []
        self.failure: Exception | None = None
        self._arrived = threading.Condition()

    def __call__(self, signal: Signal, body: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        with self._arrived:
            self.requests.append((signal, body))
            self._arrived.notify_all()

    def of(self, signal: Signal) -> list[bytes]:
        return [body for found, body in self.requests if found == signal]

    def wait_for(self, signal: Signal, count: int = 1) -> list[bytes]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.of(signal)) >= count, timeout=5)
        return self.of(signal)


@pytest.fixture
def collected() -> Collected:
    return Collected()


@pytest.fixture
def grpc_receiver(collected: Collected) -> Iterator[GrpcReceiver]:
    receiver = GrpcReceiver("127.0.0.1:0", collected)
    receiver.start()
    yield receiver
    receiver.stop(1)


@pytest.fixture
def http_receiver(collected: Collected) -> Iterator[HttpReceiver]:
    receiver = HttpReceiver("127.0.0.1:0", collected, cors_origins=("https://shop.example",))
    receiver.start()
    yield receiver
    receiver.stop(1)


@pytest.fixture(scope="session")
def capture() -> Path:
    import obsvty.demo

    return Path(obsvty.demo.__file__).parent / "data" / "shop.otlp.jsonl.gz"


class Emit:
    """One span, one log record, one metric point through the real SDK and any of its exporters."""

    def span(self, exporter: SpanExporter) -> None:
        provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("test").start_as_current_span("GET /checkout", attributes={"http.status_code": 200}):
            pass
        provider.shutdown()

    def log(self, exporter: LogRecordExporter) -> None:
        provider = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        provider.get_logger("test").emit(LogRecord(timestamp=7, body="card declined"))
        provider.shutdown()

    def metric(self, exporter: MetricExporter) -> None:
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider([reader], resource=RESOURCE, shutdown_on_exit=False)
        provider.get_meter("test").create_counter("checkouts").add(3)
        provider.shutdown()


@pytest.fixture
def emit() -> Emit:
    return Emit()
