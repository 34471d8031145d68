import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest

from obsvty.errors import StoreError, StoreLocked, StoreOverloaded
from obsvty.model import Signal
from obsvty.store.manifest import read_manifest
from obsvty.store.reader import Reader
from obsvty.store.writer import Writer


def names(reader: Reader, table: str = "traces") -> list[str]:
    return reader.table(table).order_by("name").name.to_pyarrow().to_pylist()


def live_files(root: Path, table: str) -> list[str]:
    manifest = read_manifest(root)
    assert manifest is not None
    return [file.path for file in manifest.files if file.table == table]


def test_what_was_put_is_visible_after_flush(writer: Writer, reader: Reader, feed: ModuleType) -> None:
    writer.put("traces", feed.request(feed.span(1, name="a")))
    writer.put("logs", feed.request({"body": "hello", "time_ns": 5, "resource_id": "r2"}))
    writer.put("metrics", feed.request({"name": "m", "time_ns": 6, "value": 1.5}))
    writer.flush()
    assert names(reader) == ["a"]
    assert reader.table("logs").select("body", "time_ns").to_pyarrow().to_pylist() == [
        {"body": "hello", "time_ns": 5}
    ]
    assert names(reader, "metrics") == ["m"]
    assert reader.table("resources").order_by("resource_id").resource_id.to_pyarrow().to_pylist() == [
        "r1",
        "r2",
    ]


def test_segments_appear_without_flush(writer: Writer, root: Path, feed: ModuleType) -> None:
    writer.put("traces", feed.request(feed.span(1)))
    deadline = threading.Event()
    for _ in range(500):
        if live_files(root, "traces"):
            break
        deadline.wait(0.01)
    assert len(live_files(root, "traces")) == 1


def test_close_makes_everything_visible(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode, rotate_s=60) as writer:
        writer.put("traces", feed.request(feed.span(1, name="a")))
    with Reader(root) as reader:
        assert names(reader) == ["a"]
    assert list((root / "wal").iterdir()) == []


def test_a_closed_writer_refuses(root: Path, feed: ModuleType) -> None:
    writer = Writer(root, feed.decode)
    writer.close()
    writer.close()
    with pytest.raises(StoreError, match="closed"):
        writer.put("traces", b"[]")
    with pytest.raises(StoreError, match="closed"):
        writer.flush()


def test_many_senders_share_one_fdatasync(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode) as writer:
        senders = [
            threading.Thread(
                target=lambda i=i: [writer.put("traces", feed.padded(100 * i + j)) for j in range(50)]
            )
            for i in range(16)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        stats = writer.stats()
    assert stats.requests == 800
    assert stats.commits < 800


def test_the_decoder_gets_many_requests_a_call(root: Path, feed: ModuleType) -> None:
    calls: list[int] = []

    def decode(signal: Signal, requests: Sequence[bytes]) -> dict[str, pa.Table]:
        calls.append(len(requests))
        return feed.decode(signal, requests)

    with Writer(root, decode, rotate_s=60) as writer:
        for i in range(20):
            writer.put("traces", feed.padded(i))
    assert calls == [20]


def test_an_empty_folder_has_a_manifest_at_once(writer: Writer, root: Path) -> None:
    assert json.loads((root / "manifest.json").read_text())["files"] == []


def test_an_undecodable_request_is_set_aside_and_stops_nothing(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode, rotate_s=60) as writer:
        writer.put("traces", feed.request(feed.span(1, name="a")))
        writer.put("traces", b"\x00 not json")
        writer.put("traces", feed.request(feed.span(2, name="b")))
        writer.flush()
        writer.put("traces", feed.request(feed.span(3, name="c")))
        writer.flush()
        assert writer.stats().quarantined == 1
    with Reader(root) as reader:
        assert names(reader) == ["a", "b", "c"]
    assert [path.read_bytes() for path in (root / "quarantine").iterdir()] == [b"\x00 not json"]
    with Writer(root, feed.decode) as writer:
        assert writer.stats().quarantined == 1


class Panic(BaseException):
    """What a native decoder raises; not an Exception."""


@pytest.mark.parametrize("failure", [Panic(), pa.ArrowInvalid("x"), KeyError("x"), RecursionError()])
def test_no_failure_of_the_decoder_ends_the_writer(
    root: Path, feed: ModuleType, failure: BaseException
) -> None:
    def decode(signal: Signal, requests: Sequence[bytes]) -> dict[str, pa.Table]:
        if b"bad" in requests:
            raise failure
        return feed.decode(signal, requests)

    with Writer(root, decode) as writer:
        writer.put("traces", b"bad")
        writer.put("traces", feed.request(feed.span(1, name="a")))
        writer.flush()
        assert writer.stats().quarantined == 1
    with Reader(root) as reader:
        assert names(reader) == ["a"]


def test_a_decoder_may_leave_columns_out(root: Path) -> None:
    def decode(signal: Signal, requests: Sequence[bytes]) -> dict[str, pa.Table]:
        return {signal: pa.table({"name": ["a"] * len(requests), "more": [1] * len(requests)})}

    with Writer(root, decode) as writer, Reader(root) as reader:
        writer.put("traces", b"")
        writer.flush()
        assert reader.table("traces").select("name", "span_id").to_pyarrow().to_pylist() == [
            {"name": "a", "span_id": None}
        ]


def test_a_second_writer_is_told_who_has_the_folder(writer: Writer, root: Path, feed: ModuleType) -> None:
    with pytest.raises(StoreLocked, match=rf"pid {os.getpid()}\b.*--data"):
        Writer(root, feed.decode)


def test_a_dead_writer_holds_no_lock(root: Path, feed: ModuleType) -> None:
    Writer(root, feed.decode).close()
    (root / "writer.lock").write_text("1\n")
    Writer(root, feed.decode).close()


def test_a_data_folder_that_is_a_file_is_a_store_error(tmp_path: Path, feed: ModuleType) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"not a folder.*--data"):
        Writer(tmp_path / "file", feed.decode)
    with pytest.raises(StoreError, match="not a folder"):
        Writer(tmp_path / "file" / "below", feed.decode)


