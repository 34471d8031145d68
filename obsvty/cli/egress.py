"""`obsvty egress`: what left this machine, and the proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from obsvty.cli.opened import open_data
from obsvty.cli.options import Data, Json
from obsvty.cli.output import print_json
from obsvty.errors import ObsvtyError
from obsvty.model import rfc3339

if TYPE_CHECKING:
    from obsvty.model import JsonValue
    from obsvty.privacy import LedgerEntry

app = typer.Typer(no_args_is_help=True, help="The egress ledger: every byte that left, and where it went.")


def add_to(parent: typer.Typer) -> None:
    """Register the group."""
    parent.add_typer(app, name="egress")


def _row(entry: LedgerEntry) -> dict[str, JsonValue]:
    return {
        "id": entry.sequence,
        "time": rfc3339(entry.time),
        "sink": entry.sink,
        "destination": entry.destination,
        "model": entry.model,
        "incident_id": entry.incident_id,
        "decision": entry.decision,
        "reason": entry.reason,
        "bytes": entry.size_bytes,
        "sha256": entry.sha256,
        "redactions": dict(entry.redactions),
    }


@app.command(name="list")
def list_(data: Data = None, json: Json = False) -> None:
    """Every row, oldest first."""
    with open_data(data) as obs:
        entries = obs.egress.entries()
    if json:
        print_json([_row(e) for e in entries])
        return
    for e in entries:
        redacted = sum(e.redactions.values())
        print(
            f"{e.sequence:>5}  {rfc3339(e.time)}  {e.decision:7}  {e.size_bytes:>8} bytes  {redacted:>4} redacted  "
            f"{e.sink} {e.destination}"
        )
    sent = [e for e in entries if e.decision == "sent"]
    print(f"{sum(e.size_bytes for e in sent)} bytes left this machine in {len(sent)} sends")


@app.command()
def show(
    id: Annotated[int, typer.Argument(metavar="ID")],  # noqa: A002
    data: Data = None,
    json: Json = False,
) -> None:
    """One row and the exact bytes that were sent."""
    import base64

    with open_data(data) as obs:
        entry = obs.egress.entry(id)
    if json:
        print_json({**_row(entry), "body_base64": base64.b64encode(entry.body).decode()})
        return
    for key, value in _row(entry).items():
        print(f"{key:12} {value}")
    print(f"\n{entry.body.decode('utf-8', errors='backslashreplace')}")


@app.command()
def verify(data: Data = None, json: Json = False) -> None:
    """Walk the hash chain; exit code 1 when a row was changed, removed or moved."""
    with open_data(data) as obs:
        wrong = list(obs.egress.verify())
        rows = len(obs.egress.entries())
    if json:
        print_json({"rows": rows, "problems": wrong})
    elif not wrong:
        print(f"{rows} rows, each as it was written")
    if wrong:
        for sentence in [] if json else wrong:
            print(sentence)
        raise ObsvtyError(
            "The ledger is not as it was written.", hint="Compare it with a backup: obsvty egress export"
        )


@app.command()
def grep(text: Annotated[str, typer.Argument(metavar="TEXT")], data: Data = None, json: Json = False) -> None:
    """Search all that left for a text, as it is and in its decoded forms; exit code 3 when it is nowhere."""
    with open_data(data) as obs:
        hits = list(obs.egress.grep(text))
        entries = obs.egress.entries()
    size = sum(e.size_bytes for e in entries)
    if json:
        print_json({"hits": hits, "payloads": len(entries), "bytes": size})
    elif hits:
        print(f"found in {len(hits)} of {len(entries)} payloads: {', '.join(map(str, hits))}")
    else:
        print(f"not found in {len(entries)} payloads ({size} bytes)")
    if not hits:
        raise typer.Exit(3)


@app.command()
def export(
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE")] = None, data: Data = None
) -> None:
    """The whole ledger as JSON lines."""
    with open_data(data) as obs:
        lines = list(obs.egress.export())
    if output is not None:
        output.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return
    for line in lines:
        print(line)
