"""docs/send.md: its examples run, and its tables are those of the code."""

import gzip
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from obsvty.otlp import normalize
from obsvty.otlp.grpc import GrpcReceiver
from obsvty.otlp.http import HttpReceiver
from obsvty.serve import Ports, serve
from obsvty.settings import load_settings
from obsvty.store.reader import Reader

PAGE = (Path(__file__).parents[2] / "docs" / "send.md").read_text(encoding="utf-8")
# Sends one span with whatever exporter the environment says, as opentelemetry-instrument would
SENDER = """
import os
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
if os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider(resource=Resource.create())
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
provider.get_tracer("t").start_span("x").end()
provider.shutdown()
"""


def blocks(language: str, heading: str) -> list[str]:
    """The examples in a language under a heading."""
    section = re.split(r"\n#+ ", PAGE.split(f"# {heading}\n", 1)[1])[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def exports(block: str) -> dict[str, str]:
    """What the `export` lines of an example set, as a shell understands them."""
    done = subprocess.run(
        ["bash", "-euc", f"{block}\nenv -0"], capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "OBSVTY_RECEIVER__TOKEN": "s3cret"},
    )  # fmt: skip
    found = dict(line.partition("=")[::2] for line in done.stdout.split("\0") if line)
    return {name: value for name, value in found.items() if name.startswith(("OTEL_", "OBSVTY_"))}


def send(environment: Mapping[str, str], folder: Path | None = None) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.endswith("CA_BUNDLE")}
    done = subprocess.run(
        [sys.executable, "-c", SENDER], env={**clean, **environment}, cwd=folder, check=False,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_first_request_is_answered_as_shown(store) -> None:
    [command] = [
        block for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) if block.startswith("curl")
    ]
    shown = re.search(r"The answer is `(.*?)`", PAGE)
    assert shown is not None
    command = command.replace("127.0.0.1:4318", f"127.0.0.1:{store.http.port}").replace(
        "curl ", "curl --noproxy '*' ", 1
    )
    done = subprocess.run(["bash", "-euc", command], capture_output=True, text=True, check=True)
    assert done.stdout == shown[1]
    [row] = store.rows("traces")
    assert (row["service_name"], row["name"], row["duration_ns"]) == ("shop", "GET /", 120_000_000)


@pytest.mark.parametrize("example", [0, 1])
def test_the_environment_of_an_sdk_sends_to_the_usual_ports(store, example: int) -> None:
    chosen = exports(blocks("bash", "SDKs")[example])
    usual = {"http://127.0.0.1:4317": store.grpc_url, "http://127.0.0.1:4318": store.http_url}
    chosen["OTEL_EXPORTER_OTLP_ENDPOINT"] = usual[chosen["OTEL_EXPORTER_OTLP_ENDPOINT"]]
    send(chosen)
    [row] = store.rows("traces")
    assert (row["service_name"], row["name"]) == ("shop", "x")


def test_the_revision_is_that_of_the_repository(store, tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "x"], check=True)
    head = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    chosen = exports(f"cd {tmp_path}\n" + blocks("bash", "The revision")[0])
    send(chosen | exports(blocks("bash", "SDKs")[0]) | {"OTEL_EXPORTER_OTLP_ENDPOINT": store.grpc_url})
    [row] = store.rows("traces")
    assert (row["vcs_revision"], row["service_version"], row["deployment_env"]) == (head, "1.5.0", "prod")