def test_a_damaged_manifest_stops_the_writer_and_frees_the_lock(root: Path, feed: ModuleType) -> None:
    Writer(root, feed.decode).close()
    good = (root / "manifest.json").read_bytes()
    for damage in (b"", b"{", b"[]", b'{"files": 3}', b"\xff"):
        (root / "manifest.json").write_bytes(damage)
        with pytest.raises(StoreError, match="damaged"):
            Writer(root, feed.decode)
    (root / "manifest.json").write_bytes(b'{"format": 2}')
    with pytest.raises(StoreError, match="newer version"):
        Writer(root, feed.decode)
    (root / "manifest.json").write_bytes(good)
    Writer(root, feed.decode).close()


def test_segments_without_a_manifest_are_not_taken_for_an_empty_folder(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode) as writer:
        writer.put("traces", feed.padded(1))
    (root / "manifest.json").unlink()
    with pytest.raises(StoreError, match="missing"):
        Writer(root, feed.decode)
    assert len(list((root / "seg").glob("*.traces.parquet"))) == 1


def test_senders_are_held_off_while_too_much_is_pending(root: Path, feed: ModuleType) -> None:
    go = threading.Event()

    def decode(signal: Signal, requests: Sequence[bytes]) -> dict[str, pa.Table]:
        go.wait(5)
        return feed.decode(signal, requests)

    first, second = (feed.request(*(feed.span(i) for i in range(n, n + 1000))) for n in (0, 1000))
    with Writer(root, decode, max_pending_mb=1.5 * len(first) / (1 << 20), rotate_s=60) as writer:
        writer.put("traces", first)
        with pytest.raises(StoreOverloaded, match="Send the request again"):
            writer.put("traces", second)
        go.set()
        writer.flush()
        writer.put("traces", second)
        assert writer.stats().requests == 2


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import importlib.util
spec = importlib.util.spec_from_file_location("feed", sys.argv[1])
feed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(feed)
from obsvty.errors import StoreError
from obsvty.store.writer import Writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = Writer(Path(sys.argv[2]), feed.decode, rotate_s=60)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
refused = []
acknowledged = 0
for i in range(100):
    try:
        writer.put("traces", feed.padded(i))
        acknowledged += 1
    except StoreError as exc:
        refused.append(str(exc))
        break
try:
    writer.close()
    closed = "visible"
except StoreError as exc:
    closed = "kept"
