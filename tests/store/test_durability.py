import random
import struct
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

from obsvty.store.manifest import read_manifest
from obsvty.store.reader import Reader
from obsvty.store.writer import Writer

Feeder = Callable[..., AbstractContextManager["subprocess.Popen[bytes]"]]


def acknowledged(data: bytes) -> list[int]:
    return [number for (number,) in struct.iter_unpack("<I", data[: len(data) // 4 * 4])]


def test_no_acknowledged_span_is_lost_or_doubled_by_kills_at_random_moments(
    root: Path, feed: ModuleType, feeder: Feeder
) -> None:
    seed = random.randrange(1 << 30)
    moments = random.Random(seed)
    known: set[int] = set()
    first = 0
    for _ in range(5):
        with feeder(first, 100_000) as process:
            assert process.stdout is not None
            data = process.stdout.read(4 * moments.randrange(1, 500))
            process.kill()
            data += process.stdout.read()
        known.update(acknowledged(data))
        first = max(known) + 100

    with Writer(root, feed.decode) as writer, Reader(root) as reader:
        writer.flush()
        spans = Counter(reader.table("traces").trace_id.to_pyarrow().to_pylist())
        assert writer.stats().quarantined == 0
    lost = [number for number in known if not all(spans[f"{i:032x}"] for i in (2 * number, 2 * number + 1))]
    assert (seed, len(known) > 5, lost) == (seed, True, [])
    assert (seed, [i for i, times in spans.items() if times != 1]) == (seed, [])


def test_after_a_crash_the_log_is_replayed_once(root: Path, feed: ModuleType, feeder: Feeder) -> None:
    with feeder(0, 100_000) as process:
        assert process.stdout is not None
        process.stdout.read(4 * 50)
    with Writer(root, feed.decode) as writer:
        recovered = writer.stats().recovered
    with Reader(root) as reader:
        rows = reader.table("traces").count().to_pyarrow().as_py()
    with Writer(root, feed.decode) as writer:
        assert writer.stats().recovered == 0
    with Reader(root) as reader:
        assert reader.table("traces").count().to_pyarrow().as_py() == rows
    assert rows >= 100
    assert rows >= 2 * recovered


def test_a_log_that_already_is_a_segment_is_not_replayed(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode, rotate_s=60) as writer:
        writer.put("traces", feed.padded(1))
        (log,) = (root / "wal").iterdir()
        kept = log.read_bytes()
        writer.flush()
    log.write_bytes(kept)  # as when the process died between manifest and unlink

    with Writer(root, feed.decode) as writer, Reader(root) as reader:
        assert writer.stats().recovered == 0
        assert reader.table("traces").count().to_pyarrow().as_py() == 2
    assert list((root / "wal").iterdir()) == []


def test_a_torn_tail_is_cut_and_whole_records_before_it_are_kept(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode, rotate_s=60) as writer:
        writer.put("traces", feed.padded(1))
        writer.put("traces", feed.padded(2))
        (log,) = (root / "wal").iterdir()
        whole = log.read_bytes()
    sealed = read_manifest(root)
    assert sealed is not None
    torn = root / "wal" / f"{sealed.sealed + 1:012d}.wal"
    for cut in (1, len(feed.padded(2)), len(feed.padded(2)) + 5):
        torn.write_bytes(whole[:-cut])
        with Writer(root, feed.decode) as writer:
            assert writer.stats().recovered == 1
        manifest = read_manifest(root)
        assert manifest is not None
        torn = root / "wal" / f"{manifest.sealed + 1:012d}.wal"


def test_a_record_whose_bytes_changed_on_disk_is_not_stored(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode, rotate_s=60) as writer:
        writer.put("traces", feed.padded(1))
        (log,) = (root / "wal").iterdir()
        changed = bytearray(log.read_bytes())
    changed[-3] ^= 1
    log.with_name("000000000009.wal").write_bytes(changed)
    with Writer(root, feed.decode) as writer:
        assert writer.stats().recovered == 0


def test_files_that_a_crash_left_half_done_are_removed(root: Path, feed: ModuleType) -> None:
    with Writer(root, feed.decode) as writer:
        writer.put("traces", feed.padded(1))
    (root / "seg" / "000000000007.traces.parquet.tmp").write_bytes(b"half")
    (root / "seg" / "m000000000099.traces.parquet").write_bytes(b"merged, but not published")
    with Writer(root, feed.decode):
        assert sorted(path.name for path in (root / "seg").iterdir()) == [
            "000000000000.resources.parquet",
            "000000000000.traces.parquet",
        ]
