"""The live demo: a real receiver, the real instrumented shop, and detection while its telemetry streams in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from obsvty.demo.live import LiveRun, check_installed, run_live_shop
from obsvty.errors import ObsvtyError, ReceiverError
from obsvty.serve import Ports, serve
from obsvty.session import Session

if TYPE_CHECKING:
    from obsvty.settings import Settings

_LOOK_EVERY_S = 3.0


@dataclass(frozen=True, kw_only=True)
class LiveDemo:
    """What happened."""

    requests: int
    failed: int
    seconds_to_detect: (
        float | None
    )  # from the second deploy's first request to the first sight of the incident


def run_live_demo(
    settings: Settings,
    repo: Path,
    work: Path,
    *,
    seconds_per_deploy: float,
    progress: Callable[[str, int, int], None],
) -> LiveDemo:
    """Run deploy A, then deploy B, against a receiver on free loopback ports, and look for the incident meanwhile.

    Raises:
        UsageError: the demo's extra packages are not installed.
        ObsvtyError: a service did not start.
    """
    check_installed()
    settings = _on_free_ports(settings)
    stop, listening = threading.Event(), threading.Event()
    bound: list[Ports] = []
    failed: list[ObsvtyError] = []

    def receive() -> None:
        try:
            serve(settings, stop=stop, ready=lambda ports: (bound.append(ports), listening.set())[1])
        except ObsvtyError as exc:
            failed.append(exc)
        finally:
            listening.set()  # whatever happened, nobody waits for ever

    receiver = threading.Thread(target=receive, name="obsvty-serve")
    receiver.start()
    try:
        listening.wait()
        if failed:
            raise failed[0]
        if not bound:
            raise ReceiverError("The receiver did not start.", hint="Run: obsvty serve --debug")
        looking = _Lookout(settings)
        looking.start()
        try:
            run = run_live_shop(
                repo,
                f"http://127.0.0.1:{bound[0].grpc}",
                work / "live",
                seconds_per_deploy=seconds_per_deploy,
                progress=progress,
            )
        finally:
            looking.stop()
    finally:
        stop.set()
        receiver.join()
    return LiveDemo(
        requests=run.requests, failed=run.failed, seconds_to_detect=looking.seconds_after(_second_deploy(run))
    )


def _second_deploy(run: LiveRun) -> float:
    return run.deployed_at[-1].timestamp()


def _on_free_ports(settings: Settings) -> Settings:
    free = "127.0.0.1:0"
    return settings.model_copy(
        update={
            "receiver": settings.receiver.model_copy(update={"grpc": free, "http": free, "token": None}),
            "mcp": settings.mcp.model_copy(update={"http": free}),
            "watch": settings.watch.model_copy(update={"enabled": False}),
        }
    )


class _Lookout:
    """Detects every few seconds, in a thread, and remembers when it first saw an incident."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="obsvty-lookout", daemon=True)
        self._seen_at: float | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def seconds_after(self, moment: float) -> float | None:
        return None if self._seen_at is None else max(0.0, self._seen_at - moment)

    def _run(self) -> None:
        with Session(self._settings.data_dir, self._settings) as session:
            while self._seen_at is None and not self._done.wait(_LOOK_EVERY_S):
                if session.detect():
                    self._seen_at = time.time()
