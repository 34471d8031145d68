"""The Ibis calls that users make, on the pinned duckdb, sqlglot and ibis: when one of these breaks, a pin moved."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import ibis
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from obsvty.store.reader import Reader
from obsvty.store.writer import Writer

pytestmark = [
    # Ibis 12 asks pandas 3 for an option that pandas 4 drops, in each `execute`
    pytest.mark.filterwarnings("ignore:The 'future.infer_string' option:DeprecationWarning"),
    # ... and duckdb 1.5 for methods that duckdb 2 drops, in `list_tables` and the connection's `sql`
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def shop(feed: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """120 spans, one a second, 20 of them errors with an exception event, in two segments."""
    root = tmp_path_factory.mktemp("shop")
    with Writer(root, feed.decode) as writer, Reader(root) as reader:
        for first in (0, 60):
            writer.put("traces", feed.request(*(span(feed, number) for number in range(first, first + 60))))
            writer.flush()
        yield reader


def span(feed: ModuleType, number: int) -> dict[str, object]:
    if number % 6:
        return feed.span(number, name=f"GET /{number % 2}")
    event = {
        "time": feed.START_NS,
        "name": "exception",
        "attributes": [("exception.type", "ValueError"), ("exception.stacktrace", f"at {number}")],
    }
    return feed.span(number, name="GET /bad", status_code=2, events=[event])


@pytest.fixture
def traces(shop: Reader) -> ibis.Table:
    return shop.table("traces")


def test_map_look_up_by_key_with_dots(traces: ibis.Table) -> None:
    bad = traces.filter(traces.attributes["http.route"] == "GET /bad")
    assert bad.count().execute() == 20
    assert traces.attributes.get("missing", "none").nunique().execute() == 1
    assert traces.filter(traces.attributes["missing"].isnull()).count().execute() == 120
    assert traces.filter(traces.attributes.contains("number")).count().execute() == 120


def test_map_keys_and_values_unnest(traces: ibis.Table) -> None:
    pairs = traces.select(key=traces.attributes.keys().unnest(), value=traces.attributes.values().unnest())
    top = pairs.group_by("key").agg(n=lambda t: t.count(), values=lambda t: t.value.nunique()).order_by("key")
    assert top.to_pyarrow().to_pylist() == [
        {"key": "http.route", "n": 120, "values": 3},
        {"key": "number", "n": 120, "values": 120},
    ]


def test_events_unnest(traces: ibis.Table) -> None:
    stacks = (
        traces.filter(traces.status_code == 2)
        .select("span_id", event=traces.events.unnest())
        .filter(lambda t: t.event["name"] == "exception")
        .mutate(stack=lambda t: t.event["attributes"]["exception.stacktrace"])
        .order_by("span_id")
    )
    assert stacks.stack.to_pyarrow().to_pylist() == [f"at {i}" for i in range(0, 120, 6)]


def test_quantiles_by_group(traces: ibis.Table) -> None:
    by_name = (
        traces.group_by("name")
        .agg(p50=lambda t: t.duration_ns.quantile(0.5), n=lambda t: t.count())
        .order_by(ibis.desc("n"), "name")
    )
    assert by_name.n.to_pyarrow().to_pylist() == [60, 40, 20]
    assert by_name.columns == ("name", "p50", "n")


def test_buckets_of_time_and_of_integers(traces: ibis.Table) -> None:
    by_time = traces.group_by(bucket=traces.start_time.bucket(minutes=1)).agg(n=lambda t: t.count())
    assert by_time.order_by("bucket").n.to_pyarrow().to_pylist() == [60, 60]
    by_ns = traces.group_by(bucket=traces.start_ns // 60_000_000_000).agg(n=lambda t: t.count())
    assert by_ns.n.sum().execute() == 120
    assert traces.start_time.truncate("h").nunique().execute() == 1


def test_window_functions(traces: ibis.Table) -> None:
    window = ibis.window(group_by="name", order_by="start_ns")
    gaps = traces.mutate(gap_ns=lambda t: t.start_ns - t.start_ns.lag().over(window))
    assert gaps.filter(gaps.name == "GET /bad").gap_ns.max().execute() == 6_000_000_000
    first = traces.mutate(row=ibis.row_number().over(window)).filter(lambda t: t.row == 0)
    assert first.count().execute() == 3


def test_joins_with_a_memtable_and_with_itself(shop: Reader, traces: ibis.Table) -> None:
    wanted = ibis.memtable({"name": ["GET /bad"], "team": ["checkout"]})
    joined = traces.join(wanted, "name").group_by("team").agg(n=lambda t: t.count())
    assert joined.to_pyarrow().to_pylist() == [{"team": "checkout", "n": 20}]
    children = traces.view()
    assert traces.join(children, traces.span_id == children.parent_span_id).count().execute() == 0
    resources = shop.table("resources")
    assert traces.join(resources, "resource_id").count().execute() == 120


def test_results_as_arrow_pandas_batches_and_scalars(traces: ibis.Table) -> None:
    assert traces.to_pyarrow().schema.equals(traces.schema().to_pyarrow())
    frame = traces.select("name", "start_time", "duration_ns", "attributes").to_pandas()
    assert len(frame) == 120
    assert str(frame.start_time.dtype).startswith("datetime64")
    with traces.to_pyarrow_batches(chunk_size=50) as batches:
        assert sum(batch.num_rows for batch in batches) == 120
    assert traces.duration_ns.max().execute() == 100_000_000
    assert list(traces.limit(2).execute().columns) == list(traces.columns)


def test_to_parquet_and_to_csv_write_anywhere_the_user_may(traces: ibis.Table, tmp_path: Path) -> None:
    traces.to_parquet(tmp_path / "traces.parquet")
    assert pq.read_table(tmp_path / "traces.parquet").num_rows == 120
    traces.select("name", "duration_ns").to_csv(tmp_path / "names.csv")
    assert len((tmp_path / "names.csv").read_text().splitlines()) == 121


def test_sql_is_an_ibis_table(shop: Reader) -> None:
    table = shop.sql("select name, count(*) as n from traces group by name")
    assert table.filter(table.n > 30).order_by("name").to_pyarrow().to_pylist() == [
        {"name": "GET /0", "n": 40},
        {"name": "GET /1", "n": 60},
    ]


def test_the_connection_speaks_sql_too(shop: Reader, traces: ibis.Table) -> None:
    assert shop.backend.sql("select count(*) as n from traces").to_pyarrow().to_pylist() == [{"n": 120}]
    assert traces.alias("t").sql("select max(duration_ns) as m from t").m.execute()[0] == 100_000_000
    assert "traces" in shop.backend.list_tables()


def test_cache_case_and_set_operations(traces: ibis.Table) -> None:
    bad = traces.filter(traces.status_code == 2).select("span_id", "name")
    kept = bad.cache()
    assert kept.count().execute() == 20
    assert bad.union(bad).count().execute() == 40
    assert traces.select("span_id", "name").difference(bad).count().execute() == 100
    kind = traces.mutate(kind=ibis.cases((traces.status_code == 2, "bad"), else_="good"))
    assert sorted(kind.kind.value_counts().to_pyarrow().to_pydict()["kind_count"]) == [20, 100]


def test_python_and_arrow_functions(traces: ibis.Table) -> None:
    @ibis.udf.scalar.pyarrow
    def shout(name: str) -> str:
        return pc.utf8_upper(name)

    @ibis.udf.scalar.python
    def half(number: int) -> int:
        return number // 2

    result = (
        traces.select(name=shout(traces.name), half=half(traces.duration_ns))
        .order_by("half", "name")
        .limit(3)
    )
    assert result.to_pyarrow().to_pylist() == [
        {"name": "GET /0", "half": 500_000},
        {"name": "GET /BAD", "half": 500_000},
        {"name": "GET /1", "half": 1_000_000},
    ]


def test_new_tables_and_views_of_the_user(shop: Reader, traces: ibis.Table) -> None:
    shop.backend.create_view("mine", traces.filter(traces.status_code == 2), overwrite=True)
    assert shop.backend.table("mine").count().execute() == 20
    shop.backend.drop_view("mine")
    made = shop.backend.create_table("made", traces.select("name").limit(3).to_pyarrow(), overwrite=True)
    assert made.count().execute() == 3
    shop.backend.drop_table("made")
