"""Disks that are full and folders that may not be written: a person is told, and nothing acknowledged is lost."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from obsvty.errors import StoreError
from obsvty.store.reader import Reader
from obsvty.store.writer import Writer


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("only root may mount; test_writer.py has the same with a limit on file sizes")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("rotate_s", [60, 0.02])
def test_a_full_disk_refuses_and_keeps_all_that_was_acknowledged_and_goes_on_when_there_is_room(
    small_disk: Path, feed: ModuleType, rotate_s: float
) -> None:
    root = small_disk / "data"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(700_000))
    acknowledged: list[int] = []
    with Writer(root, feed.decode, rotate_s=rotate_s) as writer:

        def put_all() -> None:
            for number in range(5000):
                writer.put("traces", feed.padded(number))
                acknowledged.append(number)

        with pytest.raises(StoreError, match="full"):
            put_all()
        with pytest.raises(StoreError, match="full"):
            writer.put("traces", feed.request(*(feed.span(10**6 + i) for i in range(5000))))
        assert len(acknowledged) > 50
        ballast.unlink()
        writer.put("traces", feed.padded(6000))
        acknowledged.append(6000)
        writer.flush()
    with Reader(root) as reader:
        found = sorted(int(i, 16) for i in reader.table("traces").trace_id.to_pyarrow().to_pylist())
    assert found == [i for number in acknowledged for i in (2 * number, 2 * number + 1)]


def test_a_writer_that_dies_on_a_full_disk_loses_nothing(small_disk: Path, feed: ModuleType) -> None:
    root = small_disk / "data"
    (small_disk / "ballast").write_bytes(bytes(850_000))
    done = subprocess.run(
        [sys.executable, str(feed.__file__), str(root), "0", "100000", "1", "60"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"what was acknowledged is kept" in done.stderr
    acknowledged = len(done.stdout) // 4
    assert acknowledged > 50
    (small_disk / "ballast").unlink()
    with Writer(root, feed.decode), Reader(root) as reader:
        assert reader.table("traces").count().to_pyarrow().as_py() == 2 * acknowledged


AS_SOMEBODY = """
import importlib.util, os, sys
from pathlib import Path
import ibis.backends.duckdb, pyarrow.parquet
spec = importlib.util.spec_from_file_location("feed", sys.argv[1])
feed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(feed)
from obsvty.errors import StoreError
from obsvty.store.reader import Reader
from obsvty.store.writer import Writer
root = Path(sys.argv[2])
with Reader(Path(sys.argv[3])) as reader:  # what is imported on first use, before the rights to import are gone
    reader.query("select count(*) from traces")
    reader.table("traces").count().to_pyarrow()
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    Writer(root, feed.decode)
except StoreError as exc:
    print(type(exc).__name__, exc)
with Reader(root) as reader:
    print(reader.query("select count(*) n from traces").to_pylist())
    print(reader.table("traces").count().to_pyarrow().as_py())
"""


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that other users may read and nobody but root may write; below /tmp, which all may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder / "data"
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_without_write_permission_is_read_and_a_writer_is_told(
    read_only: Path, feed: ModuleType, tmp_path: Path
) -> None:
    with Writer(read_only, feed.decode) as writer:
        writer.put("traces", feed.padded(1))
    if os.geteuid() != 0:
        for path in [read_only, *(p for p in read_only.rglob("*") if p.is_dir())]:
            path.chmod(0o555)
        (read_only / "writer.lock").chmod(0o444)
    done = subprocess.run(
        [sys.executable, "-c", AS_SOMEBODY, str(feed.__file__), str(read_only), str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    refused, rows, count = done.stdout.splitlines()
    assert refused.startswith("StoreError The data folder")
    assert "is not writable. Make it writable for this user, or choose another folder with --data." in refused
    assert (rows, count) == ("[{'n': 2}]", "2")
