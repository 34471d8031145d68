"""OTLP/HTTP: the unmodified SDK, and the protocol's corners over raw connections."""

import gzip
import http.client
import json
import socket
import ssl
import threading
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from obsvty.errors import ReceiverError, StoreError, StoreOverloaded
from obsvty.model import Signal
from obsvty.otlp.decode import decode
from obsvty.otlp.http import HttpReceiver

PROTOBUF = "application/x-protobuf"
JSON = "application/json"


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()


def send(
    receiver: HttpReceiver,
    body: bytes | Iterable[bytes] = b"",
    *,
    path: str = "/v1/traces",
    method: str = "POST",
    kind: str | None = PROTOBUF,
    headers: Mapping[str, str] | None = None,
    chunked: bool = False,
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=5)
    try:
        own = {"Content-Type": kind} if kind else {}
        connection.request(
            method, path, body=body, headers={**own, **(headers or {})}, encode_chunked=chunked
        )
        return Answer(connection.getresponse())
    finally:
        connection.close()


def traces(*trace_ids: bytes) -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    spans = group.scope_spans.add().spans
    for trace_id in trace_ids or [b"\1" * 16]:
        spans.add(trace_id=trace_id, span_id=b"\2" * 8, name="x")
    return request.SerializeToString()


def traces_json(*trace_ids: str) -> bytes:
    spans = [{"traceId": trace_id, "spanId": "02" * 8, "name": "x"} for trace_id in trace_ids or ["01" * 16]]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).encode()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_sdk_exporters_arrive(
    http_receiver: HttpReceiver, collected, emit, compression: Compression
) -> None:
    url = f"http://127.0.0.1:{http_receiver.port}/v1"
    emit.span(OTLPSpanExporter(endpoint=f"{url}/traces", compression=compression))
    emit.log(OTLPLogExporter(endpoint=f"{url}/logs", compression=compression))
    emit.metric(OTLPMetricExporter(endpoint=f"{url}/metrics", compression=compression))
    rows = {
        signal: decode(signal, collected.wait_for(signal))[signal].to_pylist()
        for signal in ("traces", "logs", "metrics")
    }
    assert [span["name"] for span in rows["traces"]] == ["GET /checkout"]
    assert [record["body"] for record in rows["logs"]] == ["card declined"]
    assert [point["name"] for point in rows["metrics"]] == ["checkouts"]


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs", "/v1/metrics"])
@pytest.mark.parametrize(
    ("kind", "request_body", "empty"), [(PROTOBUF, b"", b""), (JSON, b"{}", b"{}"), (PROTOBUF, b"\n\0", b"")]
)
def test_success_is_an_empty_message_in_the_content_type_of_the_request(
    http_receiver: HttpReceiver, path: str, kind: str, request_body: bytes, empty: bytes
) -> None:
    answer = send(http_receiver, request_body, path=path, kind=kind + "; charset=utf-8")
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, kind, empty)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("", bytes), ("identity", bytes), ("gzip", gzip.compress), ("zstd", zstandard.compress)],
)
@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
def test_every_encoding_in_one_piece_or_chunked(
    http_receiver: HttpReceiver, collected, kind: str, encoding: str, pack, chunked: bool
) -> None:
    packed = pack(traces() if kind == PROTOBUF else traces_json())
    body = (packed[at : at + 7] for at in range(0, len(packed), 7)) if chunked else packed
    extra = {"Content-Encoding": encoding} | ({"Transfer-Encoding": "chunked"} if chunked else {})
    assert send(http_receiver, body, kind=kind, headers=extra, chunked=chunked).status == 200
    assert collected.of("traces") == [traces()]


def test_invalid_spans_are_rejected_one_by_one(http_receiver: HttpReceiver, collected) -> None:
    answer = send(http_receiver, traces(b"\1" * 16, bytes(16), b"x"))
    assert ExportTraceServiceResponse.FromString(answer.body).partial_success.rejected_spans == 2
    answer = send(http_receiver, traces_json("01" * 16, "00" * 16), kind=JSON)
    partial = json.loads(answer.body)["partialSuccess"]
    assert (answer.status, partial["rejectedSpans"]) == (200, "1")
    assert partial["errorMessage"]
    assert collected.of("traces") == [traces(), traces()]


