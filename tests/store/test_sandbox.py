from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import duckdb
import pytest

from obsvty.errors import QueryError
from obsvty.store.reader import Reader
from obsvty.store.writer import Writer

SECRET = "s3cr3t-telemetry-value"


@pytest.fixture(scope="module")
def data(feed: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    with Writer(root, feed.decode) as writer:
        writer.put("traces", feed.request(*(feed.span(i, status_message=SECRET) for i in range(10))))
    return root


@pytest.fixture(scope="module")
def box(data: Path) -> Iterator[Reader]:
    with Reader(data, memory_limit="300MB", threads=1) as reader:
        yield reader


ALLOWED = [
    "select 1",
    "  select 1 ;  -- and no more",
    "/* a comment */ select count(*) from traces",
    "with a as (select * from traces), b as (select * from a) select * from b",
    "with recursive r(n) as (select 1 union all select n + 1 from r where n < 5) select * from r",
    "with a as materialized (select 1 as x) select * from a, a as b",
    "values (1, 'a'), (2, 'b')",
    "from traces",
    "FROM Traces",
    'select "trace_id" from "traces" t where t.name like \'GET%\'',
    "table traces",
    "(select 1) union all (select 2)",
    "select * from traces where span_id in (select span_id from traces)",
    "select (select max(duration_ns) from traces) as m",
    "select attributes['http.route'] as route, count(*) from traces group by all order by all",
    "select unnest(map_keys(attributes)) from traces",
    "select * from traces, unnest([1, 2]) as u(x)",
    "select * from range(10) as r(i), generate_series(1, 2)",
    "select list_transform([1, 2], lambda x: x + 1)",
    "select [x * 2 for x in [1, 2] if x > 1]",
    "select quantile_cont(duration_ns, 0.95) over (partition by name) from traces",
    "select time_bucket(interval 5 minutes, start_time::timestamp) from traces",
    "select columns('.*_id') from traces",
    "select * exclude (attributes) replace (upper(name) as name) from traces",
    "select * from traces using sample 3 rows",
    "pivot traces on status_code in (0, 2) using count(*) group by name",
    "select json_extract_string('{\"a\": 1}', '$.a')",
    "select * from traces t join resources r using (resource_id) asof join logs l on t.start_ns >= l.time_ns",
    "describe traces",
    "describe select 1 as a",
    "summarize traces",
    "show tables",
    "show traces",
    "explain select * from traces",
    "EXPLAIN ANALYZE select count(*) from traces",
]

FORBIDDEN = [
    # files
    "select * from read_csv('/etc/passwd')",
    "select * from read_csv_auto('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('/etc/passwd')",
    "select * from read_json('/etc/passwd')",
    "select * from READ_PARQUET('{seg}')",
    "select * from parquet_scan('{seg}')",
    "select * from parquet_metadata('{seg}')",
    "select * from parquet_schema('{seg}')",
    "select * from read_text('{manifest}')",
    "select * from sniff_csv('/etc/passwd')",
    "select * from glob('/etc/*')",
    "select * from glob('{folder}/*')",
    "from '/etc/passwd'",
    "from '{seg}'",
    'from "{seg}"',
    "select * from traces, '{seg}'",
    "select (select count(*) from '{seg}')",
    "select * from traces where exists (from read_text('/etc/passwd'))",
    "with a as (from read_text('/etc/passwd')) from a",
    "with \"{seg}\" as (select 1) from '{seg}'",
    "select 1 order by (select content from read_text('/etc/passwd'))",
    "select 1 limit (select count(*) from read_text('/etc/passwd'))",
    "pivot (from read_text('/etc/passwd')) on filename in ('a') using count(*)",
    "describe from read_text('/etc/passwd')",
    "summarize '{seg}'",
    "explain analyze from read_text('/etc/passwd')",
    "from 'https://example.com/a.parquet'",
    "from 's3://bucket/a.parquet'",
    # writing
    "copy traces to '/tmp/out.csv'",
    "copy traces to '{folder}/out.csv'",
    "copy (select 1) to '{folder}/out.parquet'",
    "copy traces from '{seg}'",
    "explain analyze copy traces to '{folder}/out.csv'",
    "explain copy traces to '{folder}/out.csv'",
    "export database '{folder}/export'",
    "import database '{folder}'",
    "create table t as select 1",
    "create or replace view traces as select 1",
    "create macro m(a) as table select a",
    "insert into traces select * from traces",
    "update traces set name = 'x'",
    "delete from traces",
    "drop view traces",
    "alter table traces rename to t",
    "truncate traces",
    "with a as (select 1) delete from traces",
    # other databases, extensions, settings
    "attach '{folder}/x.db' as x",
    "attach ':memory:' as x",
    "detach memory",
    "use obsvty_internal",
    "install httpfs",
    "force install httpfs from '/tmp'",
    "load httpfs",
    "load '/tmp/x.duckdb_extension'",
    "set memory_limit = '100GB'",
    "set enable_external_access = true",
    "reset memory_limit",
    "pragma enable_profiling",
    "pragma database_list",
    "pragma memory_limit = '1GB'",
    "call pragma_version()",
    "call duckdb_settings()",
    "select * from duckdb_settings()",
    "select * from duckdb_secrets()",
    "select * from duckdb_views()",
    "select * from pragma_table_info('traces')",
    "select * from which_secret('a', 'b')",
    "create secret s (type s3)",
    "select current_setting('allowed_directories')",
    "select main.current_setting('allowed_directories')",
    "select system.main.current_setting('allowed_directories')",
    "select getenv('HOME')",
    "select getvariable('x')",
    "select write_log('x')",
    "select nextval('s')",
    "select length(repeat('a', 4000000000))",
    "set variable x = 1",
    # around the check
    "select * from query('from read_text(''/etc/passwd'')')",
    "select * from query_table('{seg}')",
    "select * from query_table('traces')",
    "select * from json_execute_serialized_sql('{}')",
    "select json_serialize_plan('select 1')",
    "select * from arrow_scan(1, 2, 3)",
    "select * from pandas_scan(1)",
    "select * from seq_scan('traces')",
    "select * from python_map_function(1)",
    "prepare p as select 1",
    "execute p",
    "begin",
    "checkpoint",
    "vacuum",
    "select 1; select 2",
    "select 1; copy traces to '{folder}/out.csv'",
    "select 1;; drop view traces",
    "explain select 1; drop view traces",
    "explain explain select 1",
    "explain",
    "explain (format json) select 1",
    "",
    ";",
    "-- nothing",
    "select 1 \0 ; drop view traces",
    "pivot traces on status_code using count(*)",
    # what is not one of our tables
    "from main.traces",
    "from memory.main.traces",
    "from obsvty_internal.empty_traces",
    "from empty_traces",
    "from information_schema.tables",
    "from duckdb_tables",
    "from sqlite_master",
    "from pg_catalog.pg_tables",
    "from nope",
    "show all tables",
    "show databases",
    "show schemas",
    "show variables",
    "show tables from obsvty_internal",
    "describe obsvty_internal.empty_traces",
    "select $1",
    "select ?",
]


@pytest.mark.parametrize("query", ALLOWED)
def test_reading_is_allowed(box: Reader, query: str) -> None:
    assert box.query(query, timeout_s=5).num_columns > 0


@pytest.mark.parametrize("query", FORBIDDEN)
def test_everything_else_is_refused_and_leaves_no_trace(box: Reader, data: Path, query: str) -> None:
    before = sorted(data.rglob("*"))
    (segment,) = (data / "seg").glob("*.traces.parquet")
    places = {"{seg}": str(segment), "{folder}": str(data / "seg"), "{manifest}": str(data / "manifest.json")}
    for place, path in places.items():
        query = query.replace(place, path)
    with pytest.raises(QueryError) as caught:
        box.query(query, timeout_s=5)
    assert str(data) not in caught.value.message
    assert sorted(data.rglob("*")) == before
    assert box.query("select count(*) as n from traces").to_pylist() == [{"n": 10}]


@pytest.mark.parametrize(
    "statement",
    [
        "select * from read_text('/etc/passwd')",
        "copy (select 1) to '/tmp/obsvty-out.csv'",
        "install httpfs",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "set allowed_directories = ['/']",
        "set memory_limit = '100GB'",
    ],
)
def test_the_engine_refuses_too_when_the_parser_is_not_asked(box: Reader, statement: str) -> None:
    with pytest.raises(duckdb.Error):
        box.backend.con.execute(statement)


@pytest.mark.parametrize(
    "query",
    [
        "select sum(status_message::int) from traces",
        "select status_message::timestamp from traces",
        "select error(status_message) from traces",
        "select strptime(status_message, '%Y') from traces",
        "select json(status_message) from traces",
        "select cast(attributes as map(varchar, int)) from traces",
    ],
)
def test_no_error_holds_a_value_of_the_data(box: Reader, query: str) -> None:
    with pytest.raises(QueryError) as caught:
        box.query(query)
    assert SECRET not in str(caught.value)
    assert "GET" not in str(caught.value)


def test_a_syntax_error_says_where(box: Reader) -> None:
    with pytest.raises(QueryError, match='syntax error at or near "traces"'):
        box.sql("select * fro traces")


def test_an_unknown_column_is_named(box: Reader) -> None:
    with pytest.raises(QueryError, match="nope"):
        box.sql("select nope from traces")


def test_a_query_deeper_than_the_parser_goes_is_refused(box: Reader) -> None:
    with pytest.raises(QueryError):
        box.query("select " + "(" * 20_000 + "1" + ")" * 20_000)
    with pytest.raises(QueryError):
        box.query("select " + "+".join(["1"] * 40_000))
    with pytest.raises(QueryError, match="longer than"):
        box.query("select 1 --" + "x" * 100_000)


def test_a_query_that_takes_too_long_is_stopped(box: Reader) -> None:
    with pytest.raises(QueryError, match=r"longer than 0.2 s"):
        box.query("select count(*) from range(1000000000000) r(x) where x % 7 = 3", timeout_s=0.2)
    assert box.query("select 1 as a").to_pylist() == [{"a": 1}]


def test_a_query_that_takes_too_much_memory_is_stopped(box: Reader) -> None:
    with pytest.raises(QueryError, match=r"more memory.*300MB"):
        box.query("select count(distinct x || 'a long text that fills the memory') from range(50000000) r(x)")
    assert box.query("select 1 as a").to_pylist() == [{"a": 1}]


def test_rows_are_limited_and_keep_their_order(box: Reader) -> None:
    rows = (
        box.query("select start_ns from traces order by start_ns desc", max_rows=3)
        .column("start_ns")
        .to_pylist()
    )
    assert len(rows) == 3
    assert rows == sorted(rows, reverse=True)
    assert box.query("select max(start_ns) as m from traces").to_pylist() == [{"m": rows[0]}]


def test_show_tables_names_the_public_tables_only(box: Reader) -> None:
    assert box.query("show tables").column("name").to_pylist() == ["logs", "metrics", "resources", "traces"]
