"""What questions cost over a large store, in CPU milliseconds, beside one plain DuckDB table of the same rows.

    python tests/benchmarks/query.py [--spans N] [--keep FOLDER] [--json]

The store is written by `obsvty.store.Writer` itself, with its segments and merges; only the spans come from a
generator instead of from OTLP. Both sides run the same SQL with the same number of threads, answer the same rows
(this is checked), and are given the least CPU time of several runs. Ours includes the sandbox and Ibis. Exit code 1
when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from bars import Bar, exit_code, machine, verdict
from payload import START_NS
from spans import STEP_NS, spans

from obsvty.model import Signal
from obsvty.store.manifest import read_manifest
from obsvty.store.reader import Reader
from obsvty.store.writer import Writer

RATIO_BAR = 1.5
TRACE_BAR_MS = 50.0
HINTED = "trace by id + time hint"
MINUTE_NS = 60_000_000_000
_REQUEST_ROWS = 16_384  # about what a second of load puts into a segment


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question on both sides."""

    question: str
    rows: int
    ours_ms: float
    plain_ms: float

    @property
    def ratio(self) -> float:
        return self.ours_ms / self.plain_ms

    def line(self) -> str:
        return f"{self.question:<26}{self.rows:>9,}{self.ours_ms:>12.1f}{self.plain_ms:>12.1f}{self.ratio:>8.2f}x"


def decode(signal: Signal, requests: Sequence[bytes]) -> Mapping[str, pa.Table]:
    """Stands in for OTLP: a request is `first rows` of the generator."""
    del signal
    parts = [spans(*map(int, request.split())) for request in requests]
    return {name: pa.concat_tables([part[name] for part in parts]) for name in parts[0]}


def build(root: Path, rows: int, tell: Callable[[str], None]) -> None:
    """Fill the store as a receiver would: segment after segment in order of time, merged as they become many."""
    began_s = time.process_time()
    with Writer(root, decode) as writer:
        for first in range(0, rows, _REQUEST_ROWS):
            writer.put("traces", b"%d %d" % (first, min(_REQUEST_ROWS, rows - first)))
            writer.flush()  # one segment a request, as if a second had passed
    manifest = read_manifest(root)
    files = [file for file in manifest.files if file.table == "traces"]
    size_bytes = sum(file.size_bytes for file in files)
    tell(
        f"store: {rows:,} spans in {len(files)} segments, {size_bytes / rows:.0f} B a span, "
        f"{(time.process_time() - began_s) / rows * 1e6:.1f} us of CPU a span to make, write and merge"
    )


def build_plain(file: Path, reader: Reader) -> None:
    """One table with the rows of the store, in the same order."""
    with duckdb.connect(str(file), config={"memory_limit": "4GB"}) as con:
        with reader.backend.to_pyarrow_batches(reader.table("traces"), chunk_size=128 * 1024) as batches:
            con.register("rows", batches)
            con.execute("create table traces as select * from rows")
        con.execute("checkpoint")


def questions(rows: int, trace: tuple[str, int]) -> dict[str, str]:
    """The questions, as SQL that both sides understand."""
    end_ns = START_NS + rows * STEP_NS
    middle_ns = START_NS + rows // 2 * STEP_NS
    trace_id, start_ns = trace
    p95 = (
        "select service_name, http_route, quantile_cont(duration_ns, 0.95) as p95, count(*) as n from traces{} "
        "group by all order by all"
    )
    by_id = (
        "select span_id, parent_span_id, name, start_ns, duration_ns, status_code from traces "
        "where trace_id = '{}'{} order by start_ns, span_id"
    )
    pairs = (
        "select unnest(map_keys(attributes)) as k, unnest(map_values(attributes)) as v, "
        f"start_ns >= {middle_ns} as late from traces "
        f"where start_ns >= {middle_ns - 5 * MINUTE_NS} and start_ns < {middle_ns + 5 * MINUTE_NS}"
    )
    return {
        "p95, all": p95.format(""),
        "p95, last 15 min": p95.format(f" where start_ns >= {end_ns - 15 * MINUTE_NS}"),
        "trace by id": by_id.format(trace_id, ""),
        HINTED: by_id.format(
            trace_id, f" and start_ns >= {start_ns - MINUTE_NS} and start_ns < {start_ns + MINUTE_NS}"
        ),
        "errors + stack, 10 min": (
            "select trace_id, name, e.attributes['exception.stacktrace'] as stack from (select trace_id, name, "
            "unnest(events) as e from traces where status_code = 2 and "
            f"start_ns >= {middle_ns} and start_ns < {middle_ns + 10 * MINUTE_NS}) "
            "where e.name = 'exception' order by all"
        ),
        "attr = x, all": (
            "select count(*) as n, max(duration_ns) as slowest from traces where attributes['enduser.id'] = 'user-4711'"
        ),
        "attr diff 2 x 5 min": (
            f"select k, v, count(*) filter (late) - count(*) filter (not late) as more from ({pairs}) group by k, v "
            "order by abs(more) desc, k, v limit 20"
        ),
    }


