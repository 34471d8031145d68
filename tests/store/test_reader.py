import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from obsvty.errors import QueryError, StoreError
from obsvty.store.reader import Reader
from obsvty.store.schema import TABLES
from obsvty.store.writer import Writer

pytestmark = [
    # Ibis 12 asks pandas 3 for an option that pandas 4 drops, in each `execute`
    pytest.mark.filterwarnings("ignore:The 'future.infer_string' option:DeprecationWarning"),
    # ... and duckdb 1.5 for methods that duckdb 2 drops, in `list_tables` and the connection's `sql`
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
]


def rows(table: ibis.Table) -> int:
    return table.count().to_pyarrow().as_py()


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_folder_shows_empty_typed_tables_and_stays_missing(
    root: Path, reader: Reader, name: str
) -> None:
    table = reader.table(name)
    assert rows(table) == 0
    assert table.columns == tuple(TABLES[name].names)
    assert not root.exists()


@pytest.mark.parametrize("name", TABLES)
def test_ibis_sees_the_canonical_types(reader: Reader, name: str) -> None:
    schema = TABLES[name]
    seen = reader.table(name).schema().to_pyarrow()
    assert [str(field.type) for field in seen] == [str(pa.schema(schema).field(n).type) for n in schema.names]


def test_one_expression_sees_what_is_written_later(root: Path, reader: Reader, feed: ModuleType) -> None:
    # holds Ibis' private hook `_run_pre_execute_hooks`: without it, this counts 0 for ever
    traces = reader.table("traces")
    slow = traces.filter(traces.duration_ns > 50_000_000).count()
    assert slow.to_pyarrow().as_py() == 0
    with Writer(root, feed.decode) as writer:
        writer.put("traces", feed.request(*(feed.span(i) for i in range(100))))
        writer.flush()
        assert slow.execute() == 50
        writer.put("traces", feed.request(*(feed.span(i) for i in range(100, 200))))
        writer.flush()
        assert slow.execute() == 100
        assert sum(batch.num_rows for batch in traces.to_pyarrow_batches()) == 200
        assert len(traces.to_pandas()) == 200


def test_a_reader_sees_a_writer_of_another_process(
    reader: Reader, feeder: Callable[..., object], feed: ModuleType
) -> None:
    count = reader.table("traces").count()
    counts = [0]
    with feeder(0, 100_000) as process:
        for _ in range(20):
            process.stdout.read(4 * 100)
            counts.append(count.to_pyarrow().as_py())
    assert counts == sorted(counts)
    assert counts[-1] > 1000
    assert all(number % 2 == 0 for number in counts)  # a request of two spans is there as a whole


def test_threads_may_share_a_reader(writer: Writer, reader: Reader, feed: ModuleType) -> None:
    writer.put("traces", feed.request(*(feed.span(i) for i in range(500))))
    writer.flush()
    traces = reader.table("traces")
    wrong: list[object] = []

    def ask(number: int) -> None:
        for _ in range(5):
            name = ibis.memtable({"span_id": [f"{number:016x}"]})
            answers = (
                traces.limit(number).to_pyarrow().num_rows,
                sum(batch.num_rows for batch in traces.limit(number).to_pyarrow_batches(chunk_size=7)),
                reader.query(f"select {number} as n from traces limit 1", timeout_s=20).to_pylist()[0]["n"],
                traces.join(name, "span_id").select(n=traces.start_ns).to_pyarrow().num_rows * number,
                traces.filter(traces.duration_ns > 0).limit(number).count().to_pyarrow().as_py(),
            )
            wrong.extend(answer for answer in answers if answer != number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, (11, 22, 33, 44)))
    assert wrong == []


def test_batches_are_read_while_other_queries_run(writer: Writer, reader: Reader, feed: ModuleType) -> None:
    writer.put("traces", feed.request(*(feed.span(i) for i in range(5000))))
    writer.flush()
    traces = reader.table("traces")
    with traces.to_pyarrow_batches(chunk_size=1000) as batches:
        numbers = [(batch.num_rows, rows(traces)) for batch in batches]
    assert sum(number for number, _ in numbers) == 5000
    assert {number for _, number in numbers} == {5000}


def test_a_folder_that_vanishes_is_empty_again(root: Path, reader: Reader, feed: ModuleType) -> None:
    with Writer(root, feed.decode) as writer:
        writer.put("traces", feed.padded(1))
    assert rows(reader.table("traces")) == 2
    shutil.rmtree(root)
    assert rows(reader.table("traces")) == 0


def test_a_damaged_manifest_is_a_store_error(root: Path, feed: ModuleType) -> None:
    Writer(root, feed.decode).close()
    with Reader(root) as reader:
        traces = reader.table("traces")
        (root / "manifest.json").write_text("{")
        with pytest.raises(StoreError, match="damaged"):
            traces.execute()
        with pytest.raises(StoreError, match=r"damaged.*backup"):
            Reader(root)


def test_a_lost_segment_is_a_store_error(root: Path, reader: Reader, feed: ModuleType) -> None:
    with Writer(root, feed.decode) as writer:
        writer.put("traces", feed.padded(1))
    traces = reader.table("traces")
    assert rows(traces) == 2
    shutil.rmtree(root / "seg")
    with pytest.raises(StoreError, match="is gone"):
        reader.query("select * from traces")


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="not a folder"):
        Reader(tmp_path / "file")
    with pytest.raises(StoreError, match="wildcards"):
        Reader(tmp_path / "a*")


