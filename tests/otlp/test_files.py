"""Files of every form, whole and broken."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from google.protobuf.internal.encoder import _VarintBytes
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from obsvty.errors import OtlpError, StoreError, StoreOverloaded
from obsvty.model import Signal
from obsvty.otlp.decode import decode
from obsvty.otlp.files import ImportReport, import_files, read_requests


def trace_body(name: str = "GET /") -> bytes:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(name=name, start_time_unix_nano=7)
    span.trace_id, span.span_id = b"\x5b" * 16, b"\xee" * 8
    return request.SerializeToString()


def log_body() -> bytes:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=7).body.string_value = "hello"
    return request.SerializeToString()


def metric_body() -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="cpu")
    metric.gauge.data_points.add(time_unix_nano=7, as_double=0.5)
    return request.SerializeToString()


def delimited(*bodies: bytes) -> bytes:
    return b"".join(_VarintBytes(len(body)) + body for body in bodies)


def trace_json(name: str = "GET /") -> dict:
    span = {"traceId": "5B" * 16, "spanId": "ee" * 8, "name": name, "startTimeUnixNano": "7"}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


LOG_JSON = {
    "resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": 7, "body": {"stringValue": "hello"}}]}]}]
}
LOG_LINE = json.dumps(LOG_JSON).encode() + b"\n"
BODIES: dict[Signal, Callable[[], bytes]] = {"traces": trace_body, "logs": log_body, "metrics": metric_body}
PACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("signal", BODIES)
def test_a_protobuf_request_tells_its_signal_by_content(tmp_path: Path, signal: Signal, ending: str) -> None:
    path = written(tmp_path, "export.bin" + ending, PACK[ending](BODIES[signal]()))
    assert list(read_requests(path)) == [(signal, BODIES[signal]())]


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("signal", BODIES)
def test_length_delimited_requests_are_read_one_by_one(tmp_path: Path, signal: Signal, ending: str) -> None:
    body = BODIES[signal]()
    path = written(tmp_path, "export.bin" + ending, PACK[ending](delimited(body, b"", body, body)))
    assert list(read_requests(path)) == [(signal, body)] * 3


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("indent", [None, 2])
def test_one_json_object_may_span_lines(tmp_path: Path, indent: int | None, ending: str) -> None:
    content = json.dumps(trace_json(), indent=indent).encode()
    [(signal, body)] = read_requests(written(tmp_path, "x.json" + ending, PACK[ending](content)))
    assert (signal, body) == ("traces", trace_body())


@pytest.mark.parametrize("ending", PACK)
def test_json_lines_may_mix_signals_and_hold_blank_lines(tmp_path: Path, ending: str) -> None:
    lines = [json.dumps(trace_json()), "", json.dumps(LOG_JSON), "  ", json.dumps(trace_json("POST /"))]
    path = written(tmp_path, "otel" + ending, PACK[ending]("\r\n".join(lines).encode()))
    assert list(read_requests(path)) == [
        ("traces", trace_body()),
        ("logs", log_body()),
        ("traces", trace_body("POST /")),
    ]


@pytest.mark.parametrize("pack", [bytes, zstandard.compress, gzip.compress])
def test_the_four_byte_lengths_of_the_collector_are_read(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    packed = [pack(trace_body()), pack(json.dumps(trace_json("POST /")).encode())]
    content = b"".join(len(one).to_bytes(4, "big") + one for one in packed)
    path = written(tmp_path, "otel.out", content)
    assert list(read_requests(path)) == [("traces", trace_body()), ("traces", trace_body("POST /"))]
    with pytest.raises(OtlpError, match=r"cut\.out, byte [1-9][0-9]+: a request is cut off"):
        list(read_requests(written(tmp_path, "cut.out", content[:-3])))


def test_empty_requests_at_the_beginning_are_not_taken_for_four_byte_lengths(tmp_path: Path) -> None:
    path = written(tmp_path, "x.bin", delimited(b"", b"", trace_body()))
    assert list(read_requests(path)) == [("traces", trace_body())]


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    path = written(tmp_path, "x.json", b"\xef\xbb\xbf" + json.dumps(LOG_JSON).encode())
    assert [signal for signal, _ in read_requests(path)] == ["logs"]


def test_several_gzip_members_and_zstd_frames_are_one_file(tmp_path: Path) -> None:
    first, second = (json.dumps(value).encode() + b"\n" for value in (trace_json(), LOG_JSON))
    for pack in (gzip.compress, zstandard.compress):
        path = written(tmp_path, "rotated", pack(first) + pack(second))
        assert [signal for signal, _ in read_requests(path)] == ["traces", "logs"]


def test_the_option_beats_the_name_and_the_name_beats_the_content(tmp_path: Path) -> None:
    nothing_to_see = b"\n\x00"  # one resource without records: could be any signal
    path = written(tmp_path, "shop.logs.pb", nothing_to_see)
    assert [signal for signal, _ in read_requests(path)] == ["logs"]
    assert [signal for signal, _ in read_requests(path, "metrics")] == ["metrics"]
    with pytest.raises(OtlpError, match=r"shop\.pb, byte 0: .*which signal.*--signal"):
        list(read_requests(written(tmp_path, "shop.pb", nothing_to_see)))


def test_a_first_length_of_ten_or_of_an_opening_brace_is_still_a_length(tmp_path: Path) -> None:
    ten = b"\n\x08" + b"\x1a\x06schema"
    assert len(ten) == 10
    path = written(tmp_path, "a.traces.bin", delimited(ten, trace_body()))
    assert [body for _, body in read_requests(path)] == [ten, trace_body()]
    brace = trace_body("x" * (121 - len(trace_body(""))))
    assert len(brace) == ord("{")
    assert [body for _, body in read_requests(written(tmp_path, "b.bin", delimited(brace)))] == [brace]


def test_an_empty_file_holds_no_requests(tmp_path: Path) -> None:
    assert list(read_requests(written(tmp_path, "empty.jsonl", b""))) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.jsonl", LOG_LINE + LOG_LINE[:-9], "cut.jsonl, line 2: .*cut off"),
        ("cut1.json", LOG_LINE[:-3], "cut1.json, line 1: .*cut off"),
        ("bad.jsonl", LOG_LINE + b"nope\n" + LOG_LINE, "bad.jsonl, line 2: it is not JSON"),
        ("pretty.json", json.dumps(LOG_JSON, indent=1).encode()[:-9], r"pretty.json, line 1: .*\(line [1-9][0-9]"),
        ("other.json", b'{"hello": "world"}', "other.json, line 1: it is JSON, but not OTLP"),
        ("list.json", b"[1, 2]", "list.json, line 1: .*object"),
        ("kind.json", b'{"resourceSpans": 5}', "kind.json, line 1: .*resourceSpans must be a JSON array"),
        ("text.txt", b"hello, I am a text file\n" * 9, "text.txt, byte 0: it is not OTLP"),
        ("logo.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "logo.png, byte 0"),
        ("one.pb", trace_body()[:-4], f"one.pb, byte {len(trace_body()) - 4}: the request is cut off"),
        ("many.pb", delimited(trace_body(), trace_body())[:-4], "many.pb, byte [1-9][0-9]: a request is cut off"),
        ("garbage.traces.pb", b"\n\x05\n\x03\xff\xff\xff", "garbage.traces.pb, byte 0: .*not an OTLP traces request"),
        ("half.jsonl.gz", gzip.compress(LOG_LINE * 500)[:-20], "half.jsonl.gz, byte .*gzip"),
        ("half.zst", zstandard.compress(trace_body())[:-3], "half.zst, byte .*zstd"),
        ("flip.gz", b"\x1f\x8b" + b"x" * 40, "flip.gz, byte .*gzip"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_the_place_and_a_hint(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(OtlpError, match=message) as raised:
        list(read_requests(written(tmp_path, name, content)))
    assert raised.value.hint
    assert str(tmp_path) not in str(raised.value)


def test_a_missing_file_is_said_before_anything_is_imported(tmp_path: Path) -> None:
    got: list[bytes] = []
    good = written(tmp_path, "good.jsonl", json.dumps(LOG_JSON).encode())
    with pytest.raises(OtlpError, match=r"no file gone\.json"):
        import_files([good, tmp_path / "gone.json"], lambda _, body: got.append(body))
    assert got == []


def test_json_that_holds_another_signal_than_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OtlpError, match="line 1: it holds logs, not traces"):
        list(read_requests(written(tmp_path, "x.json", json.dumps(LOG_JSON).encode()), "traces"))


def test_the_capture_is_imported_whole_and_progress_reaches_the_end(capture: Path) -> None:
    got: dict[Signal, list[bytes]] = {"traces": [], "logs": [], "metrics": []}
    steps: list[tuple[int, int]] = []
    report = import_files(
        [capture], lambda signal, body: got[signal].append(body), progress=lambda *at: steps.append(at)
    )
    assert report == ImportReport(files=1, requests=133, spans=2637, logs=266, points=4517)
    size = capture.stat().st_size
    assert steps[-1] == (size, size)
    assert steps == sorted(steps)
    assert {signal: decode(signal, bodies)[signal].num_rows for signal, bodies in got.items()} == {
        "traces": 2637, "logs": 266, "metrics": 4517,
    }  # fmt: skip


def test_small_requests_of_one_signal_are_handed_over_together(tmp_path: Path) -> None:
    got: list[tuple[Signal, bytes]] = []
    lines = [json.dumps(trace_json(str(i))) for i in range(500)] + [json.dumps(LOG_JSON)]
    path = written(tmp_path, "x.jsonl", "\n".join(lines).encode())
    report = import_files([path], lambda signal, body: got.append((signal, body)))
    assert (report.requests, report.spans, report.logs) == (501, 500, 1)
    assert [signal for signal, _ in got] == ["traces", "logs"]
    assert decode("traces", [got[0][1]])["traces"]["name"].to_pylist() == [str(i) for i in range(500)]


def test_what_was_read_before_a_bad_line_stays_imported(tmp_path: Path) -> None:
    got: list[bytes] = []
    path = written(tmp_path, "x.jsonl", (json.dumps(trace_json()) + "\nbroken\n").encode())
    with pytest.raises(OtlpError, match="line 2"):
        import_files([path], lambda _, body: got.append(body))
    assert got == [trace_body()]


def test_spans_without_valid_ids_are_left_out_and_counted(tmp_path: Path) -> None:
    value = trace_json()
    spans = value["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans += [{"traceId": "00" * 16, "spanId": "ee" * 8}, {"traceId": "5b" * 16, "spanId": ""}]
    got: list[bytes] = []
    report = import_files(
        [written(tmp_path, "x.json", json.dumps(value).encode())], lambda _, body: got.append(body)
    )
    assert (report.spans, report.rejected, got) == (1, 2, [trace_body()])


def test_an_overloaded_store_is_asked_again_and_a_broken_one_is_not(tmp_path: Path) -> None:
    path = written(tmp_path, "x.json", json.dumps(LOG_JSON).encode())
    answers: list[Exception | None] = [StoreOverloaded("full"), None]
    got: list[bytes] = []

    def put(_: Signal, body: bytes) -> None:
        if answer := answers.pop(0):
            raise answer
        got.append(body)

    assert import_files([path], put).logs == 1
    assert got == [log_body()]
    answers = [StoreError("gone")]
    with pytest.raises(StoreError, match="gone"):
        import_files([path], put)