def least_ms(ask: Callable[[], pa.Table], repeats: int) -> tuple[float, pa.Table]:
    """CPU of this process, all threads, and the answer."""
    best, answer = float("inf"), ask()
    for _ in range(repeats):
        began_s = time.process_time()
        answer = ask()
        best = min(best, time.process_time() - began_s)
    return best * 1e3, answer


def measure(
    reader: Reader, plain: Path, rows: int, repeats: int, threads: int, tell: Callable[[str], None]
) -> list[Answer]:
    found = reader.query(
        f"select trace_id, min(start_ns) as first_ns from traces where start_ns >= {START_NS + rows // 3 * STEP_NS} "
        "group by trace_id order by first_ns, trace_id limit 1"
    ).to_pylist()[0]
    answers: list[Answer] = []
    with duckdb.connect(str(plain), read_only=True, config={"threads": threads}) as con:
        for question, sql in questions(rows, (found["trace_id"], found["first_ns"])).items():
            ours_ms, ours = least_ms(lambda sql=sql: reader.query(sql), repeats)
            plain_ms, theirs = least_ms(lambda sql=sql: con.execute(sql).to_arrow_table(), repeats)
            if ours.to_pylist() != theirs.to_pylist():
                raise SystemExit(f"{question}: the two sides answer different rows")
            answers.append(Answer(question=question, rows=ours.num_rows, ours_ms=ours_ms, plain_ms=plain_ms))
            tell(answers[-1].line())
    return answers


def bars_of(answers: list[Answer]) -> list[Bar]:
    bars = [
        Bar(name=answer.question, measured=answer.ratio, limit=RATIO_BAR, unit="x the plain table")
        for answer in answers
    ]
    hinted = next(answer for answer in answers if answer.question == HINTED)
    return [*bars, Bar(name=HINTED, measured=hinted.ours_ms, limit=TRACE_BAR_MS, unit="ms of CPU")]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--spans", type=int, default=10_000_000, help="rounded up to 16,384 (default 10 million)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of each question; the least counts")
    parser.add_argument("--threads", type=int, default=2, help="that a query may use, on both sides")
    parser.add_argument("--keep", type=Path, help="build here, and use again what is here")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    told = sys.stderr if options.json else sys.stdout

    def tell(line: str) -> None:
        print(line, file=told, flush=True)

    rows = -(-options.spans // _REQUEST_ROWS) * _REQUEST_ROWS
    tell(machine())
    with tempfile.TemporaryDirectory(prefix="obsvty-query-") as name:
        folder = options.keep or Path(name)
        if read_manifest(folder / "store") is None:
            build(folder / "store", rows, tell)
        with Reader(folder / "store", threads=options.threads) as reader:
            rows = reader.query("select count(*) as n from traces").to_pylist()[0]["n"]
            plain = folder / "plain.duckdb"
            if not plain.exists():
                build_plain(plain, reader)
            tell(
                f"plain: one DuckDB table, {plain.stat().st_size / rows:.0f} B a span; {options.threads} threads each"
            )
            tell(
                f"{'CPU ms, least of ' + str(options.repeats):<26}{'rows':>9}{'ours':>12}{'plain':>12}{'ratio':>9}"
            )
            answers = measure(reader, plain, rows, options.repeats, options.threads, tell)
    bars = bars_of(answers)
    tell(verdict(bars))
    if options.json:
        result = {
            "machine": machine(),
            "spans": rows,
            "answers": [
                {
                    "question": answer.question,
                    "rows": answer.rows,
                    "ours_ms": round(answer.ours_ms, 2),
                    "plain_ms": round(answer.plain_ms, 2),
                    "ratio": round(answer.ratio, 3),
                }
                for answer in answers
            ],
            "bars": [bar.as_json() for bar in bars],
        }
        print(json.dumps(result, indent=1))
    return exit_code(bars)


if __name__ == "__main__":
    sys.exit(main())
