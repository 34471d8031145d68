"""The corners of the protocol that need both transports, or a real store behind a running receiver."""

import http.client
import json
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import grpc
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from obsvty.errors import ReceiverError, StoreError
from obsvty.model import Signal
from obsvty.otlp.decode import decode
from obsvty.otlp.grpc import METHODS, GrpcReceiver
from obsvty.otlp.http import HttpReceiver
from obsvty.settings import Settings
from obsvty.store.reader import Reader
from obsvty.store.writer import Writer

PROTOBUF, JSON = "application/x-protobuf", "application/json"
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def call(port: int, body: bytes, method: str = TRACES) -> bytes:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return channel.unary_unary(method)(body, timeout=5)


def post(
    port: int,
    body: bytes,
    kind: str = PROTOBUF,
    path: str = "/v1/traces",
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body=body, headers={"Content-Type": kind, **(headers or {})})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, response.read()
    finally:
        connection.close()


def bodies(service: str | None) -> dict[Signal, bytes]:
    traces, logs, metrics = (
        ExportTraceServiceRequest(),
        ExportLogsServiceRequest(),
        ExportMetricsServiceRequest(),
    )
    groups = (traces.resource_spans.add(), logs.resource_logs.add(), metrics.resource_metrics.add())
    for group in groups:
        group.resource.attributes.add(key="service.name" if service else "host.name").value.string_value = "x"
    groups[0].scope_spans.add().spans.add(trace_id=b"\1" * 16, span_id=b"\2" * 8, name="x")
    groups[1].scope_logs.add().log_records.add(time_unix_nano=1)
    groups[2].scope_metrics.add().metrics.add(name="m").gauge.data_points.add(as_int=1)
    return {
        "traces": traces.SerializeToString(),
        "logs": logs.SerializeToString(),
        "metrics": metrics.SerializeToString(),
    }


def span(number: int) -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    group.scope_spans.add().spans.add(trace_id=number.to_bytes(16, "big"), span_id=b"\2" * 8, name="x")
    return request.SerializeToString()


def json_span(resource: dict | None = None, **fields: object) -> bytes:
    one = {"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174", **fields}
    return json.dumps(
        {"resourceSpans": [{"resource": resource or {}, "scopeSpans": [{"spans": [one]}]}]}
    ).encode()


def stored_json(store, **fields: object) -> dict:
    status, _, _ = post(store.http.port, json_span(**fields), JSON)
    assert status == 200
    [row] = store.rows("traces")
    return row


@pytest.fixture
def both(collected) -> Iterator[tuple[GrpcReceiver, HttpReceiver]]:
    receivers = GrpcReceiver("127.0.0.1:0", collected), HttpReceiver("127.0.0.1:0", collected)
    for receiver in receivers:
        receiver.start()
    yield receivers
    for receiver in receivers:
        receiver.stop(1)


# What an answer says


@pytest.mark.parametrize("signal_name", ["traces", "logs", "metrics"])
def test_full_success_leaves_partial_success_unset_and_no_service_name_is_a_warning(
    both, collected, signal_name: Signal
) -> None:
    over_grpc, over_http = both
    [method] = [method for method, found in METHODS.items() if found == signal_name]
    path = f"/v1/{signal_name}"
    named, unnamed = bodies("shop")[signal_name], bodies(None)[signal_name]
    assert call(over_grpc.port, named, method) == b""
    assert post(over_http.port, named, path=path)[2] == b""
    for answer in (call(over_grpc.port, unnamed, method), post(over_http.port, unnamed, path=path)[2]):
        partial = ExportTraceServiceResponse.FromString(answer).partial_success  # the same in all three
        assert partial.rejected_spans == 0
        assert "service.name" in partial.error_message
    assert collected.of(signal_name) == [named, named, unnamed, unnamed]


