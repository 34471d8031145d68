"""`obsvty demo`: the bundled incident, from OTLP to verdict, alert, notebook and report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from obsvty.cli.ask import finish, show
from obsvty.cli.options import Json
from obsvty.cli.output import Progress, note, progress

if TYPE_CHECKING:
    from obsvty.errors import ObsvtyError
    from obsvty.model import Investigation
    from obsvty.session import Session

_STEPS = 7


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(demo)


def demo(
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Run the instrumented shop now, about two minutes, instead of the capture."
        ),
    ] = False,
    work: Annotated[
        Path, typer.Option("--work", metavar="DIR", help="Where data, clone, notebook and report go.")
    ] = Path("obsvty-demo"),
    seconds: Annotated[
        int,
        typer.Option(
            "--seconds", min=10, help="With --live: how long each of the two deploys is under load."
        ),
    ] = 40,
    json: Json = False,
) -> None:
    """The bundled incident from OTLP to verdict, alert, notebook and report; offline, no keys."""
    note(
        "Obsvty demo: a shop got slow after a deploy. Which commit, and why?"
    )  # before anything heavy is imported
    from obsvty.demo.bundled import clone_history, import_capture, prepare_work

    with progress(total_steps=_STEPS) as tell:
        data = prepare_work(work)
        repo = clone_history(work / "shop")
        if live:
            _run_live(data, repo, work, seconds, tell)
        else:
            report = import_capture(data, progress=lambda done, total: tell("Importing OTLP", done, total))
            tell("Importing OTLP", 1, 1)
            note(f"{report.spans} spans, {report.logs} logs, {report.points} metric points imported")
        from obsvty.cli.opened import read_settings
        from obsvty.session import Session

        with Session(data, read_settings(data)) as obs:
            told, problems, made = _work_through(obs, repo, tell)
    show(told, json=json)
    lines = [f"{name:<11}{where}" for name, where in [*made, ("data", str(data)), ("code", str(repo))]]
    if json:
        note("\n".join(lines))
    else:
        print("\n" + "\n".join(lines))
        if told.verdict != "no_incident":
            print(f'\nNext: obsvty --data {data} ask {told.incident_id} "what changed?"')
    finish(told, problems, named_repo=True)


def _run_live(data: Path, repo: Path, work: Path, seconds: int, tell: Progress) -> None:
    from obsvty.cli.opened import read_settings
    from obsvty.demo.stream import run_live_demo

    found = run_live_demo(read_settings(data), repo, work, seconds_per_deploy=seconds, progress=tell)
    note(
        f"{found.requests} requests sent; the incident was found in the live stream "
        f"{found.seconds_to_detect:.0f} s after the deploy"
        if found.seconds_to_detect is not None
        else f"{found.requests} requests sent; no incident was found while they streamed in"
    )


def _work_through(
    obs: Session, repo: Path, tell: Progress
) -> tuple[Investigation, tuple[ObsvtyError, ...], list[tuple[str, str]]]:
    """Investigate, alert, report; the story, what it went on without, and the files that were made."""
    from obsvty.errors import AlertError, EgressBlocked

    tell("Detecting")
    told = obs.investigate(repo=repo, progress=tell)
    problems: list[ObsvtyError] = [*obs.problems]
    made: list[tuple[str, str]] = []
    if told.verdict == "no_incident":
        return told, tuple(problems), made
    tell("Alerting")
    try:
        made += [("alert", _here(d.destination)) for d in obs.alert(told)]
    except (AlertError, EgressBlocked) as problem:
        problems.append(problem)
    tell("Running the notebook")
    page = obs.report(told, to="html")
    made += [("notebook", _here(page.with_suffix(".ipynb"))), ("report", _here(page))]
    return obs.updated(told), tuple(problems), made


def _here(place: str | Path) -> str:
    """A path as seen from the working folder, where it is below it; a URL as it is."""
    path = Path(place)
    return (
        str(path.relative_to(Path.cwd()))
        if path.is_absolute() and path.is_relative_to(Path.cwd())
        else str(place)
    )
