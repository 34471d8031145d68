"""Spans a second of one core that `obsvty import` takes from protobuf files: `python tests/benchmarks/import_speed.py`.

Counts the CPU time of all threads of this process, from reading the file until the rows are visible to readers.
"""

import tempfile
import time
from pathlib import Path

from google.protobuf.internal.encoder import _VarintBytes
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import obsvty.demo
from obsvty.model import Signal
from obsvty.otlp.decode import decode
from obsvty.otlp.files import import_files, read_requests
from obsvty.store.reader import Reader
from obsvty.store.writer import Writer

PROMISED = 50_000
CAPTURE = Path(obsvty.demo.__file__).parent / "data" / "shop.otlp.jsonl.gz"


def requests(copies: int) -> list[bytes]:
    """The capture's trace requests (on average 115 spans each) that many times, each time with trace ids of its own."""
    originals = [
        ExportTraceServiceRequest.FromString(body)
        for signal, body in read_requests(CAPTURE)
        if signal == "traces"
    ]
    made: list[bytes] = []
    for copy in range(copies):
        for original in originals:
            for group in original.resource_spans:
                for scope in group.scope_spans:
                    for span in scope.spans:
                        span.trace_id = copy.to_bytes(4, "big") + span.trace_id[4:]
            made.append(original.SerializeToString())
    return made


def split(bodies: list[bytes]) -> list[bytes]:
    """One span a request: the most expensive form, as an application exports it that flushes after each request."""
    made: list[bytes] = []
    for body in bodies:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in group.scope_spans:
                for span in scope.spans:
                    one = ExportTraceServiceRequest()
                    outer = one.resource_spans.add(resource=group.resource, schema_url=group.schema_url)
                    outer.scope_spans.add(scope=scope.scope, spans=[span])
                    made.append(one.SerializeToString())
    return made


def measure(bodies: list[bytes], folder: Path) -> tuple[int, float]:
    """(spans, CPU seconds) of one import of a length-delimited file, as the command does it."""
    file = folder / "spans.traces.pb"
    file.write_bytes(b"".join(_VarintBytes(len(body)) + body for body in bodies))
    began = time.process_time()
    with Writer(folder / "data", decode) as writer:

        def put(signal: Signal, body: bytes) -> None:
            writer.put_once(signal, body, wait=False)

        report = import_files([file], put, join=False)
        writer.flush()
    spent_s = time.process_time() - began
    reader = Reader(folder / "data")
    assert reader.table("traces").count().to_pyarrow().as_py() == report.spans
    reader.close()
    return report.spans, spent_s


def main() -> None:
    """Print one line a form; leave with 1 when the usual form is slower than promised."""
    with tempfile.TemporaryDirectory() as warm:
        measure(requests(1), Path(warm))
    usual = 0.0
    for name, bodies in (("1 span a request", split(requests(10))), ("115 spans a request", requests(40))):
        with tempfile.TemporaryDirectory() as folder:
            spans, spent_s = measure(bodies, Path(folder))
        usual = spans / spent_s
        print(f"{name:>20}: {spans:7,} spans in {spent_s:5.2f} s of CPU = {usual:9,.0f} spans/s")
    raise SystemExit(usual < PROMISED)


if __name__ == "__main__":
    main()
