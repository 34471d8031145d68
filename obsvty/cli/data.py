"""Telemetry in and out: serve, import, query, sanitize; and the doors lab and mcp."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from obsvty.cli.opened import open_data, read_settings
from obsvty.cli.options import Data, Json
from obsvty.cli.output import note, print_json, progress
from obsvty.errors import UsageError


class Format(StrEnum):
    """How a query's result is written."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"


class SignalName(StrEnum):
    """OTLP's signals."""

    traces = "traces"
    logs = "logs"
    metrics = "metrics"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(serve)
    app.command(name="import")(import_)
    for command in (query, sanitize, lab, mcp):
        app.command()(command)


def serve(data: Data = None) -> None:
    """Receive OTLP (gRPC 4317, HTTP 4318), watch for incidents, answer /healthz on 4319. Ctrl-C stops it."""
    from obsvty.serve import serve as run

    run(read_settings(data), tell=note)


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="OTLP files, also .gz and .zst.")],
    signal: Annotated[
        SignalName | None, typer.Option("--signal", help="Default: by file name, else by content.")
    ] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Import OTLP files: protobuf requests (single or length-delimited), OTLP JSON, the Collector's JSON lines."""
    missing = [f for f in files if not f.is_file()]
    if missing:
        raise UsageError(f"There is no file {missing[0]}.")
    from obsvty.otlp.decode import decode
    from obsvty.otlp.files import import_files
    from obsvty.store.writer import Writer

    folder = read_settings(data).data_dir
    with Writer(folder, decode) as writer, progress(total_steps=1) as tell:
        skipped = 0

        def put(signal_name: str, body: bytes) -> None:
            nonlocal skipped
            skipped += 0 if writer.put_once(signal_name, body) else 1  # pyright: ignore[reportArgumentType] a Signal

        report = import_files(
            files,
            put,
            signal.value if signal else None,
            progress=lambda done, total: tell("Importing", done, total),
        )
        writer.flush()
    counts = {
        "files": report.files,
        "requests": report.requests,
        "already_imported": skipped,
        "spans": report.spans,
        "logs": report.logs,
        "points": report.points,
        "data": str(folder),
    }
    if json:
        print_json(counts)
        return
    print(
        f"{report.spans} spans, {report.logs} logs, {report.points} metric points in {report.requests} requests "
        f"-> {folder}"
    )
    if skipped:
        print(f"{skipped} requests had been imported before and were left out")


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT over traces, logs, metrics, ...")],
    format: Annotated[Format, typer.Option("--format", help="How to write the result.")] = Format.table,  # noqa: A002
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE")] = None,
    data: Data = None,
) -> None:
    """Read-only, sandboxed SQL over the stored telemetry."""
    if format is Format.parquet and output is None:
        raise UsageError("--format parquet needs -o FILE.")
    with open_data(data) as obs:
        result = obs.sql(sql).to_pyarrow()
    if format is Format.parquet and output is not None:
        import pyarrow.parquet as pq

        pq.write_table(result, output)
        return
    from obsvty.cli.tables import as_text

    text = as_text(result, format.value)
    if output is not None:
        output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def sanitize(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Default: standard input.")] = None,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help='{"form": "text"|"attrs", "input": ...} a line.')
    ] = False,
    data: Data = None,
) -> None:
    """Lines in, sanitized lines out; what was redacted, by kind, on stderr."""
    from obsvty.cli.lines import sanitize_json_lines, sanitize_lines

    if file is not None and not file.is_file():
        raise UsageError(f"There is no file {file}.")
    rules = read_settings(data).privacy
    with file.open(encoding="utf-8", errors="surrogateescape") if file else sys.stdin as lines:
        counts = (sanitize_json_lines if jsonl else sanitize_lines)(lines, rules)
    redacted = ", ".join(f"{kind} {n}" for kind, n in sorted(counts.items())) or "nothing"
    note(f"redacted: {redacted}")


def lab(data: Data = None) -> None:
    """JupyterLab with the obsvty kernel and the notebooks."""
    from obsvty.notebook.lab import start_lab

    raise typer.Exit(start_lab(read_settings(data).data_dir))


def mcp(data: Data = None) -> None:
    """The MCP server over stdio, for an IDE agent; the same as `obsvty-mcp`."""
    import subprocess

    folder = read_settings(data).data_dir
    # a process of its own: nothing in obsvty imports mcp_server, and stdout carries its frames only
    raise typer.Exit(
        subprocess.run([sys.executable, "-m", "mcp_server", "--data", str(folder)], check=False).returncode
    )