def test_a_folder_with_a_quote_and_a_space_in_its_path_works(tmp_path: Path, feed: ModuleType) -> None:
    root = tmp_path / "it's a folder; drop"
    with Writer(root, feed.decode) as writer, Reader(root) as reader:
        writer.put("traces", feed.padded(1))
        writer.flush()
        assert rows(reader.table("traces")) == 2


def test_a_segment_of_an_older_schema_lacks_columns_and_one_of_a_newer_has_more(
    root: Path, reader: Reader, feed: ModuleType
) -> None:
    with Writer(root, feed.decode) as writer:
        for number in (1, 2, 3):
            writer.put("traces", feed.request(feed.span(number, name=f"{number}", flags=number, kind=number)))
            writer.flush()
    older, newer = (root / "seg" / f"00000000000{i}.traces.parquet" for i in (0, 1))
    pq.write_table(pq.read_table(older, partitioning=None).drop(["events", "flags", "kind"]), older)
    table = pq.read_table(newer, partitioning=None)
    pq.write_table(table.append_column("unheard_of", pa.array([1])), newer)
    traces = reader.table("traces")
    assert traces.columns == tuple(TABLES["traces"].names)
    assert traces.order_by("name").select("name", "flags").to_pyarrow().to_pylist() == [
        {"name": "1", "flags": None},
        {"name": "2", "flags": 2},
        {"name": "3", "flags": 3},
    ]
    assert traces.filter(traces.kind > 1).count().execute() == 2
    assert traces.filter(traces.events.isnull()).count().execute() == 3


def test_resources_are_one_row_an_id(writer: Writer, reader: Reader, feed: ModuleType) -> None:
    for number in range(3):
        writer.put("traces", feed.request(feed.span(number), feed.span(10 + number, resource_id="r2")))
        writer.flush()
    resources = reader.table("resources").order_by("resource_id")
    assert resources.to_pyarrow().to_pylist() == [
        {"resource_id": i, "attributes": [("id", i)], "dropped_attributes_count": 0} for i in ("r1", "r2")
    ]


def test_a_registered_expression_is_a_live_table(writer: Writer, reader: Reader, feed: ModuleType) -> None:
    traces = reader.table("traces")
    busy = reader.register("busy", traces.group_by("name").agg(n=lambda t: t.count()))
    assert rows(busy) == 0
    writer.put("traces", feed.padded(1))
    writer.flush()
    assert busy.to_pyarrow().to_pylist() == [{"name": "GET /a", "n": 2}]
    assert reader.query("select n from busy").to_pylist() == [{"n": 2}]
    assert reader.table("busy").n.sum().execute() == 2
    assert reader.tables == ("busy", "logs", "metrics", "resources", "traces")


def test_registered_rows_are_replaced(reader: Reader) -> None:
    incidents = reader.register_rows("incidents", pa.table({"id": ["a"]}))
    assert incidents.id.to_pyarrow().to_pylist() == ["a"]
    reader.register_rows("incidents", pa.table({"id": ["b", "c"]}))
    assert incidents.order_by("id").id.to_pyarrow().to_pylist() == ["b", "c"]
    assert reader.query("from incidents").num_rows == 2
    reader.register("incidents", reader.table("traces").select("name"))
    assert reader.table("incidents").columns == ("name",)
    reader.register_rows("incidents", pa.table({"id": ["a"]}))
    assert reader.table("incidents").columns == ("id",)


@pytest.mark.parametrize("name", ["traces", "a b", 'x"; drop', "1", ""])
def test_a_name_that_would_shadow_or_break_is_refused(reader: Reader, name: str) -> None:
    with pytest.raises(QueryError, match="cannot be the name"):
        reader.register_rows(name, pa.table({"id": [1]}))
    assert rows(reader.table("traces")) == 0


def test_an_unknown_table_is_a_query_error(reader: Reader) -> None:
    with pytest.raises(QueryError, match=r"Tables: logs, metrics, resources, traces"):
        reader.table("nope")


def test_a_snapshot_is_one_parquet_file_a_table(
    writer: Writer, reader: Reader, feed: ModuleType, tmp_path: Path
) -> None:
    writer.put("traces", feed.request(*(feed.span(i) for i in range(10))))
    writer.flush()
    traces = reader.table("traces").order_by("span_id")
    folder = tmp_path / "incident" / "data"
    paths = reader.snapshot({"traces": traces, "few": traces.limit(3), "logs": reader.table("logs")}, folder)
    assert [path.name for path in paths] == ["traces.parquet", "few.parquet", "logs.parquet"]
    assert sorted(path.name for path in folder.iterdir()) == ["few.parquet", "logs.parquet", "traces.parquet"]
    assert pq.read_table(paths[0]).equals(traces.to_pyarrow())
    assert pq.read_metadata(paths[2]).num_rows == 0
    again = ibis.duckdb.connect().read_parquet(paths[0])
    assert again.attributes["number"].max().to_pyarrow().as_py() == "9"


def test_a_snapshot_that_cannot_be_written_is_a_store_error(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        reader.snapshot({"traces": reader.table("traces")}, tmp_path / "file")
