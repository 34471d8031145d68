"""Importing files into a real store: bad lines, the same file again, and an import that is killed."""

import gzip
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from google.protobuf.internal.encoder import _VarintBytes
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from obsvty.errors import OtlpError
from obsvty.model import Signal
from obsvty.otlp.decode import decode
from obsvty.otlp.files import ImportReport, import_files
from obsvty.store.reader import Reader
from obsvty.store.writer import Writer

REQUESTS = 3000  # of 10 spans: 3 MB, several log files and segments while they are imported


def body(number: int, spans: int = 1) -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = group.scope_spans.add()
    for span in range(spans):
        scope.spans.add(
            trace_id=number.to_bytes(16, "big"), span_id=(span + 1).to_bytes(8, "big"), name=f"GET /{number}"
        )
    return request.SerializeToString()


def line(number: int) -> bytes:
    span = {"traceId": f"{number:032x}", "spanId": "02" * 8, "name": f"GET /{number}"}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode() + b"\n"


def delimited(*bodies: bytes) -> bytes:
    return b"".join(_VarintBytes(len(one)) + one for one in bodies)


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def stored(data: Path) -> Counter[tuple[str, str]]:
    """How often each span is there."""
    reader = Reader(data)
    rows = reader.table("traces").select("trace_id", "span_id").to_pyarrow().to_pylist()
    reader.close()
    return Counter((row["trace_id"], row["span_id"]) for row in rows)


def run_import(data: Path, *files: Path, skip: list[str] | None = None) -> ImportReport:
    with Writer(data, decode) as writer:

        def put(name: Signal, one: bytes) -> None:
            writer.put_once(name, one, wait=False)

        told = None if skip is None else lambda error: skip.append(error.message)
        report = import_files(files, put, join=False, skip_bad=told)
        writer.flush()
    return report


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_bad_line_ends_the_import_or_is_named_by_number_and_skipped(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    lines = [
        line(1),
        b"{broken\n",
        line(2),
        b'{"hello": 1}\n',
        b'{"resourceSpans": 5}\n',
        line(3),
        line(4)[:-9],
    ]
    file = written(tmp_path, "shop.jsonl", pack(b"".join(lines)))
    with pytest.raises(OtlpError, match=r"shop\.jsonl, line 2: it is not JSON"):
        run_import(tmp_path / "fatal", file)
    assert len(stored(tmp_path / "fatal")) == 1
    skipped: list[str] = []
    report = run_import(tmp_path / "skip", file, skip=skipped)
    assert (report.spans, report.skipped) == (3, 4)
    assert [message.split(":")[0] for message in skipped] == [f"shop.jsonl, line {n}" for n in (2, 4, 5, 7)]
    assert "cut off" in skipped[-1]
    assert set(stored(tmp_path / "skip").values()) == {1}


def test_a_bad_first_line_is_skipped_too(tmp_path: Path) -> None:
    skipped: list[str] = []
    file = written(tmp_path, "x.jsonl", b'{"cut": \n' + line(1) + line(2))
    assert run_import(tmp_path / "d", file, skip=skipped).spans == 2
    assert [message.split(":")[0] for message in skipped] == ["x.jsonl, line 1"]


def test_a_bad_request_of_a_length_delimited_file_is_named_by_byte_and_skipped(tmp_path: Path) -> None:
    bad = b"\n\x05\n\x03\xff\xff\xff"
    first = delimited(body(1))
    file = written(tmp_path, "x.traces.pb", first + delimited(bad, b"??", body(2)))
    with pytest.raises(OtlpError, match=rf"x\.traces\.pb, byte {len(first)}: .*not an OTLP traces request"):
        run_import(tmp_path / "fatal", file)
    skipped: list[str] = []
    assert run_import(tmp_path / "skip", file, skip=skipped).skipped == 2
    assert skipped[0].startswith(f"x.traces.pb, byte {len(first)}: ")
    assert len(stored(tmp_path / "skip")) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("logo.png", b"\x89PNG\r\n\x1a\n" + bytes(50)),
        ("half.jsonl.gz", gzip.compress(line(1) * 99)[:-20]),
        ("cut.traces.pb", delimited(body(1), body(2))[:-4]),
        ("notes.txt", b'{"a": 1}\n{"b": 2}\n'),
    ],
)
def test_what_cannot_be_read_past_stays_an_error(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(OtlpError, match=name):
        run_import(tmp_path / "d", written(tmp_path, name, content), skip=[])


def test_the_same_requests_in_another_form_or_a_file_that_grew_change_nothing_or_add_what_is_new(
    tmp_path: Path,
) -> None:
    data = tmp_path / "d"
    plain = written(tmp_path, "a.traces.pb", delimited(body(1), body(2)))
    run_import(data, plain, plain)
    run_import(data, written(tmp_path, "b.traces.pb.zst", zstandard.compress(delimited(body(2), body(1)))))
    assert sorted(stored(data).values()) == [1, 1]
    plain.write_bytes(delimited(body(1), body(2), body(3)))
    run_import(data, plain)
    assert sorted(stored(data).values()) == [1, 1, 1]


KILLED = """
import os, signal, sys
from pathlib import Path
from obsvty.otlp.decode import decode
from obsvty.otlp.files import import_files
from obsvty.store.writer import Writer

file, data, at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
writer = Writer(data, decode, rotate_s=0.02)
seen = 0

def put(signal_name, body):
    global seen
    seen += 1
    if seen == at:
        os.kill(os.getpid(), signal.SIGKILL)
    writer.put_once(signal_name, body, wait=False)
    if seen % 700 == 0:
        writer.flush()

import_files([file], put, join=False)
"""


@pytest.mark.parametrize("at", [2, REQUESTS // 2, REQUESTS - 1])
def test_an_import_that_was_killed_is_run_again_and_has_each_request_once(tmp_path: Path, at: int) -> None:
    file = written(tmp_path, "big.traces.pb", delimited(*(body(n, 10) for n in range(1, REQUESTS + 1))))
    data = tmp_path / "d"
    killed = subprocess.run([sys.executable, "-c", KILLED, file, data, str(at)], check=False)
    assert killed.returncode == -signal.SIGKILL
    before = run_import(data, written(tmp_path, "none.jsonl", b""))  # only replays the log
    assert before.requests == 0
    half = stored(data)
    assert len(half) < REQUESTS * 10
    assert (at < 700) or half
    assert run_import(data, file).requests == REQUESTS
    found = stored(data)
    assert len(found) == REQUESTS * 10
    assert set(found.values()) == {1}
