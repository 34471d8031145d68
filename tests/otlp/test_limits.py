"""What one request may cost: a bomb is refused after its limit, in a process whose memory is watched."""

import http.client
import subprocess
import sys
import zlib
from collections.abc import Iterator

import grpc
import pytest
import zstandard
from google.rpc.status_pb2 import Status

LIMIT_MB = 16
GROWTH_KB = 48 << 10  # three times the limit, as measured 34 MiB for gzip; three bombs of 4 GiB each
SERVER = """
import sys
from pathlib import Path
from obsvty.otlp.grpc import GrpcReceiver
from obsvty.otlp.http import HttpReceiver

def put(signal, body):
    pass

receivers = [kind("127.0.0.1:0", put, max_message_mb=int(sys.argv[1])) for kind in (GrpcReceiver, HttpReceiver)]
for receiver in receivers:
    receiver.start()
print(*(receiver.port for receiver in receivers), flush=True)
for _ in sys.stdin:
    # not ru_maxrss, which begins with what the parent process had
    print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0], flush=True)
for receiver in receivers:
    receiver.stop(1)
"""


class Server:
    """A receiver process that tells the most memory it ever had."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self.grpc, self.http = map(int, process.stdout.readline().split())

    def peak_kb(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def post(
        self, body: bytes, encoding: str = "", kind: str = "application/x-protobuf"
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=30)
        try:
            headers = {"Content-Type": kind, "Content-Encoding": encoding}
            connection.request("POST", "/v1/traces", body=body, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def export(self, body: bytes, compression: grpc.Compression) -> grpc.RpcError | None:
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc}", options=options) as channel:
            call = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
            try:
                call(body, timeout=30, compression=compression)
            except grpc.RpcError as error:
                return error
        return None


@pytest.fixture
def server() -> Iterator[Server]:
    command = [sys.executable, "-c", SERVER, str(LIMIT_MB)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield Server(process)
    process.communicate(timeout=10)


def gzip_bomb(mib: int) -> bytes:
    """Zeros; each MiB is the same kilobyte of deflate, so that making it costs nothing."""
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * (mib - 1)


@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/json"])
@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [("gzip", gzip_bomb(4096)), ("zstd", zstandard.compress(bytes(1 << 20), 3) * 4096)],
    ids=["gzip", "zstd"],
)
def test_a_bomb_over_http_costs_its_limit_and_not_its_size(
    server: Server, encoding: str, bomb: bytes, kind: str
) -> None:
    assert len(bomb) < LIMIT_MB << 20
    assert server.post(b"")[0] == 200
    before = server.peak_kb()
    for _ in range(3):
        status, answer = server.post(bomb, encoding, kind)
        assert status == 413
    assert len(answer) < 1000
    assert server.peak_kb() - before < GROWTH_KB
    assert server.post(b"")[0] == 200


def test_a_bomb_over_grpc_costs_its_limit_and_not_its_size(server: Server) -> None:
    assert server.export(b"", grpc.Compression.Gzip) is None
    before = server.peak_kb()
    error = server.export(bytes(512 << 20), grpc.Compression.Gzip)
    assert error is not None
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "google.rpc.retryinfo-bin" not in dict(error.trailing_metadata() or ())
    assert server.peak_kb() - before < GROWTH_KB
    assert server.export(b"", grpc.Compression.Gzip) is None


def test_the_default_limit_is_64_mib_on_both_transports() -> None:
    from obsvty.settings import Settings

    assert Settings().receiver.max_message_mb == 64
    command = [sys.executable, "-c", SERVER, "64"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    server = Server(process)
    try:
        # ResourceSpans.schema_url, one byte less than and one more than the limit in all
        just, over = (
            b"\n" + varint(n - 5) + b"\x1a" + varint(n - 10) + b"x" * (n - 10)
            for n in (64 << 20, (64 << 20) + 1)
        )
        assert (len(just), len(over)) == (64 << 20, (64 << 20) + 1)
        assert server.post(just)[0] == 200
        status, answer = server.post(over)
        assert (status, Status.FromString(answer).code) == (413, 8)
        assert server.export(just, grpc.Compression.NoCompression) is None
        error = server.export(over, grpc.Compression.NoCompression)
        assert error is not None
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    finally:
        process.communicate(timeout=10)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
