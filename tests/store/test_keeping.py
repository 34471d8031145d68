"""Compaction and retention while the writer serves: readers are never in the way, and never lose what they read."""

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from obsvty.store.manifest import Manifest, read_manifest
from obsvty.store.reader import Reader
from obsvty.store.writer import Writer

Feeder = Callable[..., AbstractContextManager["subprocess.Popen[bytes]"]]
MINUTE_DAYS = 60 / 86_400


def manifest_of(root: Path) -> Manifest:
    manifest = read_manifest(root)
    assert manifest is not None
    return manifest


def wait_until(true: Callable[[], bool]) -> bool:
    """Whether it became true within ten seconds."""
    pause = threading.Event()
    for _ in range(1000):
        if true():
            return True
        pause.wait(0.01)
    return False


def count(root: Path) -> int:
    with Reader(root) as reader:
        return reader.table("traces").count().to_pyarrow().as_py()


def put_each(writer: Writer, feed: ModuleType, numbers: range) -> None:
    """A segment a request."""
    for number in numbers:
        writer.put("traces", feed.padded(number))
        writer.flush()


def test_an_idle_writer_merges_drops_and_unlinks(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode, rotate_s=60, merge_files=4, grace_s=0, tidy_s=0.02) as writer:
        put_each(writer, feed, range(10))
        assert wait_until(lambda: len(manifest_of(root).files) <= 2 * 4 and not manifest_of(root).dropped)
        assert count(root) == 20
    with Writer(root, feed.decode, grace_s=0, tidy_s=0.02, retention_days=1e-9):
        assert wait_until(lambda: not manifest_of(root).files and not manifest_of(root).dropped)
        assert list((root / "seg").iterdir()) == []


def test_what_came_in_too_long_ago_is_dropped_with_its_resources_and_the_rest_is_kept(
    root: Path, feed: ModuleType
) -> None:
    with Writer(root, feed.decode, rotate_s=60) as writer:
        writer.put("traces", feed.request(feed.span(1, resource_id="old")))
        writer.flush()
        writer.put("traces", feed.request(feed.span(2, resource_id="new")))
    text = (root / "manifest.json").read_text()
    for file in manifest_of(root).files[:2]:
        for name in ("came_from_ns", "came_to_ns"):
            text = text.replace(
                f'"{name}":{getattr(file, name)}', f'"{name}":{getattr(file, name) - 120 * 10**9}'
            )
    (root / "manifest.json").write_text(text)

    with Writer(root, feed.decode, tidy_s=0.02, retention_days=MINUTE_DAYS):
        assert wait_until(lambda: len(manifest_of(root).files) == 2)
        with Reader(root) as reader:
            assert reader.table("traces").resource_id.to_pyarrow().to_pylist() == ["new"]
            assert reader.table("resources").resource_id.to_pyarrow().to_pylist() == ["new"]


def test_old_timestamps_are_no_reason_to_drop_what_came_in_just_now(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode, tidy_s=0.01, retention_days=14) as writer:
        writer.put("traces", feed.request(feed.span(1, start_ns=5), feed.span(2, start_ns=2**62)))
        writer.put_once("logs", feed.request({"time_ns": 5}))
        writer.flush()
    assert count(root) == 2


def test_segments_of_an_earlier_version_count_from_their_first_start(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode) as writer:
        writer.put("traces", feed.padded(1))
    text = (root / "manifest.json").read_text()
    for file in manifest_of(root).files:
        text = text.replace(
            f',"checksum":{file.checksum},"first_log":0,"last_log":0,"came_from_ns":{file.came_from_ns},'
            f'"came_to_ns":{file.came_to_ns}',
            "",
        )
    assert "came" not in text
    (root / "manifest.json").write_text(text)
    Writer(root, feed.decode, retention_days=MINUTE_DAYS).close()
    assert count(root) == 2


def test_the_oldest_segments_go_when_there_are_too_many_bytes(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode, rotate_s=60, merge_files=1000) as writer:
        put_each(writer, feed, range(10))
    total_bytes = sum(file.size_bytes for file in manifest_of(root).files)
    with Writer(root, feed.decode, tidy_s=0.02, grace_s=0, max_gb=total_bytes / 2 / 1e9):
        assert wait_until(lambda: len(manifest_of(root).files) < 20)
    files = manifest_of(root).files
    assert total_bytes / 4 < sum(file.size_bytes for file in files) <= total_bytes / 2
    with Reader(root) as reader:
        left = sorted(int(i, 16) for i in reader.table("traces").trace_id.to_pyarrow().to_pylist())
        assert left == list(range(left[0], 20))
        assert 0 < left[0] < 20
        orphans = reader.query(
            "select 1 from traces where resource_id not in (select resource_id from resources)"
        )
        assert orphans.num_rows == 0
    assert sum(path.stat().st_size for path in (root / "seg").iterdir()) <= total_bytes / 2


