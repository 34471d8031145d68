"""The unmodified Node SDK, over all its transports, into a real store. Needs node, npm and its registry: `-m live`."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.live
PROJECT = Path(__file__).parent / "node"
EVERYTHING = {
    "text": "h\u00e9llo \U0001f600", "empty": "", "true": "true", "false": "false", "int": "-42",
    "big": "9007199254740991", "double": "0.1", "texts": '["a", "b"]', "bools": "[true, false]",
    "ints": "[1, 2]", "doubles": "[0.5, 1.5]", "none left": "[]",
}  # fmt: skip
MORE = EVERYTHING | {"bytes": "00ff", "map": '{"k": [1, {"deep": "x"}]}'}


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
def test_everything_of_the_node_sdk_arrives(
    node_project: Path, store, transport: str, compression: str
) -> None:
    urls = [f"{store.http_url}/v1/{signal}" for signal in ("traces", "logs", "metrics")]
    if transport == "grpc":
        urls = [store.grpc_url] * 3
    done = subprocess.run(
        ["node", "send.mjs", transport, *urls, compression],
        cwd=node_project, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check_spans(store.rows("traces"), transport)
    check_logs(store.rows("logs"))
    check_metrics(store.rows("metrics"))
    assert dict(store.rows("resources")[0]["attributes"])["cpus"] == "4"


def check_spans(rows: list[dict], transport: str) -> None:
    child, parent = sorted(rows, key=lambda span: span["name"] != "charge")
    assert (parent["name"], parent["kind"], parent["http_method"], parent["parent_span_id"]) == (
        "GET /notify/:id", 2, "GET", None,
    )  # fmt: skip
    assert (child["trace_id"], child["parent_span_id"]) == (parent["trace_id"], parent["span_id"])
    assert (child["service_name"], child["status_code"], child["status_message"]) == (
        f"node-{transport}", 2, "card declined",
    )  # fmt: skip
    assert dict(parent["attributes"]) == {"http.request.method": "GET"} | EVERYTHING
    [event] = parent["events"]
    assert (event["name"], event["time"].value) == ("cache.miss", 1_700_000_000_000_000_001)
    assert dict(event["attributes"]) == EVERYTHING
    [link] = parent["links"]
    assert (link["trace_id"], link["span_id"]) == ("ab" * 16, "cd" * 8)
    assert dict(link["attributes"]) == EVERYTHING
    [exception] = child["events"]
    assert exception["name"] == "exception"
    assert dict(exception["attributes"])["exception.message"] == "card declined"
    assert parent["duration_ns"] >= child["duration_ns"] > 0


def check_logs(rows: list[dict]) -> None:
    rows = sorted(rows, key=lambda row: row["time_ns"])
    assert [row["body"] for row in rows] == [
        "card declined",
        "3",
        "0.1",
        "true",
        '["a", 1]',
        '{"k": {"n": 1}}',
    ]
    for position, row in enumerate(rows, 1):
        assert (row["time_ns"], row["observed_time"].value) == (position, 100 + position)
        assert (row["severity_number"], row["severity_text"], row["event_name"]) == (
            17, "ERROR", f"event.{position}",
        )  # fmt: skip
        assert dict(row["attributes"]) == MORE


def check_metrics(found: list[dict]) -> None:
    rows = {row["name"]: row for row in found}
    assert {name: (row["kind"], row["temporality"], row["is_monotonic"]) for name, row in rows.items()} == {
        "checkouts": ("sum", "delta", True),
        "open": ("sum", "cumulative", False),
        "latency": ("histogram", "delta", None),
        "size": ("exponential_histogram", "delta", None),
        "temperature": ("gauge", None, None),
        "pages": ("sum", "delta", True),
        "queue": ("sum", "cumulative", False),
        "load": ("gauge", None, None),
    }
    values = {name: row["value"] for name, row in rows.items() if row["value"] is not None}
    assert values == {
        "checkouts": 3.0, "open": -2.0, "temperature": 21.5, "pages": 5.0, "queue": 5.0, "load": 5.0,
    }  # fmt: skip
    checkouts, latency, size = rows["checkouts"], rows["latency"], rows["size"]
    assert dict(checkouts["attributes"]) == {"card": "visa", "n": "1"}
    assert (checkouts["unit"], checkouts["description"]) == ("1", "number of checkouts")
    assert [latency[name] for name in ("count", "sum", "min", "max")] == [1, 12.5, 12.5, 12.5]
    assert latency["bucket_counts"].index(1) == sum(bound < 12.5 for bound in latency["explicit_bounds"])
    assert [size[name] for name in ("count", "sum", "zero_count")] == [1, 3.0, 0]
    assert sum(size["positive_bucket_counts"]) == 1
