"""The read side of a data folder: live Ibis tables, sandboxed SQL, pinned snapshots. Any number of processes."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import duckdb
import pyarrow as pa

from obsvty.errors import QueryError, StoreError
from obsvty.store.backend import INTERNAL, SegmentBackend, check_root
from obsvty.store.damage import segment_error
from obsvty.store.files import storing_in
from obsvty.store.sandbox import check_query, query_error
from obsvty.store.schema import TABLES

if TYPE_CHECKING:
    import ibis.expr.types as ir

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*")


class Reader:
    """Reads a data folder, and writes nothing to it.

    A folder that is empty or missing shows empty typed tables until a writer publishes something. Tables and all
    expressions made from them are live: each query sees what is visible when it starts. Any thread may use a reader,
    but its queries run one at a time: open another reader (30 ms) where one must not wait for another.

    Args:
        root: the data folder.
        memory_limit: what one query may use, as DuckDB writes it.
        threads: what one query may use; None means all cores.

    Raises:
        StoreError: the folder or its manifest cannot be read.
    """

    def __init__(self, root: Path, *, memory_limit: str = "2GB", threads: int | None = None) -> None:
        self.root = check_root(root)
        self._memory_limit = memory_limit
        self._backend = SegmentBackend.over(self.root, memory_limit=memory_limit, threads=threads)
        self._public: set[str] = set(TABLES)

    @property
    def backend(self) -> SegmentBackend:
        """The Ibis connection, for people who want all of Ibis. Its `raw_sql` is not sandboxed by the parser."""
        return self._backend

    @property
    def tables(self) -> tuple[str, ...]:
        """Names that `sql` may use, sorted."""
        return tuple(sorted(self._public))

    def table(self, name: str) -> ir.Table:
        """A live table: `traces`, `logs`, `metrics`, `resources`, or what was registered.

        Raises:
            QueryError: there is no table of that name.
        """
        if name not in self._public:
            raise QueryError("There is no table of that name.", hint=f"Tables: {', '.join(self.tables)}.")
        return self._backend.table(name)

    def register(self, name: str, expression: ir.Table) -> ir.Table:
        """Give an expression over this reader's tables a name in `sql`; it stays live. Replaces what had the name."""
        with self._backend.lock:
            self._claim(name)
            table = self._backend.create_view(name, expression, overwrite=True)
            self._public.add(name)
            return table

    def register_rows(self, name: str, rows: pa.Table) -> ir.Table:
        """Give rows a name in `sql`, in place of those that had it. Expressions over the name see the new rows."""
        with self._backend.lock:
            self._claim(name)
            table = self._backend.hold(name, rows, schema="main")
            self._public.add(name)
            return table

    def sql(self, query: str) -> ir.Table:
        """A read-only statement as an Ibis table; SELECT stays live, DESCRIBE, SHOW and EXPLAIN are answered at once.

        Raises:
            QueryError: the statement is wrong, not read-only, or outside the sandbox.
        """
        con = self._backend.con
        with self._backend.lock:
            text = check_query(con, query, self._public)
            self._backend.refresh()
            name = "sql_" + blake2b(text.encode(), digest_size=12).hexdigest()
            try:
                try:
                    con.execute(f"create or replace view {INTERNAL}.{name} as {text}")
                except duckdb.ParserException:
                    # DESCRIBE, SHOW, SUMMARIZE and EXPLAIN cannot be the body of a view
                    return self._backend.hold(
                        "held_" + name, con.execute(text).to_arrow_table(), schema=INTERNAL
                    )
                return self._backend.table(name, database=INTERNAL)
            except duckdb.InterruptException:
                raise
            except duckdb.Error as exc:
                raise self._error(exc) from exc

    def query(self, query: str, *, max_rows: int | None = None, timeout_s: float | None = None) -> pa.Table:
        """The rows of a read-only statement; see `sql`.

        Args:
            query: the statement.
            max_rows: at most so many rows; ask for one more than you show to know whether some were left out.
            timeout_s: the statement is interrupted after this time.

        Raises:
            QueryError: as `sql`, or it failed while it ran, or took too long.
        """
        with self.time_limit(timeout_s):
            table = self.sql(query)
            return self.run(table if max_rows is None else table.limit(max_rows))

    def run(self, expression: ir.Table) -> pa.Table:
        """The rows of an expression; an engine's error becomes `QueryError`, without values of the data."""
        try:
            return self._backend.to_pyarrow(expression)
        except duckdb.InterruptException:
            raise
        except duckdb.Error as exc:
            raise self._error(exc) from exc

    @contextmanager
    def time_limit(self, limit_s: float | None) -> Generator[None]:
        """Interrupt what this reader runs inside the block after `limit_s` seconds; None does nothing.

        The time begins when no other thread uses this reader any more, and none can until the block ends.

        Raises:
            QueryError: time was up.
        """
        if limit_s is None:
            yield
            return
        up = threading.Event()
        over = threading.Event()

        def interrupt() -> None:
            # again and again: an interrupt between two statements is forgotten
            while not over.wait(0 if not up.is_set() else 0.05):
                up.set()
                self._backend.con.interrupt()

        timer = threading.Timer(limit_s, interrupt)
        timer.daemon = True
        with self._backend.lock:
            timer.start()
            try:
                yield
            except duckdb.InterruptException as exc:
                if not up.is_set():
                    raise
                raise QueryError(
                    f"The query took longer than {limit_s:g} s and was stopped.",
                    hint="Narrow the time window, or aggregate first.",
                ) from exc
            finally:
                over.set()
                timer.cancel()
                timer.join()

    def interrupt(self) -> None:
        """Stop the query that runs now; it raises `duckdb.InterruptException` in its thread."""
        self._backend.con.interrupt()

    def snapshot(self, tables: Mapping[str, ir.Table], folder: Path) -> list[Path]:
        """Write each table to `folder/<name>.parquet`, batch by batch; returns the files in the order of `tables`.

        Raises:
            StoreError: a file cannot be written.
        """
        paths: list[Path] = []
        with storing_in(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, table in tables.items():
                final = folder / f"{name}.parquet"
                temporary = folder / f"{name}.parquet.tmp"
                self._backend.to_parquet(table, temporary)
                temporary.replace(final)
                paths.append(final)
        return paths

    def close(self) -> None:
        """Close the connection; tables made from it can no longer be queried."""
        self._backend.disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _error(self, exc: duckdb.Error) -> StoreError | QueryError:
        return segment_error(self.root, exc) or query_error(exc, memory_limit=self._memory_limit)

    def _claim(self, name: str) -> None:
        if name in TABLES or not _NAME.fullmatch(name):
            raise QueryError(
                f"{name!r} cannot be the name of a table.", hint="Use lower-case letters, digits and _."
            )
        # a view cannot replace a table, nor a table a view
        for kind in ("view", "table"):
            try:
                self._backend.con.execute(f'drop {kind} if exists main."{name}"')
            except duckdb.CatalogException:
                continue
