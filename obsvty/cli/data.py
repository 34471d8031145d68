"""Telemetry in and out: serve, import, query, sanitize; and the doors lab and mcp."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from obsvty.cli.opened import open_data, read_settings
from obsvty.cli.options import Data, Json
from obsvty.cli.output import note, print_json, progress
from obsvty.errors import OtlpError, UsageError

if TYPE_CHECKING:
    from obsvty.model import Signal


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


docs = typer.Typer(no_args_is_help=True, help="Pages about the services, made from telemetry.")


@docs.command()
def build(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Default: [docs] dir.")
    ] = None,
    data: Data = None,
) -> None:
    """Write the service catalogue as Markdown; only pages that changed are touched."""
    folder = output or read_settings(data).docs.dir
    with open_data(data) as obs:
        changed = obs.build_docs(folder)
    for path in changed:
        print(path)
    note(f"{len(changed)} pages changed in {folder}")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(serve)
    app.command(name="import")(import_)
    for command in (query, sanitize, lab, mcp):
        app.command()(command)
    app.add_typer(docs, name="docs")


def serve(data: Data = None) -> None:
    """Receive OTLP (gRPC 4317, HTTP 4318), watch for incidents, answer /healthz on 4319. Ctrl-C stops it."""
    from obsvty.serve import serve as run

    run(read_settings(data), tell=note)


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="OTLP files, also .gz and .zst.")],
    signal: Annotated[
        SignalName | None, typer.Option("--signal", help="Default: by file name, else by content.")
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Name bad lines and leave them out. Default: the first one ends it."),
    ] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Import OTLP files: protobuf requests (single or length-delimited), OTLP JSON, the Collector's JSON lines.

    What was imported before, wholly or in part, is not stored twice.
    """
    missing = [f for f in files if not f.is_file()]
    if missing:
        raise UsageError(f"There is no file {missing[0]}.")
    from obsvty.otlp.decode import decode
    from obsvty.otlp.files import import_files
    from obsvty.store.writer import Writer

    folder = read_settings(data).data_dir
    new = 0
    with Writer(folder, decode) as writer, progress(total_steps=1) as tell:
        before = writer.stats().quarantined

        def put(name: Signal, body: bytes) -> None:
            nonlocal new
            # `flush` below waits for the disk once for all of them; each request is remembered by itself, so that an
            # import that was killed goes on where it was, and a file that grew adds what is new
            new += writer.put_once(name, body, wait=False)

        def skip(error: OtlpError) -> None:
            note(f"skipped: {error.message}")

        report = import_files(
            files,
            put,
            signal.value if signal else None,
            progress=lambda done, total: tell("Importing", done, total),
            join=False,
            skip_bad=skip if skip_bad else None,
        )
        writer.flush()
        undecodable = writer.stats().quarantined - before
    if json:
        print_json(
            {
                "files": report.files,
                "requests": report.requests,
                "spans": report.spans,
                "logs": report.logs,
                "points": report.points,
                "rejected": report.rejected,
                "skipped": report.skipped,
                "new": new > 0,
                "data": str(folder),
            }
        )
    else:
        print(
            f"{report.spans} spans, {report.logs} logs, {report.points} metric points "
            f"in {report.requests} requests -> {folder}"
        )
        if report.requests and not new:
            print("all of it had been imported before; nothing was stored twice")
        if report.rejected:
            print(f"{report.rejected} records without a valid id were left out")
        if report.skipped:
            print(f"{report.skipped} bad lines or requests were skipped")
    if undecodable:
        raise OtlpError(
            f"{undecodable} requests could not be decoded and were set aside.",
            hint=f"See {folder}/quarantine.",
        )


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT over traces, logs, metrics, ...")],
    format: Annotated[Format, typer.Option("--format", help="How to write the result.")] = Format.table,  # noqa: A002
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE")] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="At most so many rows.")] = 100_000,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="Give up after this.")
    ] = 60,
    data: Data = None,
) -> None:
    """Read-only, sandboxed SQL over the stored telemetry."""
    if format is Format.parquet and output is None:
        raise UsageError("--format parquet needs -o FILE.")
    with open_data(data) as obs:
        result = obs.query(sql, max_rows=rows + 1, timeout_s=timeout)
    if result.num_rows > rows:
        result = result.slice(0, rows)
        note(f"cut after {rows} rows; --rows N shows more")
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
