"""Both benchmarks run from end to end, small. What they measure is not looked at: no clock decides a test."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

ROOT = Path(__file__).parents[2]


def run(script: str, *options: str) -> tuple[int, Mapping[str, object]]:
    """As a person does, from the root of the repository; the exit code and the JSON."""
    done = subprocess.run(
        [sys.executable, f"tests/benchmarks/{script}", "--json", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def missed(result: Mapping[str, object]) -> bool:
    return not all(bar["holds"] for bar in cast("list[dict[str, object]]", result["bars"]))


def test_the_ingest_benchmark_measures_both_transports_and_memory() -> None:
    small = (
        "--signals",
        "traces",
        "--spans",
        "1024",
        "--sizes",
        "64",
        "--repeats",
        "1",
        "--memory-spans",
        "1024",
    )
    code, result = run("ingest.py", *small)
    (row,) = cast("list[dict[str, object]]", result["rows"])
    assert {"floor_us", "grpc_us", "http_us", "grpc_ratio", "http_ratio"} <= set(row)
    assert [bar["name"] for bar in cast("list[dict[str, object]]", result["bars"])] == [
        "spans, 64 a request, grpc",
        "spans, 64 a request, http",
        "peak memory, 1,024 spans",
    ]
    assert code == (1 if missed(result) else 0)


def test_the_query_benchmark_asks_both_sides_the_same_and_gets_the_same() -> None:
    code, result = run("query.py", "--spans", "16384", "--repeats", "1")
    answers = cast("list[dict[str, object]]", result["answers"])
    assert {answer["question"]: bool(answer["rows"]) for answer in answers} == {
        "p95, all": True,
        "p95, last 15 min": True,
        "trace by id": True,
        "trace by id + time hint": True,
        "errors + stack, 10 min": True,
        "attr = x, all": True,
        "attr diff 2 x 5 min": True,
    }
    assert code == (1 if missed(result) else 0)


def test_the_generated_spans_weigh_what_the_page_says() -> None:
    code = "import payload; print(len(payload.requests('traces', 1, 2048)[0]) / 2048)"
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tests" / "benchmarks",
        capture_output=True,
        text=True,
        check=True,
    )
    assert 590 < float(told.stdout) < 630
