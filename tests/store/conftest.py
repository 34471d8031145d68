import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from obsvty.store.reader import Reader
from obsvty.store.writer import Writer

FEED = Path(__file__).with_name("feed.py")


@pytest.fixture(scope="session")
def feed() -> ModuleType:
    """tests/store/feed.py: decoder, example requests."""
    spec = importlib.util.spec_from_file_location("obsvty_store_feed", FEED)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def writer(root: Path, feed: ModuleType) -> Iterator[Writer]:
    with Writer(root, feed.decode, rotate_s=0.05) as writer:
        yield writer


@pytest.fixture
def reader(root: Path) -> Iterator[Reader]:
    with Reader(root) as reader:
        yield reader


@pytest.fixture
def feeder(root: Path) -> Callable[..., AbstractContextManager["subprocess.Popen[bytes]"]]:
    """Starts a writer process on `root`; it is killed at the end of the block."""

    @contextmanager
    def start(first: int, count: int, threads: int = 4) -> Iterator["subprocess.Popen[bytes]"]:
        arguments = [sys.executable, str(FEED), str(root), str(first), str(count), str(threads)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.kill()

    return start