def test_a_warning_is_in_json_too_and_beside_what_was_rejected(both) -> None:
    _, over_http = both
    _, _, answer = post(over_http.port, json_span(), JSON)
    partial = json.loads(answer)["partialSuccess"]
    assert partial["rejectedSpans"] == "0"
    assert "service.name" in partial["errorMessage"]
    request = ExportTraceServiceRequest.FromString(bodies(None)["traces"])
    request.resource_spans[0].scope_spans[0].spans.add(name="no ids")
    found = ExportTraceServiceResponse.FromString(post(over_http.port, request.SerializeToString())[2])
    assert found.partial_success.rejected_spans == 1
    assert "16 bytes" in found.partial_success.error_message
    assert "service.name" in found.partial_success.error_message


def test_empty_envelopes_are_a_success_without_a_warning_and_store_nothing(store) -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add()
    for body in (b"", request.SerializeToString()):
        assert call(store.grpc.port, body) == b""
        assert post(store.http.port, body)[::2] == (200, b"")
    assert post(store.http.port, b'{"resourceSpans": [{"scopeSpans": [{}]}]}', JSON)[::2] == (200, b"{}")
    assert store.rows("traces") == []


def test_every_answer_is_short(both) -> None:
    over_grpc, over_http = both
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(
        [request.resource_spans[0].scope_spans[0].spans.add(name="x" * 1000) for _ in range(1000)]
    )
    body = request.SerializeToString()
    assert len(body) > 1_000_000
    assert len(call(over_grpc.port, body)) < 1000
    for sent, kind in (
        (body, PROTOBUF),
        (b'{"resourceSpans":"' + b"x" * 1_000_000 + b'"}', JSON),
        (b"\xff" * 10**6, PROTOBUF),
    ):
        assert len(post(over_http.port, sent, kind)[2]) < 1000


@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
@pytest.mark.parametrize(
    ("expected", "arguments"),
    [
        (400, {"body": b"\xff"}),
        (401, {}),
        (404, {"path": "/v1development/profiles"}),
        (405, {"method": "GET"}),
        (413, {"body": bytes((1 << 20) + 1)}),
        (415, {"headers": {"Content-Encoding": "br"}}),
        (503, {}),
    ],
)
def test_every_error_has_a_status_in_the_content_type_of_the_request(
    kind: str, expected: int, arguments: dict
) -> None:
    def put(_signal: Signal, _body: bytes) -> None:
        raise StoreError("disk")

    token = "s3cret"
    receiver = HttpReceiver("127.0.0.1:0", put, token=token, max_message_mb=1)
    receiver.start()
    try:
        authorization = {} if expected == 401 else {"Authorization": f"Bearer {token}"}
        usual = {"body": bodies("x")["traces"] if kind == PROTOBUF else json_span()}
        chosen = usual | arguments
        status, headers, body = post(
            receiver.port, kind=kind, **{**chosen, "headers": {**authorization, **chosen.get("headers", {})}}
        )
    finally:
        receiver.stop(1)
    assert (status, headers["content-type"]) == (expected, kind)
    message = json.loads(body)["message"] if kind == JSON else Status.FromString(body).message
    assert message


def test_the_usual_ports_and_both_content_types_on_one_port(store) -> None:
    receiver = Settings().receiver
    assert (receiver.grpc, receiver.http) == ("127.0.0.1:4317", "127.0.0.1:4318")
    assert post(store.http.port, span(1))[0] == 200
    assert post(store.http.port, json_span(), JSON)[0] == 200
    assert len(store.rows("traces")) == 2


# Back-pressure and durability, with a real store


def test_a_full_store_answers_retryably_and_takes_the_same_request_later_once(tmp_path: Path) -> None:
    with Writer(tmp_path, decode, rotate_s=3600, max_pending_mb=1e-6) as writer:
        over_grpc, over_http = (kind("127.0.0.1:0", writer.put) for kind in (GrpcReceiver, HttpReceiver))
        for receiver in (over_grpc, over_http):
            receiver.start()
        assert call(over_grpc.port, span(1)) == b""  # fills what may wait
        with pytest.raises(grpc.RpcError) as refused:
            call(over_grpc.port, span(2))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert {key for key, _ in refused.value.trailing_metadata()} >= {
            "google.rpc.retryinfo-bin",
            "grpc-status-details-bin",
        }
        status, headers, body = post(over_http.port, span(3))
        assert (status, Status.FromString(body).code) == (503, 14)
        assert 1 <= int(headers["retry-after"]) <= 2  # Python's exporter has 10 s in all
        for number in (2, 3):
            writer.flush()
            assert call(over_grpc.port, span(number)) == b""
        writer.flush()
        for receiver in (over_grpc, over_http):
            receiver.stop(1)
    reader = Reader(tmp_path)
    found = reader.table("traces").select("trace_id").to_pyarrow().to_pylist()
    reader.close()
    assert sorted(int(row["trace_id"], 16) for row in found) == [1, 2, 3]


