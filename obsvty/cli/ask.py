"""Questions about incidents: incidents, investigate, suspects, compare, context, ask, alert, report."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from obsvty.cli.opened import open_data, read_settings
from obsvty.cli.options import Data, IncidentId, Json, Repo
from obsvty.cli.output import note, print_error, print_json, progress
from obsvty.cli.times import parse_time, parse_window
from obsvty.errors import NothingFound, ObsvtyError, UsageError

if TYPE_CHECKING:
    from obsvty.model import Attribution, Investigation
    from obsvty.session import Session

_Time = Annotated[
    str | None, typer.Option(metavar="T", help="RFC 3339, Unix nanoseconds, or relative: -15m.")
]
_Service = Annotated[str | None, typer.Option("--service", metavar="S", help="Only this service.")]
_Operation = Annotated[str | None, typer.Option("--operation", metavar="O", help="Only this operation.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (incidents, investigate, suspects, compare, context, ask, alert, report):
        app.command()(command)


def incidents(
    since: Annotated[str | None, typer.Option(metavar="T", help="Only what was still going on then.")] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """What was found, newest first."""
    from obsvty.pages import incident_line, incident_row

    now = datetime.now(UTC)
    with open_data(data) as obs:
        found = obs.find_incidents(parse_time(since, now=now) if since else None)
        empty = not found and not obs.has_spans()
    if json:
        print_json([{**incident_row(i)} for i in found])  # pyright: ignore[reportArgumentType] a row is JSON
    for i in [] if json else found:
        print(incident_line(i))
    if empty:
        raise NothingFound(
            "Nothing is stored yet.",
            hint="obsvty serve receives OTLP; obsvty import FILE reads it; obsvty demo shows it.",
        )
    if not found:
        raise NothingFound("No incident.", hint="Nothing in the stored telemetry changed for the worse.")


def investigate(
    incident: Annotated[
        str | None, typer.Argument(metavar="[INCIDENT]", help="Default: the latest one.")
    ] = None,
    start: _Time = None,
    end: _Time = None,
    baseline_start: _Time = None,
    baseline_end: _Time = None,
    service: _Service = None,
    operation: _Operation = None,
    repo: Repo = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """The whole story of one incident, or of a window: what, since when, which commit, how to fix it."""
    now = datetime.now(UTC)
    window = parse_window(start, end, now=now)
    baseline = parse_window(baseline_start, baseline_end, now=now, name="baseline-")
    if incident is not None and window is not None:
        raise UsageError("Name an incident or a window, not both.")
    if baseline is not None and window is None:
        raise UsageError("--baseline-start needs --start.")
    with open_data(data) as obs, progress(total_steps=3) as tell:
        told = obs.investigate(
            incident or window,
            baseline=baseline,
            service=service,
            operation=operation,
            repo=repo,
            progress=tell,
        )
        problems = obs.problems
    show(told, json=json)
    finish(told, problems, named_repo=repo is not None)


def show(told: Investigation, *, json: bool) -> None:
    """The verdict on the screen, or the contract's JSON."""
    from obsvty.deliver.verdict import verdict_screen

    if json:
        print_json(told.to_dict())
    else:
        screen = verdict_screen(told)
        # a pipe gets whole lines; a person gets them wrapped where the screen ends
        print(screen.wrapped(shutil.get_terminal_size().columns) if sys.stdout.isatty() else screen)


def finish(told: Investigation, problems: tuple[ObsvtyError, ...], *, named_repo: bool) -> None:
    """Tell what the investigation went on without, and leave with the exit code that fits.

    A repository that nobody named is no failure; one that was named and is not there is, and so is a model that was
    configured and did not answer. The answer is printed all the same.
    """
    from obsvty.errors import RepositoryError

    for problem in problems:
        print_error(problem)
    if any(named_repo or not isinstance(p, RepositoryError) for p in problems):
        raise typer.Exit(1)
    if told.verdict == "no_incident":
        raise typer.Exit(3)