@pytest.mark.parametrize("example", [0, 1])
def test_the_token_of_the_sender_is_that_of_the_server(collected, example: int) -> None:
    server, sender = (exports(block) for block in blocks("bash", "Who may send")[:2])
    assert re.fullmatch("[0-9a-f]{64}", server["OBSVTY_RECEIVER__TOKEN"])
    receiver = (GrpcReceiver, HttpReceiver)[example](
        "127.0.0.1:0", collected, token=sender["OBSVTY_RECEIVER__TOKEN"]
    )
    receiver.start()
    try:
        chosen = exports(blocks("bash", "SDKs")[example])
        chosen["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{receiver.port}"
        send(chosen | {"OTEL_EXPORTER_OTLP_HEADERS": sender["OTEL_EXPORTER_OTLP_HEADERS"]})
    finally:
        receiver.stop(1)
    assert len(collected.requests) == 1


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openssl")
    [commands] = [block for block in blocks("bash", "Who may send") if block.startswith("openssl")]
    subprocess.run(["bash", "-euc", commands], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("example", [0, 1])
def test_the_certificates_open_the_server_to_who_has_one(certificates: Path, collected, example: int) -> None:
    [config] = blocks("toml", "Who may send")
    (certificates / "obsvty.toml").write_text(config, encoding="utf-8")
    settings = load_settings(certificates / "obsvty.toml").receiver
    assert settings.tls_cert and settings.tls_key and settings.tls_client_ca  # noqa: PT018
    receiver = (GrpcReceiver, HttpReceiver)[example](
        "127.0.0.1:0", collected, tls_cert=certificates / settings.tls_cert,
        tls_key=certificates / settings.tls_key, tls_client_ca=certificates / settings.tls_client_ca,
    )  # fmt: skip
    receiver.start()
    try:
        sender = exports(blocks("bash", "Who may send")[-1])
        chosen = exports(blocks("bash", "SDKs")[example])
        chosen["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"https://localhost:{receiver.port}"
        send(chosen | sender, certificates)
        assert len(collected.requests) == 1
        without = {name: value for name, value in sender.items() if "CLIENT" not in name}
        send(chosen | without | {"OTEL_EXPORTER_OTLP_TIMEOUT": "1"}, certificates)
        assert len(collected.requests) == 1
    finally:
        receiver.stop(1)


def test_serve_takes_the_certificates_from_the_settings(certificates: Path, tmp_path: Path) -> None:
    pem = {name: str(certificates / f"{file}.pem") for name, file in (
        ("tls_cert", "server"), ("tls_key", "server-key"), ("tls_client_ca", "ca"),
    )}  # fmt: skip
    settings = load_settings(
        store={"dir": tmp_path / "d"}, watch={"enabled": False}, mcp={"http": "127.0.0.1:0"},
        receiver={"grpc": "127.0.0.1:0", "http": "127.0.0.1:0", **pem},
    )  # fmt: skip
    stop, started = threading.Event(), threading.Event()
    ports: list[Ports] = []

    def ready(found: Ports) -> None:
        ports.append(found)
        started.set()

    thread = threading.Thread(target=serve, args=(settings,), kwargs={"stop": stop, "ready": ready})
    thread.start()
    try:
        assert started.wait(10)
        sender = exports(blocks("bash", "Who may send")[-1])
        for example, port in enumerate((ports[0].grpc, ports[0].http)):
            chosen = exports(blocks("bash", "SDKs")[example]) | sender
            send(chosen | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"https://localhost:{port}"}, certificates)
    finally:
        stop.set()
        thread.join()
    reader = Reader(tmp_path / "d")
    assert reader.table("traces").count().to_pyarrow().as_py() == 2
    reader.close()


def test_the_settings_and_the_yaml_can_be_read(tmp_path: Path) -> None:
    for number, block in enumerate(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)):
        file = tmp_path / f"{number}.toml"
        file.write_text(block, encoding="utf-8")
        assert load_settings(file).receiver.model_fields_set == set(tomllib.loads(block)["receiver"])
    [collector] = blocks("yaml", "Collector")
    config = yaml.safe_load(collector)
    defined = {kind: set(config[f"{kind}s"]) for kind in ("receiver", "exporter")}
    for pipeline in config["service"]["pipelines"].values():
        for kind, names in defined.items():
            assert set(pipeline[f"{kind}s"]) <= names
    assert set(config["service"]["pipelines"]) == {"traces", "logs", "metrics"}
    assert config["exporters"]["otlp/obsvty"]["endpoint"] == "127.0.0.1:4317"
    [compose] = blocks("yaml", "Docker")
    assert set(yaml.safe_load(compose)["services"]["shop"]) == {"build", "environment"}


def test_the_table_of_conventions_is_that_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (`?[a-z].*?) \|$", PAGE, re.MULTILINE))
    tables = normalize.SPAN_NAMES | normalize.CODE_NAMES | {
        name: names for name, names in normalize.RESOURCE_NAMES.items() if len(names) > 1
    }  # fmt: skip
    assert set(rows) == {*tables, "url_host", "url_path"}
    for column, names in tables.items():
        assert tuple(re.findall(r"`([^`]+)`", rows[column]))[: len(names)] == names
    server = [name for name, _ in normalize.SERVER_HOST_NAMES]
    others = [name for name, _ in normalize.CLIENT_HOST_NAMES]
    hosts = [name for name, _ in normalize.HOST_NAMES]
    assert re.findall(r"`([^`]+)`", rows["url_host"]) == ["url.full", "http.url", *hosts, *server, *others]


def test_the_files_of_the_example_are_imported(tmp_path: Path) -> None:
    span = {"traceId": "01" * 16, "spanId": "02" * 8, "name": "x"}
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"\3" * 16, span_id=b"\4" * 8)
    (tmp_path / "shop.traces.pb.zst").write_bytes(zstandard.compress(request.SerializeToString()))
    lines = f"{json.dumps({'resourceSpans': [{'scopeSpans': [{'spans': [span]}]}]})}\nbroken\n"
    (tmp_path / "collector.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    [command] = blocks("bash", "Files")
    words = command.split()
    run = [sys.executable, "-c", "from obsvty.cli import main; main()", *words[1:], "--data", "d"]
    fatal = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert fatal.returncode == 1
    assert "collector.jsonl.gz, line 2: it is not JSON" in fatal.stderr
    skipping = subprocess.run(
        [*run, "--skip-bad", "--json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    told = json.loads(skipping.stdout)
    assert (told["spans"], told["skipped"], told["new"]) == (2, 1, False)
    assert "collector.jsonl.gz, line 2" in skipping.stderr