@pytest.mark.parametrize("bound", [{"max_gb": 300_000 / 1e9}, {"retention_days": 0.5 / 86_400}])
def test_under_load_files_are_merged_and_dropped_and_every_query_is_answered(
    root: Path, feed: ModuleType, bound: dict[str, float]
) -> None:
    stop = threading.Event()
    with (
        Writer(root, feed.decode, rotate_s=0.02, merge_files=4, grace_s=20, tidy_s=0.02, **bound) as writer,
        Reader(root) as reader,
    ):

        def load(offset: int) -> None:
            number = offset
            while not stop.is_set():
                writer.put("traces", feed.padded(number))
                number += 4

        senders = [threading.Thread(target=load, args=(i,)) for i in range(4)]
        for sender in senders:
            sender.start()
        newest, answers, merged, dropped = 0, 0, False, 0
        traces = reader.table("traces")
        while answers < 500 and not (answers >= 30 and dropped >= 2000 and merged):
            assert traces.count().to_pyarrow().as_py() % 2 == 0  # a request of two spans is there as a whole
            highest = traces.start_ns.max().to_pyarrow().as_py()
            assert highest is None or highest >= newest
            newest = highest or newest
            answers += 1
            merged = merged or any(file.level > 0 for file in manifest_of(root).files)
            dropped = writer.stats().rows - traces.count().to_pyarrow().as_py()
        stop.set()
        for sender in senders:
            sender.join()
        writer.flush()
        assert merged
        assert dropped > 0
        assert newest > 0
        if "max_gb" in bound:
            assert wait_until(lambda: sum(f.size_bytes for f in manifest_of(root).files) <= 300_000)
        else:
            assert wait_until(lambda: not manifest_of(root).files)


LONG_QUERY = """
import sys
from pathlib import Path
from obsvty.store.reader import Reader
with Reader(Path(sys.argv[1]), threads=1) as reader:
    sql = "select count(distinct attributes['number'] || ':' || i) n from traces, range(%s) r(i)"
    print(reader.query("select count(*) n from traces").to_pylist()[0]["n"], flush=True)
    print(reader.query(sql % sys.argv[2]).to_pylist()[0]["n"], flush=True)
"""


def test_a_long_query_survives_that_its_files_are_merged_and_dropped(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode, rotate_s=60, merge_files=1000) as writer:
        for number in range(12):
            writer.put("traces", feed.request(*(feed.span(1000 * number + i) for i in range(1000))))
            writer.flush()
    before = {file.path for file in manifest_of(root).files}
    arguments = [sys.executable, "-c", LONG_QUERY, str(root), "300"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as query:
        assert query.stdout is not None
        assert query.stdout.readline() == "12000\n"
        with Writer(root, feed.decode, merge_files=4, tidy_s=0.02, grace_s=60) as writer:
            assert wait_until(lambda: any(file.level for file in manifest_of(root).files))
        with Writer(root, feed.decode, tidy_s=0.02, grace_s=60, retention_days=1e-9) as writer:
            writer.put("traces", feed.padded(99_999))  # nothing that reads is in the way of the writer
            writer.flush()
            assert wait_until(lambda: not manifest_of(root).files)
            running = query.poll() is None
            answer, _ = query.communicate(timeout=30)
    assert running
    assert answer == "3600000\n"
    # ... and when nobody can read them any more, they are gone
    assert before <= {file.path for file in manifest_of(root).dropped}
    Writer(root, feed.decode, grace_s=0).close()
    assert list((root / "seg").iterdir()) == []


def test_any_number_of_processes_read_while_a_process_writes(
    root: Path, feed: ModuleType, feeder: Feeder
) -> None:
    ask = (
        "import sys\n"
        "from pathlib import Path\n"
        "from obsvty.store.reader import Reader\n"
        "with Reader(Path(sys.argv[1]), threads=1) as reader:\n"
        "    traces = reader.table('traces')\n"
        "    counts = [traces.count().to_pyarrow().as_py() for _ in range(40)]\n"
        "assert counts == sorted(counts) and all(n % 2 == 0 for n in counts), counts\n"
        "print(counts[-1])\n"
    )
    Writer(root, feed.decode).close()
    with feeder(0, 100_000) as process:
        assert process.stdout is not None
        readers = [
            subprocess.Popen([sys.executable, "-c", ask, str(root)], stdout=subprocess.PIPE) for _ in range(4)
        ]
        numbers = 0
        while any(reader.poll() is None for reader in readers):
            numbers += len(process.stdout.read(4 * 10)) // 4  # acknowledged meanwhile
        assert process.poll() is None
        found = [int(reader.communicate()[0]) for reader in readers]
        assert [reader.returncode for reader in readers] == [0] * 4
    assert numbers > 100
    assert min(found) > 0


def test_merged_files_keep_the_order_and_statistics_of_time(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode, rotate_s=60, merge_files=4, tidy_s=60) as writer:
        put_each(writer, feed, range(8))
    (merged,) = [f for f in manifest_of(root).files if f.level and f.table == "traces"]
    group = pq.read_metadata(root / merged.path).row_group(0)
    times = next(c for i in range(group.num_columns) if (c := group.column(i)).path_in_schema == "start_ns")
    assert (times.statistics.min, times.statistics.max) == (merged.min_ns, merged.max_ns)
