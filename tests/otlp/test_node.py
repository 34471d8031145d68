"""Spans of the unmodified Node SDK, over all its transports. Needs node, npm and the npm registry: `-m live`."""

import shutil
import subprocess
from pathlib import Path

import pytest

from obsvty.otlp.decode import decode
from obsvty.otlp.grpc import GrpcReceiver
from obsvty.otlp.http import HttpReceiver

pytestmark = pytest.mark.live
PROJECT = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def node_project(pytestconfig: pytest.Config) -> Path:
    """The small Node project with its packages, kept between runs in pytest's cache folder."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed: the Node SDK cannot be run")
    folder = pytestconfig.cache.mkdir("otlp-node")
    for name in ("package.json", "send.mjs"):
        shutil.copyfile(PROJECT / name, folder / name)
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("transport", ["grpc", "http", "proto"])
def test_spans_of_the_node_sdk_arrive(
    node_project: Path,
    grpc_receiver: GrpcReceiver,
    http_receiver: HttpReceiver,
    collected,
    transport: str,
    compression: str,
) -> None:
    grpc_url = f"http://127.0.0.1:{grpc_receiver.port}"
    url = grpc_url if transport == "grpc" else f"http://127.0.0.1:{http_receiver.port}/v1/traces"
    done = subprocess.run(
        ["node", "send.mjs", transport, url, compression],
        cwd=node_project, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = decode("traces", collected.wait_for("traces"))["traces"].to_pylist()
    child, parent = sorted(rows, key=lambda span: span["name"] != "charge")
    assert (parent["name"], parent["kind"], parent["http_method"], parent["parent_span_id"]) == (
        "GET /notify/:id",
        2,
        "GET",
        None,
    )
    assert (child["trace_id"], child["parent_span_id"]) == (parent["trace_id"], parent["span_id"])
    assert (child["service_name"], child["status_code"], child["status_message"]) == (
        f"node-{transport}",
        2,
        "card declined",
    )
    assert dict(child["attributes"]) == {"tags": '["a", "b"]', "amount": "1.5", "big": "9007199254740991"}
    [event] = child["events"]
    assert (event["name"], dict(event["attributes"])["exception.message"]) == ("exception", "card declined")
    assert parent["duration_ns"] >= child["duration_ns"] > 0
