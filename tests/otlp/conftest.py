import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from obsvty.model import Signal
from obsvty.otlp.grpc import GrpcReceiver
from obsvty.otlp.http import HttpReceiver


class Collected:
    """A `put` that keeps what it gets; `failure` is raised instead while it is set."""

    def __init__(self) -> None:
        self.requests: list[tuple[Signal, bytes]] = []
        self.failure: Exception | None = None
        self._arrived = threading.Condition()

    def __call__(self, signal: Signal, body: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        with self._arrived:
            self.requests.append((signal, body))
            self._arrived.notify_all()

    def of(self, signal: Signal) -> list[bytes]:
        return [body for found, body in self.requests if found == signal]

    def wait_for(self, signal: Signal, count: int = 1) -> list[bytes]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.of(signal)) >= count, timeout=5)
        return self.of(signal)


@pytest.fixture
def collected() -> Collected:
    return Collected()


@pytest.fixture
def grpc_receiver(collected: Collected) -> Iterator[GrpcReceiver]:
    receiver = GrpcReceiver("127.0.0.1:0", collected)
    receiver.start()
    yield receiver
    receiver.stop(1)


@pytest.fixture
def http_receiver(collected: Collected) -> Iterator[HttpReceiver]:
    receiver = HttpReceiver("127.0.0.1:0", collected, cors_origins=("https://shop.example",))
    receiver.start()
    yield receiver
    receiver.stop(1)


@pytest.fixture(scope="session")
def capture() -> Path:
    import obsvty.demo

    return Path(obsvty.demo.__file__).parent / "data" / "shop.otlp.jsonl.gz"
