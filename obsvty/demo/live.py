"""The live shop: two deployments of the bundled repository, really instrumented, really under load.

`run_live_shop` checks out each deployment of `data/deploys.toml`, starts the payments service (Flask) and the
shop (FastAPI) under OpenTelemetry's own auto-instrumentation, and lets customers come for a while. Telemetry
goes to the caller's receiver. Every port is a free one of the loopback interface, chosen once, so that both
deployments call the same addresses.
"""

from __future__ import annotations

import importlib.util
import shutil
import threading
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Final

from obsvty.demo.load import plan_load, send_load
from obsvty.demo.shop import Deploy, Shop, free_ports, third_party_running
from obsvty.errors import UsageError

_PACKAGES: Final = (
    "fastapi",
    "flask",
    "requests",
    "uvicorn",
    "opentelemetry.distro",
    "opentelemetry.exporter.otlp.proto.grpc",
    "opentelemetry.instrumentation.fastapi",
    "opentelemetry.instrumentation.flask",
    "opentelemetry.instrumentation.logging",
    "opentelemetry.instrumentation.requests",
    "opentelemetry.instrumentation.sqlite3",
)


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """What happened: requests sent and failed, and when each deployment took its first request (UTC)."""

    requests: int
    failed: int
    deployed_at: tuple[datetime, ...]


def bundled_deploys() -> tuple[Deploy, ...]:
    """The deployments of `data/deploys.toml`, oldest first."""
    text = files("obsvty.demo").joinpath("data/deploys.toml").read_text(encoding="utf-8")
    return tuple(Deploy(**deploy) for deploy in tomllib.loads(text)["deploy"])


def check_installed(packages: Sequence[str] = _PACKAGES) -> None:
    """Check that the shop's own dependencies are installed, without starting anything.

    Raises:
        UsageError: one is missing; the hint is the command that runs the demo with them.
    """
    missing = [name for name in packages if not _installed(name)]
    if missing:
        raise UsageError(
            f"The live demo needs packages that are not installed: {', '.join(missing)}.",
            hint="Run `uv run --extra demo obsvty demo --live`, or `pip install 'obsvty[demo]'` first.",
        )


def run_live_shop(
    repo: Path,
    endpoint: str,
    work: Path,
    *,
    seconds_per_deploy: float = 45.0,
    requests_per_s: float = 6.0,
    deploys: Sequence[Deploy] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    on_phase: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> LiveRun:
    """Run each deployment under load, one after the other, and stop everything again.

    Args:
        repo: a clone that holds the deployments' revisions; it is only read.
        endpoint: the receiver, OTLP over gRPC: `http://127.0.0.1:4317`.
        work: a folder for checkouts, databases and the services' output; made if need be.
        seconds_per_deploy: how long customers come to each deployment.
        requests_per_s: mean rate of the open-loop load.
        deploys: other deployments than the bundled two.
        progress: called with the phase, requests sent, requests planned.
        on_phase: called with a short sentence when a phase begins.
        stop: set it to end early; what was sent until then counts.

    Raises:
        UsageError: the `demo` extra is not installed, or git is not.
        RevisionUnknown: `repo` does not hold a deployment's revision.
        ObsvtyError: a service did not start.
    """
    check_installed()
    if shutil.which("git") is None:
        raise UsageError("The live demo needs git.", hint="Install git.")
    repo, work = repo.resolve(), work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    say = on_phase or _silent
    stop = stop or threading.Event()
    sent = failed = 0
    deployed_at: list[datetime] = []
    ports = free_ports()
    say("starting the third party (acquirer and card issuer)")
    with third_party_running(work) as third_party:
        for deploy in bundled_deploys() if deploys is None else deploys:
            if stop.is_set():
                break
            phase = f"deploy {deploy.version}"
            say(f"{phase}: checking out {deploy.revision[:7]}, starting shop and payments")
            shop = Shop(repo, deploy, work, endpoint=endpoint, ports=ports, third_party=third_party)
            plan = plan_load(seconds=seconds_per_deploy, requests_per_s=requests_per_s, seed=deploy.version)
            with shop.running():
                deployed_at.append(datetime.now(UTC))
                say(f"{phase}: customers come")
                report = partial(progress, phase) if progress else None
                load = send_load(plan, port=shop.port, stop=stop, progress=report)
                sent, failed = sent + load[0], failed + load[1]
                say(f"{phase}: stopping, waiting for the last export")
    return LiveRun(requests=sent, failed=failed, deployed_at=tuple(deployed_at))


def _silent(_phase: str) -> None:
    """Say nothing."""


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # a package that holds it is missing
        return False
