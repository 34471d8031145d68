"""The live shop's processes: checked out, started under auto-instrumentation, stopped with all exported."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from obsvty.errors import ObsvtyError, RevisionUnknown

_START_TIMEOUT_S: Final = 60.0  # a loaded machine needs 10 s to import everything
_STOP_TIMEOUT_S: Final = 15.0  # one last export of each signal; the exporters give up after 10 s
_NOT_INHERITED: Final = ("OTEL_", "OBSVTY_", "FLASK_", "WERKZEUG_", "UVICORN_")

# `opentelemetry-instrument` by import: the script may lie in another folder than the interpreter (uv run
# --with). SIGINT goes back to its default first: a demo that was started in the background inherits it as
# ignored, and would not stop. PR_SET_PDEATHSIG (1): on Linux the services end with a demo that is killed.
_INSTRUMENT: Final = (
    "import ctypes, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "sys.platform == 'linux' and ctypes.CDLL(None).prctl(1, signal.SIGTERM); "
    "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
)
_GIT: Final = (
    "git",
    *("-c", "safe.directory=*"),  # the clone may lie on a volume that another user owns
    *("-c", "core.autocrlf=false"),
    *("-c", "advice.detachedHead=false"),
)


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """One deployment of the story."""

    version: str
    revision: str


class Shop:
    """One deployment: its checkout, and its services `shop` and `payments`.

    Args:
        repo: the clone that holds the deployment's revision; it is only read.
        deploy: which version and revision.
        work: folder for the checkout, the database and the services' output.
        endpoint: where OTLP over gRPC goes.
        ports: loopback ports of payments and shop.
        third_party: base URL of acquirer and issuer.
    """

    def __init__(
        self,
        repo: Path,
        deploy: Deploy,
        work: Path,
        *,
        endpoint: str,
        ports: tuple[int, int],
        third_party: str,
    ) -> None:
        self._repo = repo
        self._deploy = deploy
        self._work = work
        self._endpoint = endpoint
        self._payments_port, self.port = ports
        self._third_party = third_party
        self._checkout = work / f"shop-{deploy.version}"

    @contextmanager
    def running(self) -> Generator[None]:
        """Both services accept connections inside the block; after it they are stopped and have exported all.

        Raises:
            RevisionUnknown: the clone does not hold the revision.
            ObsvtyError: a service did not start.
        """
        self._check_out()
        migrate = [sys.executable, "-c", "from app.inventory import migrate; migrate()"]
        self._run(migrate, cwd=self._checkout, environment=self._environment("shop"))
        started: list[subprocess.Popen[bytes]] = []
        try:
            payments = self._start(
                "payments", "flask", "--app", "payments.app", "run", "-p", str(self._payments_port)
            )
            started.append(payments)
            shop = self._start(
                *("shop", "uvicorn", "app.main:app", "--port", str(self.port)),
                *("--log-level", "warning", "--timeout-graceful-shutdown", "5"),
            )
            started.append(shop)
            _wait_for_port(self._payments_port, payments, self._output("payments"))
            _wait_for_port(self.port, shop, self._output("shop"))
            yield
        finally:
            for process in reversed(started):  # the shop first: it calls payments
                stop_process(process)

    def _start(self, service: str, *module: str) -> subprocess.Popen[bytes]:
        with self._output(service).open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-c", _INSTRUMENT, sys.executable, "-m", *module],
                cwd=self._checkout,
                env=self._environment(service),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _check_out(self) -> None:
        shutil.rmtree(self._checkout, ignore_errors=True)
        clone = [*_GIT, "clone", "-q", "--no-checkout", "--", str(self._repo), str(self._checkout)]
        self._run(clone, cwd=self._work)
        found = subprocess.run(
            [*_GIT, "-C", str(self._checkout), "checkout", "-q", "--detach", self._deploy.revision],
            capture_output=True,
            check=False,
        )
        if found.returncode != 0:
            raise RevisionUnknown(
                f"The repository does not hold {self._deploy.revision[:12]}, the revision of"
                f" {self._deploy.version}.",
                hint="Clone the bundled history again: obsvty/demo/data/shop.bundle.",
            )

    def _run(self, argv: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None) -> None:
        output = self._output("setup")
        with output.open("ab") as log:
            done = subprocess.run(
                argv,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
            )
        if done.returncode != 0:
            raise ObsvtyError(
                f"The shop {self._deploy.version} could not be set up:"
                f" {Path(argv[0]).name} exited with {done.returncode}.",
                hint=f"Its output is in {output}.",
            )

    def _output(self, name: str) -> Path:
        return self._work / f"{name}-{self._deploy.version}.log"

    def _environment(self, service: str) -> dict[str, str]:
        """What a service sees: its peers, and where telemetry goes. No setting, token or proxy of ours."""
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(_NOT_INHERITED) and not key.lower().endswith("_proxy")
        }
        resource = {
            "service.version": self._deploy.version,
            "service.namespace": "shop",
            "deployment.environment.name": "demo",
            "vcs.ref.head.revision": self._deploy.revision,
            "vcs.repository.url.full": "https://github.com/example/shop",
        }
        return inherited | {
            "SHOP_DB": str(self._work / f"shop-{self._deploy.version}.db"),
            "PAYMENTS_URL": f"http://127.0.0.1:{self._payments_port}",
            "ISSUER_URL": f"{self._third_party}/issuer",
            "ACQUIRER_URL": f"{self._third_party}/acquirer",
            "OTEL_SERVICE_NAME": service,
            "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{key}={value}" for key, value in resource.items()),
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_BSP_SCHEDULE_DELAY": "1000",  # a demo should be seen while it runs; the default is 5 s
            "OTEL_BLRP_SCHEDULE_DELAY": "1000",
            "OTEL_METRIC_EXPORT_INTERVAL": "5000",
            "OTEL_PYTHON_LOG_CODE_ATTRIBUTES": "true",
        }


@contextmanager
def third_party_running(work: Path) -> Generator[str]:
    """The base URL of the simulated acquirer and issuer, which run while the block does.

    Raises:
        ObsvtyError: it did not start.
    """
    output = work / "third-party.log"
    with (
        output.open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "obsvty.demo.world"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            line = process.stdout.readline().strip() if process.stdout else b""
            if not line:
                raise ObsvtyError(
                    "The simulated third party did not start.", hint=f"Its output is in {output}."
                )
            yield f"http://127.0.0.1:{int(line)}"
        finally:
            if process.stdin:
                process.stdin.close()  # its sign to end
            try:
                process.wait(timeout=_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                stop_process(process)


def free_ports() -> tuple[int, int]:
    """Two loopback ports that nothing listens on; both are held until both are known."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        return int(one.getsockname()[1]), int(other.getsockname()[1])


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and its group: SIGINT, then SIGTERM, then SIGKILL.

    SIGINT comes first because Python's exit handlers, which export what is still buffered, run after it and
    not after SIGTERM: uvicorn, when done, raises the signal it got again, and SIGTERM ends the process there.
    """
    for step, wait_s in ((signal.SIGINT, _STOP_TIMEOUT_S), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, step)
            process.wait(timeout=wait_s)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _wait_for_port(port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ObsvtyError("A service of the live demo did not start.", hint=f"Its output is in {output}.")
