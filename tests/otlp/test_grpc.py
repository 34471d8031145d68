"""OTLP/gRPC: the unmodified SDK, and the protocol's corners."""

import gzip
import threading

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from obsvty.errors import ReceiverError, StoreError, StoreOverloaded
from obsvty.model import Signal
from obsvty.otlp.decode import decode
from obsvty.otlp.grpc import METHODS, GrpcReceiver

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def call(receiver: GrpcReceiver, body: bytes, method: str = TRACES, **options: object) -> bytes:
    limit = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{receiver.port}", options=limit) as channel:
        return channel.unary_unary(method)(body, timeout=5, **options)


def refusal(receiver: GrpcReceiver, body: bytes, **options: object) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as raised:
        call(receiver, body, **options)
    return raised.value


def trailers(error: grpc.RpcError) -> dict[str, bytes]:
    return dict(error.trailing_metadata())


def traces(*ids: tuple[bytes, bytes]) -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    spans = group.scope_spans.add().spans
    for trace_id, span_id in ids or [(b"\1" * 16, b"\2" * 8)]:
        spans.add(trace_id=trace_id, span_id=span_id, name="x")
    return request.SerializeToString()


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_the_sdk_exporters_arrive(
    grpc_receiver: GrpcReceiver, collected, emit, compression: grpc.Compression
) -> None:
    options = {"endpoint": f"127.0.0.1:{grpc_receiver.port}", "insecure": True, "compression": compression}
    emit.span(OTLPSpanExporter(**options))
    emit.log(OTLPLogExporter(**options))
    emit.metric(OTLPMetricExporter(**options))
    tables = {
        signal: decode(signal, collected.wait_for(signal))[signal].to_pylist() for signal in METHODS.values()
    }
    [span], [record], [point] = tables["traces"], tables["logs"], tables["metrics"]
    assert (span["name"], span["service_name"], span["http_status"]) == ("GET /checkout", "shop", 200)
    assert (record["body"], record["trace_id"]) == ("card declined", None)
    assert (point["name"], point["value_int"], point["kind"]) == ("checkouts", 3, "sum")


@pytest.mark.parametrize("method", METHODS)
def test_success_and_an_empty_request_are_answered_with_an_empty_message(
    grpc_receiver: GrpcReceiver, collected, method: str
) -> None:
    assert call(grpc_receiver, b"", method) == b""
    assert collected.requests == []
    assert call(grpc_receiver, b"\n\x00", method) == b""


def test_spans_without_valid_ids_are_rejected_one_by_one(grpc_receiver: GrpcReceiver, collected) -> None:
    good = (b"\1" * 16, b"\2" * 8)
    bad = [
        (bytes(16), b"\2" * 8),
        (b"\1" * 16, bytes(8)),
        (b"\1" * 15, b"\2" * 8),
        (b"", b"\2" * 8),
        (b"\1" * 16, b"\2" * 9),
    ]
    answer = ExportTraceServiceResponse.FromString(call(grpc_receiver, traces(bad[0], good, *bad[1:], good)))
    assert answer.partial_success.rejected_spans == 5
    assert "16 bytes" in answer.partial_success.error_message
    assert collected.of("traces") == [traces(good, good)]
    assert (
        ExportTraceServiceResponse.FromString(
            call(grpc_receiver, traces(*bad))
        ).partial_success.rejected_spans
        == 5
    )
    assert len(collected.requests) == 1


@pytest.mark.parametrize("method", METHODS)
def test_bytes_that_are_not_otlp_are_invalid_argument(
    grpc_receiver: GrpcReceiver, collected, method: str
) -> None:
    error = refusal(grpc_receiver, b"\xff\xff", method=method)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = Status.FromString(trailers(error)["grpc-status-details-bin"])
    assert status.code == 3
    assert status.details[0].Unpack(BadRequest())
    assert collected.requests == []


@pytest.mark.parametrize(
    "failure", [StoreOverloaded("full"), StoreError("disk"), RuntimeError("secret value")]
)
def test_a_store_that_cannot_take_it_is_unavailable_with_both_kinds_of_retry_info(
    grpc_receiver: GrpcReceiver, collected, failure: Exception
) -> None:
    collected.failure = failure
    error = refusal(grpc_receiver, traces())
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert RetryInfo.FromString(trailers(error)["google.rpc.retryinfo-bin"]).retry_delay.seconds == 1
    status = Status.FromString(trailers(error)["grpc-status-details-bin"])
    info = RetryInfo()
    assert status.code == 14
    assert status.details[0].Unpack(info)
    assert info.retry_delay.seconds == 1
    assert "secret" not in str(error.details())


