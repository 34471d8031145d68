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
from obsvty.otlp.decode import decode
from obsvty.otlp.grpc import GrpcReceiver
from obsvty.otlp.http import HttpReceiver
from obsvty.store.reader import Reader
from obsvty.store.writer import Writer

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


class Store:
    """A real store behind both receivers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.writer = Writer(root, decode)
        self.grpc = GrpcReceiver("127.0.0.1:0", self.writer.put)
        self.http = HttpReceiver("127.0.0.1:0", self.writer.put)
        self.grpc.start()
        self.http.start()

    @property
    def grpc_url(self) -> str:
        return f"http://127.0.0.1:{self.grpc.port}"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http.port}"

    def rows(self, table: str) -> list[dict]:
        """What a reader sees of everything that was acknowledged."""
        self.writer.flush()
        reader = Reader(self.root)
        try:
            return reader.table(table).to_pyarrow().to_pylist()
        finally:
            reader.close()

    def sql(self, query: str) -> list[dict]:
        self.writer.flush()
        reader = Reader(self.root)
        try:
            return reader.sql(query).to_pyarrow().to_pylist()
        finally:
            reader.close()

    def close(self) -> None:
        self.grpc.stop(1)
        self.http.stop(1)
        self.writer.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "data")
    yield opened
    opened.close()


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


@pytest.fixture(scope="session")
def client_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(authority, certificate that it signed, its key), as PEM files."""
    start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def signed(
        name: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, *, ca: bool
    ) -> bytes:
        builder = x509.CertificateBuilder(
            named("authority"), named(name), key.public_key(), 2 + ca, start, end
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        signer_id = x509.SubjectKeyIdentifier.from_public_key(signer.public_key())
        if ca:
            builder = builder.add_extension(signer_id, critical=False)
            usage = dict.fromkeys(
                (
                    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                    "key_agreement", "crl_sign", "encipher_only", "decipher_only",
                ),
                False,
            )  # fmt: skip
            builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, **usage), critical=True)
        else:
            authority_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer_id)
            builder = builder.add_extension(authority_id, critical=False)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    folder = tmp_path_factory.mktemp("mtls")
    (folder / "ca.pem").write_bytes(signed("authority", authority_key, authority_key, ca=True))
    (folder / "client.pem").write_bytes(signed("client", key, authority_key, ca=False))
    (folder / "client-key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "ca.pem", folder / "client.pem", folder / "client-key.pem"


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
