"""`obsvty.open()`: the read side of a data folder, and everything that can be asked of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from obsvty.assembly import find_repository, make_alert_plugin, make_doc_generator, make_engine
from obsvty.errors import NothingFound, ObsvtyError, RepositoryMissing, StoreError, UnknownTrace
from obsvty.model import (
    Attribution,
    Delivery,
    Incident,
    Insight,
    Investigation,
    JsonValue,
    Window,
)
from obsvty.privacy import Gate, SanitizedContext, SanitizedText
from obsvty.privacy.sanitizer import Sanitizer
from obsvty.questions import Questions
from obsvty.settings import Settings, load_settings

if TYPE_CHECKING:
    from obsvty.notebook.widgets import InsightChat
    from obsvty.pipeline import Tools

log = logging.getLogger(__name__)


def open_session(
    data_dir: str | Path | None = None, *, config: Path | None = None, settings: Settings | None = None
) -> Session:
    """Open a data folder for reading.

    Any number of processes may do so while another one receives; each query sees what was acknowledged before it.

    Args:
        data_dir: default `[store] dir`, else `OBSVTY_DATA_DIR`, else the platform's user data folder.
        config: a settings file; default `obsvty.toml` in the working folder, if it is there.
        settings: settings that are already loaded; wins over `config`.

    Raises:
        SettingsError: the settings are wrong.
    """
    chosen = settings or load_settings(config)
    return Session(Path(data_dir) if data_dir is not None else chosen.data_dir, chosen)


class Session(Questions):
    """One data folder, opened for questions. Everything is lazy: opening costs nothing."""

    def __init__(self, data_dir: Path, settings: Settings) -> None:
        super().__init__(data_dir, settings)
        self.problems: tuple[ObsvtyError, ...] = ()  # of the last investigation: what it went on without
        self._gates: dict[str, Gate] = {}
        self._investigations: dict[str, Investigation] = {}

    def __repr__(self) -> str:
        return f"<obsvty.Session {self.data_dir}>"

    def investigate(
        self,
        subject: str | Incident | Window | None = None,
        *,
        baseline: Window | None = None,
        service: str | None = None,
        operation: str | None = None,
        repo: str | Path | None = None,
        progress: Callable[[str], None] = log.debug,
    ) -> Investigation:
        """The whole story of an incident.

        Args:
            subject: an incident or its id (a unique beginning will do), a window, or nothing: the latest incident.
            baseline: what to compare a window with; default: as long before it.
            service: only findings of this service.
            operation: only findings of this operation.
            repo: the clone to look for the commit in; default: the settings, else the working folder.
            progress: told each step's name as it begins.

        Returns:
            The investigation; its verdict is `no_incident` when nothing is wrong. What it went on without (no
            repository, a model that did not answer) is in `problems`.

        Raises:
            UnknownIncident: no incident has that id.
        """
        from obsvty.pipeline import investigate, nothing_found

        incident = self._incident(subject, baseline=baseline, service=service, operation=operation)
        if incident is None:
            self.problems = ()
            return nothing_found(self.traces)
        tools = self._tools(incident, repo)
        outcome = investigate(self.traces, self.logs, incident, tools, progress=progress)
        self.problems = outcome.problems
        told = outcome.investigation
        self._investigations[told.incident_id] = told
        self._remember(incident, told, repo)
        return told

    def _tools(self, incident: Incident, repo: str | Path | None) -> Tools:
        from obsvty.pipeline import Tools

        revision = incident.deployment.to_revision if incident.deployment else ""
        found = find_repository(
            self.settings,
            service=incident.service,
            repo=repo,
            revision=revision,
            gate=self.gate(incident.id),
            remembered=self.state.repository(incident.service),
        )
        return Tools(
            gate=self.gate(incident.id),
            engine=make_engine(self.settings),
            offline=make_engine(self.settings, name="offline"),
            git=found.git if found else None,
            repository=found.label if found else "",
            path=found.path if found else "",
        )

    def _remember(self, incident: Incident, told: Investigation, repo: str | Path | None) -> None:
        """A reader with a read-only data folder (a notebook container) investigates all the same."""
        try:
            self.state.save_investigation(incident, told.to_dict())
            if repo is not None and told.suspects:
                self.state.remember_repository(incident.service, str(Path(repo).resolve()))
        except StoreError as exc:
            log.warning("the investigation of %s was not recorded: %s", told.incident_id, exc.message)

    def _incident(
        self,
        subject: str | Incident | Window | None,
        *,
        baseline: Window | None,
        service: str | None,
        operation: str | None,
    ) -> Incident | None:
        if isinstance(subject, Incident):
            return subject
        if isinstance(subject, str):
            found = [i for i in self.detect() if i.id.startswith(subject)]
            return found[0] if len(found) == 1 else self.state.incident(subject)
        if isinstance(subject, Window):
            from obsvty.detect.windows import incident_of_window

            return incident_of_window(
                self.traces,
                self.logs,
                window=subject,
                baseline=baseline,
                service=service,
                operation=operation,
            )
        matching = [
            i
            for i in self.find_incidents()
            if (service is None or any(f.service == service for f in i.findings))
            and (operation is None or any(f.operation == operation for f in i.findings))
        ]
        return matching[0] if matching else None

    def suspects(
        self,
        trace_id: str,
        span_id: str | None = None,
        *,
        repo: str | Path | None = None,
        base: str = "",
    ) -> Attribution:
        """Which commit is behind a span or a trace.

        Args:
            trace_id: of a stored trace.
            span_id: one span of it; default: the erroring or slowest one.
            repo: the clone; default as in `investigate`.
            base: the last good revision; default: what ran before, as telemetry shows.

        Raises:
            UnknownTrace: it is not stored. RepositoryMissing: there is no repository to look in.
        """
        from obsvty.attribute import attribute_span

        service, revision = self._service_of(trace_id, span_id)
        found = find_repository(
            self.settings,
            service=service,
            repo=repo,
            revision=revision,
            gate=self.gate(),
            remembered=self.state.repository(service),
        )
        if found is None:
            raise RepositoryMissing(
                "No repository was found to look for the commit in.",
                hint="Name a clone with --repo PATH, or set [git] repo in obsvty.toml.",
            )
        return attribute_span(
            self.traces, self.logs, found.git, trace_id, span_id, base=base, path=found.path
        )

    def _service_of(self, trace_id: str, span_id: str | None) -> tuple[str, str]:
        """Service and revision of a span, or of the first span of a trace."""
        spans = self.traces.filter(self.traces.trace_id == trace_id.lower())
        if span_id is not None:
            spans = spans.filter(spans.span_id == span_id.lower())
        rows: list[dict[str, str | None]] = (
            spans.order_by("start_ns")
            .select("service_name", "vcs_revision")
            .limit(1)
            .to_pyarrow()
            .to_pylist()
        )
        if not rows:
            raise UnknownTrace(
                "No stored trace or span has that id.",
                hint='Find one with: obsvty query "select trace_id from traces limit 5"',
            )
        return rows[0]["service_name"] or "", rows[0]["vcs_revision"] or ""

    # ---- what may leave

    def gate(self, incident_id: str = "") -> Gate:
        """The gate of one incident: the same values get the same pseudonyms for as long as the session lives."""
        if incident_id not in self._gates:
            rules = self.settings.privacy
            self._gates[incident_id] = Gate(
                ledger=self.egress,
                incident_id=incident_id,
                sanitizer=Sanitizer(allow=rules.allow, deny=rules.deny, extra=rules.extra),
                offline=self.settings.llm.offline,
            )
        return self._gates[incident_id]

    def sanitize(self, text: str, *, incident_id: str = "") -> SanitizedText:
        """Text that may leave."""
        return self.gate(incident_id).text(text)

    def context(self, subject: Investigation | str, *, budget_tokens: int | None = None) -> SanitizedContext:
        """The exact sanitized text that a model would get about an incident."""
        from obsvty.context import BUDGET_TOKENS, build_context, build_facts

        inv = self._told(subject)
        raw = build_context(inv, budget_tokens=budget_tokens or BUDGET_TOKENS)
        return self.gate(inv.incident_id).context(raw, build_facts(inv))

    def ask(self, subject: Investigation | str, question: str) -> Insight:
        """One answer with citations, from the configured engine. Raises `EngineError` when it does not answer."""
        from obsvty.insight.ask import answer_question

        inv = self._told(subject)
        gate = self.gate(inv.incident_id)
        return answer_question(
            make_engine(self.settings),
            gate,
            self.context(inv),
            question,
            evidence_ids=[e.id for e in inv.evidence],
        )

    def stream(self, subject: Investigation | str, question: str) -> Iterator[str]:
        """The answer in pieces, as the engine gives them."""
        from obsvty.insight.ask import stream_answer

        inv = self._told(subject)
        return stream_answer(
            make_engine(self.settings),
            self.gate(inv.incident_id),
            self.context(inv),
            question,
            evidence_ids=[e.id for e in inv.evidence],
        )

    def chat(self, subject: Investigation | str | None = None) -> InsightChat:
        """A chat about one incident, as a widget for a notebook."""
        from obsvty.notebook.widgets import InsightChat

        inv = self.investigate() if subject is None else self._told(subject)
        if inv.verdict == "no_incident":
            raise NothingFound("There is no incident to talk about.")

        def answer(question: str) -> Iterator[str | dict[str, JsonValue]]:
            yield from self.stream(inv, question)
            yield {"engine": self.settings.llm.engine}

        return InsightChat(
            self.context(inv),
            answer,
            summary=lambda: self.egress.summary(inv.incident_id),
            clean=self.gate(inv.incident_id).text,
        )

    def _told(self, subject: Investigation | str) -> Investigation:
        if isinstance(subject, Investigation):
            return subject
        known = [inv for key, inv in self._investigations.items() if key.startswith(subject)]
        inv = known[0] if len(known) == 1 else self.investigate(subject)
        if inv.verdict == "no_incident":
            raise NothingFound("There is no incident to tell about.")
        return inv

    def updated(self, inv: Investigation) -> Investigation:
        """The same investigation with what has left by now."""
        left = self.egress.summary(inv.incident_id)
        return replace(inv, egress=replace(inv.egress, entries=left.entries, bytes=left.bytes))

    # ---- delivery

    def alert(self, subject: Investigation | str, *, to: str | None = None) -> list[Delivery]:
        """Send the alert of an incident to one configured place, or to all of them; a second call edits the first.

        Raises:
            AlertError: a place did not take it. PluginNotFound, SettingsError: it is not set up.
        """
        from obsvty.deliver.alerts import deliver_alert

        inv = self._told(subject)
        names = (to,) if to else self.settings.alerts.to
        sent = [
            deliver_alert(
                inv,
                plugin=make_alert_plugin(self.settings, n, folder=self.data_dir / "alerts"),
                gate=self.gate(inv.incident_id),
                state=self.state,
            )
            for n in names
        ]
        return [d for d in sent if d is not None]

    def report(
        self, subject: Investigation | str, *, to: str = "html", output: str | Path | None = None
    ) -> Path:
        """The incident as a document: html, md, pdf or ipynb.

        The notebook and the Parquet snapshot that it runs on are written beside it, in `incident-<id>/`.

        Raises:
            DocumentError: the notebook did not run, or the format needs something that is not installed.
        """
        from obsvty.deliver.report import write_report

        inv = self._told(subject)
        return write_report(
            inv,
            reader=self.reader,
            gate=self.gate(inv.incident_id),
            context=self.context(inv),
            ledger=self.egress,
            generator=make_doc_generator(),
            to=to,
            folder=self.data_dir / "reports" / inv.incident_id,
            output=Path(output) if output else None,
        )

    def build_docs(self, folder: Path) -> list[Path]:
        """Write the service catalogue as Markdown; returns the pages that changed.

        Raises:
            NothingFound: telemetry names no service. DocumentError: the folder cannot be written.
        """
        from obsvty.deliver.catalog import build_catalog
        from obsvty.detect import find_deployments

        found = self.service_map()
        return build_catalog(
            folder,
            gate=self.gate(),
            service_map=found,
            operations={
                service: self.overview(service=service, entries=True, group_by=("name",), limit=100)
                for service in found.services
            },
            deployments=find_deployments(self.traces),
        )