SERVER = """
import sys
from pathlib import Path
from obsvty.otlp.decode import decode
from obsvty.otlp.grpc import GrpcReceiver
from obsvty.otlp.http import HttpReceiver
from obsvty.store.writer import Writer

writer = Writer(Path(sys.argv[1]), decode, rotate_s=3600)
receivers = [kind("127.0.0.1:0", writer.put) for kind in (GrpcReceiver, HttpReceiver)]
for receiver in receivers:
    receiver.start()
print(*(receiver.port for receiver in receivers), flush=True)
sys.stdin.read()
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    over_grpc, over_http = map(int, process.stdout.readline().split())
    for number in range(1, 21):
        assert call(over_grpc, span(number)) == b""
        assert post(over_http, span(100 + number))[0] == 200
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with Writer(tmp_path, decode) as writer:
        assert writer.stats().recovered == 40
        writer.flush()
    reader = Reader(tmp_path)
    assert reader.table("traces").count().to_pyarrow().as_py() == 40
    reader.close()


# Who may send


def test_with_an_authority_only_clients_that_it_signed_may_call_over_grpc(
    certificate, client_certificate, collected, emit
) -> None:
    cert, key = certificate
    authority, client, client_key = client_certificate
    receiver = GrpcReceiver("127.0.0.1:0", collected, tls_cert=cert, tls_key=key, tls_client_ca=authority)
    receiver.start()
    try:
        target = f"localhost:{receiver.port}"
        stranger = grpc.ssl_channel_credentials(cert.read_bytes())
        with grpc.secure_channel(target, stranger) as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(TRACES)(span(1), timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        known = grpc.ssl_channel_credentials(cert.read_bytes(), client_key.read_bytes(), client.read_bytes())
        emit.span(GrpcSpans(endpoint=f"https://{target}", credentials=known))
        assert len(collected.requests) == 1
    finally:
        receiver.stop(1)


def test_with_an_authority_only_clients_that_it_signed_may_send_over_http(
    certificate, client_certificate, collected, emit, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(
            name, raising=False
        )  # requests prefers them to the exporter's own certificate_file
    cert, key = certificate
    authority, client, client_key = client_certificate
    receiver = HttpReceiver("127.0.0.1:0", collected, tls_cert=cert, tls_key=key, tls_client_ca=authority)
    receiver.start()
    try:
        context = ssl.create_default_context(cafile=cert)
        connection = http.client.HTTPSConnection("localhost", receiver.port, timeout=5, context=context)

        def as_stranger() -> None:
            connection.request("POST", "/v1/traces", body=span(1), headers={"Content-Type": PROTOBUF})
            connection.getresponse()

        with pytest.raises((ssl.SSLError, ConnectionError)):
            as_stranger()
        connection.close()
        emit.span(
            HttpSpans(
                endpoint=f"https://localhost:{receiver.port}/v1/traces", certificate_file=str(cert),
                client_key_file=str(client_key), client_certificate_file=str(client),
            )
        )  # fmt: skip
        assert len(collected.requests) == 1
    finally:
        receiver.stop(1)


@pytest.mark.parametrize("kind", [GrpcReceiver, HttpReceiver])
def test_an_authority_that_cannot_be_used_is_refused_before_listening(
    tmp_path: Path, certificate, collected, kind: Callable[..., object]
) -> None:
    cert, key = certificate
    wrong = tmp_path / "ca.pem"
    wrong.write_text("no certificate")
    with pytest.raises(ReceiverError, match=r"ca\.pem"):
        kind("127.0.0.1:0", collected, tls_cert=cert, tls_key=key, tls_client_ca=wrong)
    with pytest.raises(ReceiverError, match="needs a certificate and its key"):
        kind("127.0.0.1:0", collected, tls_client_ca=wrong)


# OTLP/JSON


def test_json_ids_are_hex_in_either_case_and_other_bytes_are_base64(store) -> None:
    link = {"traceId": "AB" * 16, "spanId": "cd" * 8}
    attribute = {"key": "b", "value": {"bytesValue": "AP8="}}
    row = stored_json(store, parentSpanId="EEE19B7EC3C1B175", links=[link], attributes=[attribute])
    assert (row["trace_id"], row["span_id"], row["parent_span_id"]) == (
        "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "eee19b7ec3c1b175",
    )  # fmt: skip
    assert (row["links"][0]["trace_id"], row["links"][0]["span_id"]) == ("ab" * 16, "cd" * 8)
    assert dict(row["attributes"]) == {"b": "00ff"}


def test_json_enums_are_integers_and_64_bit_integers_are_text_or_numbers(store) -> None:
    attributes = [
        {"key": "a", "value": {"intValue": "-9007199254740993"}},
        {"key": "b", "value": {"intValue": 7}},
    ]
    row = stored_json(
        store, kind=2, status={"code": 2}, startTimeUnixNano="1544712660000000001",
        endTimeUnixNano=1544712660000000005, attributes=attributes,
    )  # fmt: skip
    assert (row["kind"], row["status_code"]) == (2, 2)
    assert (row["start_ns"], row["duration_ns"]) == (1544712660000000001, 4)
    assert dict(row["attributes"]) == {"a": "-9007199254740993", "b": "7"}


def test_json_names_that_are_unknown_or_original_field_names_are_ignored(store) -> None:
    row = stored_json(store, name="x", shoeSize=43, trace_state="a=b", parent_span_id="11" * 8)
    assert (row["name"], row["trace_state"], row["parent_span_id"]) == ("x", None, None)


# Values


def test_fields_of_the_profiles_signal_are_as_good_as_absent(store) -> None:
    request = ExportTraceServiceRequest.FromString(span(1))
    attributes = request.resource_spans[0].scope_spans[0].spans[0].attributes
    attributes.add(key="k").value.string_value_strindex = 3
    attributes.add(key_strindex=4).value.string_value = "v"
    assert call(store.grpc.port, request.SerializeToString()) == b""
    assert dict(store.rows("traces")[0]["attributes"]) == {"k": None, "": "v"}


def test_all_32_bits_of_flags_are_kept(store) -> None:
    request = ExportTraceServiceRequest.FromString(span(1))
    one = request.resource_spans[0].scope_spans[0].spans[0]
    one.flags = 2**32 - 1
    one.links.add(trace_id=b"\1" * 16, span_id=b"\2" * 8, flags=0x301)
    logs = ExportLogsServiceRequest.FromString(bodies("x")["logs"])
    logs.resource_logs[0].scope_logs[0].log_records[0].flags = 3
    assert call(store.grpc.port, request.SerializeToString()) == b""
    assert post(store.http.port, logs.SerializeToString(), path="/v1/logs")[0] == 200
    row = store.rows("traces")[0]
    assert (row["flags"], row["links"][0]["flags"], store.rows("logs")[0]["flags"]) == (2**32 - 1, 0x301, 3)


def test_a_log_without_a_time_takes_the_observed_one_and_severity_0_and_event_names_are_kept(store) -> None:
    logs = ExportLogsServiceRequest.FromString(bodies("x")["logs"])
    record = logs.resource_logs[0].scope_logs[0].log_records[0]
    record.time_unix_nano, record.observed_time_unix_nano, record.event_name = 0, 9, "feature_flag.evaluation"
    assert post(store.http.port, logs.SerializeToString(), path="/v1/logs")[0] == 200
    [row] = store.rows("logs")
    assert (row["time_ns"], row["observed_time"].value, row["severity_number"], row["event_name"]) == (
        9, 9, 0, "feature_flag.evaluation",
    )  # fmt: skip