def suspects(
    trace_id: Annotated[str | None, typer.Argument(metavar="[TRACE_ID]", help="32 hex digits.")] = None,
    span: Annotated[str | None, typer.Option("--span", metavar="SPAN_ID", help="16 hex digits.")] = None,
    otlp: Annotated[
        Path | None, typer.Option("--otlp", metavar="FILE", help="OTLP file instead of stored telemetry.")
    ] = None,
    base: Annotated[str, typer.Option("--base", metavar="REV", help="Last good revision, when known.")] = "",
    repo: Repo = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Which commit is behind a span: the ranked suspects, or why none is named."""
    from obsvty.model import suspect_dict

    if (trace_id is None) == (otlp is None):
        raise UsageError("Name a TRACE_ID or --otlp FILE.", hint="obsvty suspects --help")
    if otlp is not None:
        if repo is None:
            raise UsageError("--otlp needs --repo PATH.")
        from obsvty.once import suspects_in_file

        answer = suspects_in_file(otlp, repo=repo, base=base, settings=read_settings())
    else:
        with open_data(data) as obs:
            answer = obs.suspects(trace_id or "", span, repo=repo, base=base)
    if json:
        verdict = "code_change" if answer.suspects else "inconclusive"
        print_json(
            {
                "suspects": [suspect_dict(s) for s in answer.suspects],
                "verdict": verdict,
                "candidates": answer.candidates,
                "base": answer.base,
                "revision": answer.head,
                "base_reason": answer.base_reason,
                "abstained": answer.abstained,
            }
        )
    else:
        _print_suspects(answer)
    if not answer.suspects:
        raise typer.Exit(3)


def _print_suspects(answer: Attribution) -> None:
    print(f"{answer.candidates} candidates in {answer.base[:12]}..{answer.head[:12]} ({answer.base_reason})")
    if not answer.suspects:
        print(f"No commit explains this: {answer.abstained}")
    for s in answer.suspects[:5]:
        print(
            f'{s.rank}. {s.commit.revision[:12]} {s.probability:.2f}  "{s.commit.subject}" · {s.commit.author}'
        )
        for reason in s.reasons:
            print(f"     {reason}")
        for h in s.hunks[:3]:
            print(f"     {h.place}")


def compare(
    start: Annotated[str, typer.Option(metavar="T", help="Begin of the window to look at.")],
    end: Annotated[str, typer.Option(metavar="T", help="Its end.")],
    baseline_start: Annotated[str, typer.Option(metavar="T", help="Begin of the window to compare with.")],
    baseline_end: Annotated[str, typer.Option(metavar="T", help="Its end.")],
    service: _Service = None,
    operation: _Operation = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """What differs between two windows: attribute values, operations, instances, revisions."""
    from obsvty.pages import difference_row, differences_page

    now = datetime.now(UTC)
    window = parse_window(start, end, now=now)
    baseline = parse_window(baseline_start, baseline_end, now=now, name="baseline-")
    if window is None or baseline is None:
        raise UsageError("compare needs two windows.")
    with open_data(data) as obs:
        rows = list(obs.compare(baseline, window, service=service, operation=operation))
    if json:
        print_json([difference_row(r) for r in rows])
    elif rows:
        print(differences_page(rows, limit=20)[0])
    if not rows:
        raise NothingFound("Nothing differs.", hint="Choose other windows, or leave out --operation.")


def context(
    incident: IncidentId,
    tokens: Annotated[int, typer.Option("--tokens", help="Budget.")] = 4000,
    repo: Repo = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """The exact sanitized text that a model would get, its token count, and what was redacted by kind."""
    from obsvty.context import count_tokens

    with open_data(data) as obs:
        sanitized = obs.context(_told(obs, incident, repo), budget_tokens=tokens)
    size, count = len(sanitized.text.encode()), count_tokens(sanitized.text)
    if json:
        print_json(
            {
                "incident_id": sanitized.incident_id,
                "text": sanitized.text,
                "tokens": count,
                "bytes": size,
                "redactions": dict(sanitized.redactions),
            }
        )
        return
    print(sanitized.text, end="")
    redacted = ", ".join(f"{kind} {n}" for kind, n in sorted(sanitized.redactions.items())) or "nothing"
    note(f"{count} tokens, {size} bytes; redacted: {redacted}")


def ask(
    incident: IncidentId,
    question: Annotated[str, typer.Argument(metavar="QUESTION")],
    repo: Repo = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """One answer about an incident, with citations."""
    with open_data(data) as obs:
        answer = obs.ask(_told(obs, incident, repo), question)
    if json:
        print_json(
            {
                "engine": answer.engine,
                "answer": answer.cause,
                "suggestion": answer.suggestion,
                "citations": list(answer.citations),
                "struck": list(answer.struck),
                "tokens": answer.tokens,
                "note": answer.note,
            }
        )
        return
    print(answer.cause)
    if answer.suggestion:
        print(answer.suggestion)
    if answer.citations:
        print(f"[{' '.join(answer.citations)}]")
    for claim in answer.struck:
        note(f"struck out, the evidence does not say it: {claim}")
    if answer.note:
        note(f"({answer.engine} engine: {answer.note})")


def alert(
    incident: IncidentId,
    to: Annotated[
        str | None, typer.Option("--to", metavar="NAME", help="Default: all of [alerts] to.")
    ] = None,
    repo: Repo = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Send the alert of an incident; a second time edits the first."""
    with open_data(data) as obs:
        deliveries = obs.alert(_told(obs, incident, repo), to=to)
    if json:
        print_json([{"destination": d.destination, "reference": d.reference} for d in deliveries])
    for d in [] if json else deliveries:
        print(f"delivered to {d.destination} {d.reference}".rstrip())


def report(
    incident: IncidentId,
    to: Annotated[str, typer.Option("--to", help="html, md, pdf or ipynb.")] = "html",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: beside the notebook.")
    ] = None,
    repo: Repo = None,
    data: Data = None,
) -> None:
    """The incident as a document; the notebook it is made from is kept with its data."""
    with open_data(data) as obs, progress(total_steps=5) as tell:
        told = _told(obs, incident, repo)
        tell("Running the notebook")
        path = obs.report(told, to=to, output=output)
    print(path)


def _told(obs: Session, incident: str, repo: Path | None) -> Investigation:
    told = obs.investigate(incident, repo=repo)
    for problem in obs.problems:
        print_error(problem)
    if told.verdict == "no_incident":
        raise NothingFound("No incident.")
    return told
