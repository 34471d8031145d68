"""Damaged files: what is whole is served, what is damaged is set aside and never deleted, and a person is told."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from obsvty.errors import StoreError
from obsvty.store.manifest import read_manifest
from obsvty.store.reader import Reader
from obsvty.store.writer import Writer


def store(root: Path, feed: ModuleType, numbers: range, **options: float) -> None:
    """One segment a number, two spans each."""
    with Writer(root, feed.decode, rotate_s=60, **options) as writer:
        for number in numbers:
            writer.put("traces", feed.padded(number))
            writer.flush()


def spans(root: Path) -> list[int]:
    with Reader(root) as reader:
        return sorted(int(i, 16) for i in reader.table("traces").trace_id.to_pyarrow().to_pylist())


def segment(root: Path, number: int) -> Path:
    return root / "seg" / f"{number:012d}.traces.parquet"


def wal(root: Path, feed: ModuleType, numbers: range) -> bytes:
    """The log of these requests, as a crash leaves it; the folder is otherwise empty."""
    with Writer(root, feed.decode, rotate_s=60) as writer:
        for number in numbers:
            writer.put("traces", feed.padded(number))
        (log,) = (root / "wal").iterdir()
        data = log.read_bytes()
    for file in [*(root / "seg").iterdir(), root / "manifest.json", root / "recent.bin"]:
        file.unlink()
    return data


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :]


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "no footer": lambda data: data[:-8] + bytes(8),
    "zeros": lambda data: bytes(len(data)),
    "one bit of a page": lambda data: flip(data, 60),
    "one bit of the footer": lambda data: flip(data, len(data) - 200),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_segment_is_set_aside_at_the_next_start_and_the_rest_is_served(
    root: Path, feed: ModuleType, damage: Callable[[bytes], bytes]
) -> None:
    store(root, feed, range(3))
    broken = damage(segment(root, 1).read_bytes())
    segment(root, 1).write_bytes(broken)

    with Writer(root, feed.decode) as writer:
        assert writer.stats().damaged == 1
        writer.put("traces", feed.padded(3))
    assert spans(root) == [0, 1, 4, 5, 6, 7]
    assert not segment(root, 1).exists()
    assert (root / "quarantine" / segment(root, 1).name).read_bytes() == broken
    with Writer(root, feed.decode) as writer:
        assert writer.stats().damaged == 1  # counted once, and not looked for again


@pytest.mark.parametrize("name", ["empty", "cut", "no footer", "zeros"])
def test_a_reader_of_a_damaged_segment_says_what_to_do(root: Path, feed: ModuleType, name: str) -> None:
    store(root, feed, range(3))
    segment(root, 1).write_bytes(DAMAGE[name](segment(root, 1).read_bytes()))
    with pytest.raises(StoreError, match=r"000000000001.*damaged.*obsvty serve"), Reader(root) as reader:
        reader.query("select * from traces")
    with Writer(root, feed.decode):
        assert spans(root) == [0, 1, 4, 5]


def test_every_door_of_an_open_reader_says_what_to_do(root: Path, feed: ModuleType) -> None:
    store(root, feed, range(3))
    with Reader(root) as reader:
        traces = reader.table("traces")
        assert traces.count().execute() == 6
        segment(root, 1).write_bytes(DAMAGE["cut"](segment(root, 1).read_bytes()))
        for ask in (
            lambda: reader.query("select * from traces"),
            traces.to_pyarrow,
            traces.execute,
            lambda: list(traces.to_pyarrow_batches()),
            lambda: reader.snapshot({"traces": traces}, root / "snapshot"),
        ):
            with pytest.raises(StoreError, match=r"000000000001.*damaged.*obsvty serve"):
                ask()
        with Writer(root, feed.decode):
            assert traces.count().execute() == 4


def test_an_error_of_the_query_is_not_taken_for_damage(root: Path, feed: ModuleType) -> None:
    store(root, feed, range(1))
    with Reader(root) as reader, pytest.raises(Exception, match="failed while it ran") as caught:
        reader.query("select regexp_matches(name, '(') from traces")
    assert not isinstance(caught.value, StoreError)


def test_a_segment_that_is_damaged_while_the_writer_runs_does_not_stop_merging(
    root: Path, feed: ModuleType
) -> None:
    with Writer(root, feed.decode, rotate_s=60, merge_files=4, tidy_s=60, grace_s=0) as writer:
        for number in range(6):
            writer.put("traces", feed.padded(number))
            writer.flush()
        segment(root, 2).write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    with Writer(root, feed.decode) as writer:
        assert writer.stats().damaged == 1
    assert spans(root) == [0, 1, 2, 3, *range(6, 12)]
    assert (root / "quarantine" / segment(root, 2).name).exists()


def test_a_folder_whose_segments_are_all_gone_is_not_taken_for_damage(root: Path, feed: ModuleType) -> None:
    store(root, feed, range(2))
    (root / "seg").rename(root / "away")  # as when a volume is not mounted
    with pytest.raises(StoreError, match=r"none of them is there.*mounted"):
        Writer(root, feed.decode)
    (root / "seg").rmdir()
    (root / "away").rename(root / "seg")
    with Writer(root, feed.decode):
        assert spans(root) == [0, 1, 2, 3]


def test_records_behind_a_damaged_one_are_replayed_and_its_bytes_are_kept(
    root: Path, feed: ModuleType
) -> None:
    data = wal(root, feed, range(5))
    record = len(data) // 5
    for at in (2 * record, 2 * record + 5, 2 * record + 8, 2 * record + 50):  # length, checksum, tag, body
        broken = flip(data, at)
        folder = root / str(at)
        Writer(folder, feed.decode).close()
        (folder / "wal" / "000000000007.wal").write_bytes(broken)
        with Writer(folder, feed.decode) as writer:
            assert writer.stats().recovered == 4
        assert spans(folder) == [0, 1, 2, 3, 6, 7, 8, 9]
        (kept,) = (folder / "quarantine").iterdir()
        assert kept.read_bytes() in broken
        assert len(kept.read_bytes()) == record


def test_a_log_that_is_cut_anywhere_gives_its_whole_records(root: Path, feed: ModuleType) -> None:
    data = wal(root, feed, range(2))
    first = len(data) // 2
    for cut in (0, 1, 8, 9, first - 1, first, first + 1, first + 9, len(data) - 1):
        folder = root / str(cut)
        Writer(folder, feed.decode).close()
        (folder / "wal" / "000000000007.wal").write_bytes(data[:cut])
        with Writer(folder, feed.decode) as writer:
            assert writer.stats().recovered == cut // first
        torn = data[cut // first * first : cut]
        assert [path.read_bytes() for path in (folder / "quarantine").iterdir()] == ([torn] if torn else [])


def test_a_log_of_nothing_but_garbage_stops_nothing(root: Path, feed: ModuleType) -> None:
    store(root, feed, range(1))
    for garbage in (bytes(100_000), b"\xff" * 100_000, bytes(range(256)) * 400):
        (root / "wal" / "000000000007.wal").write_bytes(garbage)
        with Writer(root, feed.decode) as writer:
            assert writer.stats().recovered == 0
    assert spans(root) == [0, 1]


def test_a_damaged_list_of_recent_requests_stops_nothing(root: Path, feed: ModuleType) -> None:
    store(root, feed, range(2))
    for damage in (b"", b"\xff" * 100, (root / "recent.bin").read_bytes()[:-3]):
        (root / "recent.bin").write_bytes(damage)
        store(root, feed, range(2, 3))
    manifest = read_manifest(root)
    assert manifest is not None
    assert manifest.damaged == 0