@pytest.mark.parametrize(
    ("status", "code", "arguments"),
    [
        (400, 3, {"body": b"\xff\xff"}),
        (400, 3, {"body": b"not gzip", "headers": {"Content-Encoding": "gzip"}}),
        (400, 3, {"body": gzip.compress(traces())[:-9], "headers": {"Content-Encoding": "gzip"}}),
        (400, 3, {"body": zstandard.compress(traces())[:-2], "headers": {"Content-Encoding": "zstd"}}),
        (404, 5, {"path": "/v1development/profiles"}),
        (404, 5, {"path": "/"}),
        (405, 12, {"method": "GET"}),
        (405, 12, {"method": "PUT"}),
        (415, 3, {"kind": "text/plain"}),
        (415, 3, {"kind": None}),
        (415, 3, {"headers": {"Content-Encoding": "br"}}),
    ],
)
def test_an_error_is_a_protobuf_status(
    http_receiver: HttpReceiver, collected, status: int, code: int, arguments: dict
) -> None:
    answer = send(http_receiver, **arguments)
    assert (answer.status, answer.headers["content-type"]) == (status, PROTOBUF)
    found = Status.FromString(answer.body)
    assert found.code == code
    assert found.message
    assert collected.requests == []
    if status == 400:
        assert found.details[0].Unpack(BadRequest())
    if status == 405:
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"resourceSpans": 1}',
        b'{"resourceSpans": [{"resource": {"attributes": "x"}}]}',
        b"\xff",
    ],
)
def test_an_error_is_json_for_json(http_receiver: HttpReceiver, body: bytes) -> None:
    answer = send(http_receiver, body, kind=JSON)
    assert (answer.status, answer.headers["content-type"]) == (400, JSON)
    assert json.loads(answer.body)["code"] == 3


@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
@pytest.mark.parametrize(
    "failure", [StoreOverloaded("full"), StoreError("disk"), RuntimeError("secret value")]
)
def test_a_store_that_cannot_take_it_is_503_with_retry_after(
    http_receiver: HttpReceiver, collected, failure: Exception, kind: str
) -> None:
    collected.failure = failure
    answer = send(http_receiver, traces() if kind == PROTOBUF else traces_json(), kind=kind)
    assert (answer.status, answer.headers["retry-after"], answer.headers["content-type"]) == (503, "1", kind)
    assert b"secret" not in answer.body
    collected.failure = None
    assert send(http_receiver, traces()).status == 200


def test_the_sdk_tries_again_after_an_overload(collected, emit) -> None:
    answers: list[Exception] = [StoreOverloaded("full")]

    def put(signal: Signal, body: bytes) -> None:
        if answers:
            raise answers.pop()
        collected(signal, body)

    receiver = HttpReceiver("127.0.0.1:0", put)
    receiver.start()
    try:
        emit.span(OTLPSpanExporter(endpoint=f"http://127.0.0.1:{receiver.port}/v1/traces"))
        assert len(collected.of("traces")) == 1
    finally:
        receiver.stop(1)


def test_a_token_is_asked_for_and_compared(collected) -> None:
    receiver = HttpReceiver("127.0.0.1:0", collected, token="s3cret")
    receiver.start()
    try:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
            answer = send(receiver, traces(), headers=headers)
            assert (answer.status, Status.FromString(answer.body).code) == (401, 16)
            assert answer.headers["www-authenticate"] == "Bearer"
        assert collected.requests == []
        assert send(receiver, traces(), headers={"Authorization": "bearer s3cret"}).status == 200
    finally:
        receiver.stop(1)


def zeros_gzip(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", zeros_gzip(256)),
        ("zstd", zstandard.compress(bytes(256 << 20), 19)),
        ("", bytes((1 << 20) + 1)),
    ],
    ids=["gzip bomb", "zstd bomb", "plain"],
)
def test_a_request_above_the_limit_is_413_and_a_bomb_is_not_inflated(
    collected, encoding: str, body: bytes
) -> None:
    import tracemalloc

    receiver = HttpReceiver("127.0.0.1:0", collected, max_message_mb=1)
    receiver.start()
    try:
        tracemalloc.start()
        answer = send(receiver, body, headers={"Content-Encoding": encoding})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (answer.status, Status.FromString(answer.body).code) == (413, 8)
        assert peak < 24 << 20  # the limit of 1 MiB, and what one step of zstd may make
        assert collected.requests == []
        assert send(receiver, traces()).status == 200
    finally:
        receiver.stop(1)


def test_a_chunked_body_without_end_is_413(collected) -> None:
    receiver = HttpReceiver("127.0.0.1:0", collected, max_message_mb=1)
    receiver.start()
    try:
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=5) as raw:
            raw.sendall(
                b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n" + b"500000\r\n" + bytes(0x500000)
            )
            assert raw.recv(12) == b"HTTP/1.1 413"
    finally:
        receiver.stop(1)


def test_a_client_that_sends_far_too_much_can_still_read_its_413(collected) -> None:
    receiver = HttpReceiver("127.0.0.1:0", collected, max_message_mb=1)
    receiver.start()
    try:
        assert send(receiver, bytes(3 << 20)).status == 413
        pieces = (bytes(1 << 16) for _ in range(48))
        assert send(receiver, pieces, headers={"Transfer-Encoding": "chunked"}, chunked=True).status == 413
        waiting = {"Expect": "100-continue", "Content-Length": str(1 << 30)}
        assert send(receiver, b"", headers=waiting).status == 413
        assert collected.requests == []
    finally:
        receiver.stop(1)


