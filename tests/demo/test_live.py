"""The live shop, started for real: needs the `demo` extra, takes half a minute (`pytest -m live`)."""

import contextlib
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc

from obsvty.demo.live import bundled_deploys, check_installed, run_live_shop
from obsvty.demo.shop import Deploy
from obsvty.errors import ObsvtyError, RevisionUnknown, UsageError

CLIENT = 3


class Sink(
    traces_grpc.TraceServiceServicer, logs_grpc.LogsServiceServicer, metrics_grpc.MetricsServiceServicer
):
    """Collects the rows of interest from OTLP requests."""

    def __init__(self) -> None:
        self.spans: list[tuple[dict[str, str], object]] = []
        self.log_records: list[tuple[dict[str, str], object]] = []
        self.metric_names: set[str] = set()
        self._server = grpc.server(ThreadPoolExecutor(4))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def Export(self, request, context):  # noqa: N802 # gRPC's name
        if isinstance(request, traces.ExportTraceServiceRequest):
            for group in request.resource_spans:
                of = {a.key: a.value.string_value for a in group.resource.attributes}
                self.spans += [(of, span) for scope in group.scope_spans for span in scope.spans]
            return traces.ExportTraceServiceResponse()
        if isinstance(request, logs.ExportLogsServiceRequest):
            for group in request.resource_logs:
                of = {a.key: a.value.string_value for a in group.resource.attributes}
                self.log_records += [(of, r) for scope in group.scope_logs for r in scope.log_records]
            return logs.ExportLogsServiceResponse()
        for group in request.resource_metrics:
            self.metric_names |= {m.name for scope in group.scope_metrics for m in scope.metrics}
        return metrics.ExportMetricsServiceResponse()

    def close(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    traces_grpc.add_TraceServiceServicer_to_server(sink, sink._server)
    logs_grpc.add_LogsServiceServicer_to_server(sink, sink._server)
    metrics_grpc.add_MetricsServiceServicer_to_server(sink, sink._server)
    yield sink
    sink.close()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    bundle = files("obsvty.demo").joinpath("data/shop.bundle")
    subprocess.run(["git", "clone", "-q", "-b", "main", str(bundle), str(tmp_path / "repo")], check=True)
    return tmp_path / "repo"


@pytest.mark.live
def test_the_shop_exports_both_deployments_and_only_the_second_checkout_makes_four_calls(
    sink: Sink, repo: Path, tmp_path: Path
) -> None:
    phases: list[str] = []
    run = run_live_shop(
        repo,
        f"http://127.0.0.1:{sink.port}",
        tmp_path / "work",
        seconds_per_deploy=12,
        on_phase=phases.append,
    )

    assert run.failed == 0
    checkouts: Counter[str] = Counter()
    roots = 0
    by_trace: dict[bytes, list[tuple[dict[str, str], object]]] = defaultdict(list)
    for of, span in sink.spans:
        by_trace[span.trace_id].append((of, span))
        roots += not span.parent_span_id
    calls: dict[str, set[int]] = defaultdict(set)
    for trace in by_trace.values():
        for of, span in trace:
            if span.name == "POST /checkout":
                revision = of["vcs.ref.head.revision"]
                checkouts[revision] += 1
                children = [s for o, s in trace if s.parent_span_id == span.span_id and s.kind == CLIENT]
                calls[revision].add(sum(1 for s in children if s.name == "POST"))
    first, second = (deploy.revision for deploy in bundled_deploys())
    assert set(checkouts) == {first, second}
    assert min(checkouts.values()) > 5
    assert calls == {first: {1}, second: {4}}
    assert roots == run.requests  # nothing was lost on the way out
    assert {of["service.name"] for of, _ in sink.spans} == {"shop", "payments"}
    assert {of["service.version"] for of, _ in sink.spans} == {"1.4.0", "1.5.0"}
    assert sink.metric_names
    order_log = [r for _, r in sink.log_records if "@mail.example" in r.body.string_value]
    assert len(order_log) == checkouts[second]
    assert {"code.file.path", "code.line.number"} <= {a.key for a in order_log[0].attributes}
    assert len(run.deployed_at) == 2
    assert run.deployed_at[0] < run.deployed_at[1]
    assert phases[0].startswith("starting the third party")


@pytest.mark.live
def test_a_revision_that_the_clone_does_not_hold_is_refused(repo: Path, tmp_path: Path) -> None:
    nowhere = Deploy(version="9.9.9", revision="f" * 40)
    with pytest.raises(RevisionUnknown, match=r"9\.9\.9"):
        run_live_shop(repo, "http://127.0.0.1:9", tmp_path / "work", deploys=[nowhere])


@pytest.mark.live
def test_a_shop_that_does_not_start_says_where_its_output_is(sink: Sink, repo: Path, tmp_path: Path) -> None:
    root = subprocess.run(
        ["git", "-C", str(repo), "rev-list", "--max-parents=0", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()  # the first commit has no payments service
    with pytest.raises(ObsvtyError, match=r"payments-0\.1\.0\.log"):
        run_live_shop(
            repo,
            f"http://127.0.0.1:{sink.port}",
            tmp_path / "work",
            deploys=[Deploy(version="0.1.0", revision=root)],
        )


@pytest.mark.live
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's parent death signal, and /proc")
def test_the_services_end_with_a_demo_that_is_killed(sink: Sink, repo: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    code = (
        "import sys; from pathlib import Path; from obsvty.demo.live import run_live_shop; "
        "run_live_shop(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), on_phase=lambda p: print(p, flush=True))"
    )
    command = [sys.executable, "-c", code, str(repo), f"http://127.0.0.1:{sink.port}", str(work)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for phase in demo.stdout:
            if "customers come" in phase:
                break
        assert len(processes_in(work)) == 2
        demo.kill()
    deadline = time.monotonic() + 10
    while processes_in(work) and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert processes_in(work) == []


def processes_in(folder: Path) -> list[int]:
    """Processes whose working folder is inside `folder`."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone, or not ours to look at
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append(int(process.name))
    return found


@pytest.mark.live
def test_nothing_starts_after_stop_was_set(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    run = run_live_shop(tmp_path, "http://127.0.0.1:9", tmp_path / "work", stop=stop)
    assert (run.requests, run.deployed_at) == (0, ())


def test_a_missing_package_names_the_command_that_installs_it() -> None:
    with pytest.raises(UsageError, match="no_such_package") as caught:
        check_installed(("json", "no_such_package", "no_such_package.inner"))
    assert "uv run --extra demo obsvty demo --live" in caught.value.hint
    assert "pip install 'obsvty[demo]'" in caught.value.hint


def test_the_bundled_history_holds_the_deployed_revisions(repo: Path) -> None:
    for deploy in bundled_deploys():
        subprocess.run(
            ["git", "-C", str(repo), "cat-file", "-e", f"{deploy.revision}^{{commit}}"], check=True
        )