print(acknowledged, len(refused), closed)
"""


def test_when_the_disk_takes_no_more_nothing_acknowledged_is_lost(root: Path, feed: ModuleType) -> None:
    # files may grow to 2,000 bytes: a few requests fit into the log, no segment fits at all
    arguments = [sys.executable, "-c", FULL_DISK, str(feed.__file__), str(root), "2000"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    acknowledged, refused, closed = done.stdout.split()
    assert int(acknowledged) > 0
    assert (refused, closed) == ("1", "kept")
    with Writer(root, feed.decode) as writer, Reader(root) as reader:
        assert writer.stats().recovered == int(acknowledged)
        assert reader.table("traces").count().to_pyarrow().as_py() == 2 * int(acknowledged)


def test_a_segment_that_cannot_be_written_is_tried_again(root: Path, feed: ModuleType) -> None:
    writer = Writer(root, feed.decode, rotate_s=60)
    (root / "seg").rename(root / "away")
    writer.put("traces", feed.padded(1))
    with pytest.raises(StoreError, match="data folder"):
        writer.flush()
    (root / "away").rename(root / "seg")
    writer.put("traces", feed.padded(2))
    writer.close()
    with Reader(root) as reader:
        assert reader.table("traces").count().to_pyarrow().as_py() == 4


def test_a_request_that_no_log_takes_is_refused_and_the_next_one_is_not(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode, rotate_s=60) as writer:
        (root / "wal").rename(root / "away")
        with pytest.raises(StoreError, match="data folder"):
            writer.put("traces", feed.padded(1))
        writer.flush()  # the sender was told, so that there is nothing to say here
        assert writer.put_once("traces", feed.padded(2), wait=False)
        with pytest.raises(StoreError, match="data folder"):
            writer.flush()
        (root / "away").rename(root / "wal")
        writer.put("traces", feed.padded(3))
        assert writer.put_once("traces", feed.padded(2))
    with Reader(root) as reader:
        assert reader.table("traces").count().to_pyarrow().as_py() == 4


def test_the_same_request_is_imported_once(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode, rotate_s=60) as writer:
        assert writer.put_once("traces", feed.padded(1))
        assert not writer.put_once("traces", feed.padded(1))
        writer.flush()
        assert not writer.put_once("traces", feed.padded(1))
        assert writer.put_once("logs", b"[]")
        assert writer.put_once("traces", b"[]")
    with Writer(root, feed.decode) as writer, Reader(root) as reader:
        assert not writer.put_once("traces", feed.padded(1))
        assert writer.put_once("traces", feed.padded(2), wait=False)
        assert not writer.put_once("traces", feed.padded(2), wait=False)
        writer.flush()
        assert reader.table("traces").count().to_pyarrow().as_py() == 4


def test_put_stores_what_put_once_left_out(writer: Writer, reader: Reader, feed: ModuleType) -> None:
    writer.put_once("traces", feed.padded(1))
    writer.put("traces", feed.padded(1))
    writer.flush()
    assert reader.table("traces").count().to_pyarrow().as_py() == 4


IMPORT_AND_DIE = """
import importlib.util, os, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("feed", sys.argv[1])
feed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(feed)
from obsvty.store.writer import Writer
writer = Writer(Path(sys.argv[2]), feed.decode, rotate_s=60)
assert writer.put_once("traces", feed.padded(1))
os._exit(1)
"""


def test_an_import_that_died_after_the_log_is_remembered_by_the_replay(root: Path, feed: ModuleType) -> None:
    subprocess.run([sys.executable, "-c", IMPORT_AND_DIE, str(feed.__file__), str(root)], check=False)
    assert not (root / "imports.db").exists()
    with Writer(root, feed.decode) as writer, Reader(root) as reader:
        assert writer.stats().recovered == 1
        assert not writer.put_once("traces", feed.padded(1))
        assert reader.table("traces").count().to_pyarrow().as_py() == 2


def test_many_small_segments_become_one_and_keep_their_rows(root: Path, feed: ModuleType) -> None:
    with (
        Writer(root, feed.decode, rotate_s=60, merge_files=8, grace_s=3600) as writer,
        Reader(root) as reader,
    ):
        traces = reader.table("traces")
        for i in range(30):
            writer.put("traces", feed.padded(i))
            writer.flush()
            assert traces.count().to_pyarrow().as_py() == 2 * (i + 1)
    assert len(live_files(root, "traces")) <= 8 + 4
    assert len(live_files(root, "resources")) <= 8 + 4
    manifest = read_manifest(root)
    assert manifest is not None
    # the files that were replaced are still there for readers that began before
    assert manifest.dropped
    assert all((root / file.path).exists() for file in manifest.dropped)
    with Reader(root) as reader:
        ids = reader.table("traces").order_by("trace_id").trace_id.to_pyarrow().to_pylist()
        assert ids == [f"{i:032x}" for i in range(60)]
        assert reader.table("resources").resource_id.to_pyarrow().to_pylist() == ["r1"]
        times = reader.table("traces").aggregate(low=traces.start_ns.min(), high=traces.start_ns.max())
        low, high = times.to_pyarrow().to_pylist()[0].values()
    files = [file for file in manifest.files if file.table == "traces"]
    assert {file.rows for file in manifest.files if file.table == "resources"} == {1}
    assert (min(file.min_ns for file in files), max(file.max_ns for file in files)) == (low, high)

    with Writer(root, feed.decode, grace_s=0):
        pass
    manifest = read_manifest(root)
    assert manifest is not None
    assert manifest.dropped == ()
    assert sorted(f"seg/{path.name}" for path in (root / "seg").iterdir()) == sorted(
        f.path for f in manifest.files
    )