def test_many_clients_at_once_all_arrive(http_receiver: HttpReceiver, collected) -> None:
    bodies = [traces(i.to_bytes(16, "big")) for i in range(1, 101)]
    with ThreadPoolExecutor(20) as pool:
        assert {answer.status for answer in pool.map(lambda body: send(http_receiver, body), bodies)} == {200}
    assert sorted(collected.of("traces")) == sorted(bodies)


def test_stop_does_not_wait_for_idle_connections(collected) -> None:
    receiver = HttpReceiver("127.0.0.1:0", collected)
    receiver.start()
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=5)
    connection.request("POST", "/v1/traces", body=traces(), headers={"Content-Type": PROTOBUF})
    connection.getresponse().read()
    stopper = threading.Thread(target=receiver.stop, args=(60,))
    stopper.start()
    stopper.join(5)
    assert not stopper.is_alive()
    connection.close()


def test_a_client_that_expects_100_continue_gets_it(http_receiver: HttpReceiver, collected) -> None:
    with socket.create_connection(("127.0.0.1", http_receiver.port), timeout=5) as raw:
        body = traces()
        raw.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
            b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body)
        )
        assert raw.recv(1000).startswith(b"HTTP/1.1 100")
        raw.sendall(body)
        assert raw.recv(1000).startswith(b"HTTP/1.1 200")
    assert collected.of("traces") == [body]


def test_a_client_that_leaves_in_the_middle_stores_nothing(http_receiver: HttpReceiver, collected) -> None:
    with socket.create_connection(("127.0.0.1", http_receiver.port), timeout=5) as raw:
        raw.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
            b"Content-Length: 99\r\n\r\n\n"
        )
    assert send(http_receiver, traces()).status == 200
    assert collected.of("traces") == [traces()]


def test_a_connection_is_kept_for_many_requests(http_receiver: HttpReceiver, collected) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", http_receiver.port, timeout=5)
    for body in (traces(), b"\xff", traces()):
        connection.request("POST", "/v1/traces", body=body, headers={"Content-Type": PROTOBUF})
        connection.getresponse().read()
    connection.close()
    assert len(collected.requests) == 2


def test_pages_of_an_allowed_origin_may_send_and_others_may_not(http_receiver: HttpReceiver) -> None:
    ask = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,authorization",
    }
    allowed = send(
        http_receiver, method="OPTIONS", kind=None, headers={**ask, "Origin": "https://shop.example"}
    )
    assert (allowed.status, allowed.headers["access-control-allow-origin"]) == (204, "https://shop.example")
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    answer = send(http_receiver, traces(), headers={"Origin": "https://shop.example"})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://shop.example")
    other = send(
        http_receiver, method="OPTIONS", kind=None, headers={**ask, "Origin": "https://evil.example"}
    )
    assert other.status == 403
    assert "access-control-allow-origin" not in other.headers


def test_a_taken_port_is_refused_with_a_hint(http_receiver: HttpReceiver, collected) -> None:
    second = HttpReceiver(f"127.0.0.1:{http_receiver.port}", collected)
    with pytest.raises(ReceiverError, match=str(http_receiver.port)) as raised:
        second.start()
    assert "[receiver] http" in raised.value.hint


def test_stop_lets_a_request_in_flight_finish_and_is_harmless_twice() -> None:
    entered, release = threading.Event(), threading.Event()
    stored: list[bytes] = []

    def put(_: Signal, body: bytes) -> None:
        entered.set()
        assert release.wait(5)
        stored.append(body)

    receiver = HttpReceiver("127.0.0.1:0", put)
    receiver.start()
    answers: list[int] = []
    client = threading.Thread(target=lambda: answers.append(send(receiver, traces()).status))
    client.start()
    assert entered.wait(5)
    stopper = threading.Thread(target=receiver.stop, args=(5,))
    stopper.start()
    release.set()
    stopper.join(5)
    client.join(5)
    assert (answers, stored) == ([200], [traces()])
    receiver.stop()


def test_a_certificate_that_cannot_be_used_is_refused_before_listening(tmp_path, collected) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_text("no certificate")
    key.write_text("no key")
    with pytest.raises(ReceiverError, match=r"cert\.pem"):
        HttpReceiver("127.0.0.1:0", collected, tls_cert=cert, tls_key=key)
    with pytest.raises(ReceiverError, match="needs a certificate and its key"):
        HttpReceiver("127.0.0.1:0", collected, tls_cert=cert)


def test_tls_is_spoken_with_a_certificate(certificate, collected) -> None:
    cert, key = certificate
    receiver = HttpReceiver("127.0.0.1:0", collected, tls_cert=cert, tls_key=key)
    receiver.start()
    connection = http.client.HTTPSConnection(
        "localhost", receiver.port, timeout=5, context=ssl.create_default_context(cafile=cert)
    )
    try:
        connection.request("POST", "/v1/traces", body=traces(), headers={"Content-Type": PROTOBUF})
        assert connection.getresponse().status == 200
        assert collected.of("traces") == [traces()]
    finally:
        connection.close()
        receiver.stop(1)