def test_the_sdk_tries_again_after_an_overload(collected, emit) -> None:
    answers: list[Exception] = [StoreOverloaded("full")]

    def put(signal: Signal, body: bytes) -> None:
        if answers:
            raise answers.pop()
        collected(signal, body)

    receiver = GrpcReceiver("127.0.0.1:0", put)
    receiver.start()
    try:
        emit.span(OTLPSpanExporter(endpoint=f"127.0.0.1:{receiver.port}", insecure=True))
        assert len(collected.of("traces")) == 1
    finally:
        receiver.stop(1)


def test_a_token_is_asked_for_and_compared(collected, emit) -> None:
    receiver = GrpcReceiver("127.0.0.1:0", collected, token="s3cret")
    receiver.start()
    try:
        for metadata in (
            (),
            (("authorization", "Bearer wrong"),),
            (("authorization", "s3cret"),),
            (("authorization", "Basic s3cret"),),
        ):
            assert refusal(receiver, traces(), metadata=metadata).code() is grpc.StatusCode.UNAUTHENTICATED
        assert collected.requests == []
        assert call(receiver, traces(), metadata=(("authorization", "Bearer s3cret"),)) == b""
        emit.span(
            OTLPSpanExporter(
                endpoint=f"127.0.0.1:{receiver.port}",
                insecure=True,
                headers={"authorization": "Bearer s3cret"},
            )
        )
        assert len(collected.of("traces")) == 2
    finally:
        receiver.stop(1)


@pytest.mark.parametrize(
    "method",
    [
        "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
    ],
)
def test_other_services_are_unimplemented(grpc_receiver: GrpcReceiver, method: str) -> None:
    assert refusal(grpc_receiver, b"", method=method).code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_the_size_limit_counts_after_decompression(collected, compression: grpc.Compression) -> None:
    receiver = GrpcReceiver("127.0.0.1:0", collected, max_message_mb=1)
    receiver.start()
    try:
        request = ExportTraceServiceRequest()
        request.resource_spans.add().schema_url = "x" * (1 << 20)
        error = refusal(receiver, request.SerializeToString(), compression=compression)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "google.rpc.retryinfo-bin" not in trailers(error)
        assert collected.requests == []
    finally:
        receiver.stop(1)


def test_a_taken_port_is_refused_with_a_hint(grpc_receiver: GrpcReceiver, collected) -> None:
    second = GrpcReceiver(f"127.0.0.1:{grpc_receiver.port}", collected)
    with pytest.raises(ReceiverError, match=str(grpc_receiver.port)) as raised:
        second.start()
    assert "[receiver] grpc" in raised.value.hint


@pytest.mark.parametrize("address", ["4317", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"])
def test_a_wrong_address_is_refused(collected, address: str) -> None:
    with pytest.raises(ReceiverError, match="not an address"):
        GrpcReceiver(address, collected)


def test_stop_lets_a_call_in_flight_finish_and_is_harmless_twice() -> None:
    entered, release = threading.Event(), threading.Event()
    stored: list[bytes] = []

    def put(_: Signal, body: bytes) -> None:
        entered.set()
        assert release.wait(5)
        stored.append(body)

    receiver = GrpcReceiver("127.0.0.1:0", put)
    receiver.start()
    answers: list[bytes] = []
    client = threading.Thread(target=lambda: answers.append(call(receiver, traces())))
    client.start()
    assert entered.wait(5)
    stopper = threading.Thread(target=receiver.stop, args=(5,))
    stopper.start()
    release.set()
    stopper.join(5)
    client.join(5)
    assert (answers, stored) == ([b""], [traces()])
    receiver.stop()


def test_gzip_bytes_that_are_no_gzip_do_not_reach_the_store(grpc_receiver: GrpcReceiver, collected) -> None:
    assert refusal(grpc_receiver, gzip.compress(traces())).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert collected.requests == []


def test_tls_is_spoken_with_a_certificate(certificate, collected, emit) -> None:
    cert, key = certificate
    receiver = GrpcReceiver("127.0.0.1:0", collected, tls_cert=cert, tls_key=key)
    receiver.start()
    try:
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        emit.span(OTLPSpanExporter(endpoint=f"https://localhost:{receiver.port}", credentials=credentials))
        assert len(collected.of("traces")) == 1
    finally:
        receiver.stop(1)


def test_many_calls_at_once_all_arrive(grpc_receiver: GrpcReceiver, collected) -> None:
    bodies = [traces((i.to_bytes(16, "big"), b"\2" * 8)) for i in range(1, 101)]
    with grpc.insecure_channel(f"127.0.0.1:{grpc_receiver.port}") as channel:
        export = channel.unary_unary(TRACES)
        assert [future.result(5) for future in [export.future(body) for body in bodies]] == [b""] * 100
    assert sorted(collected.of("traces")) == sorted(bodies)
