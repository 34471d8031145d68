import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of localhost and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(cert.public_bytes(pem))
    form, no_password = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, no_password))
    return folder / "cert.pem", folder / "key.pem"


class Emit:
    """One span, one log record, one metric point through the real SDK and any of its exporters."""

    def span(self, exporter: SpanExporter) -> None:
        provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("test").start_as_current_span(
            "GET /checkout", attributes={"http.status_code": 200}
        ):
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
