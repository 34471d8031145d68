"""The contracts of the four ports as pytest classes: subclass one, say how the plug-in is made, and run pytest."""

# ruff: noqa: S101 - these are tests; the plug-in author's pytest runs them

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import cast

from obsvty.errors import AlertError, DocumentError, EgressBlocked, EngineError, RevisionUnknown
from obsvty.model import Alert, JsonObject, JsonValue
from obsvty.ports import AlertPlugin, DocGenerator, GitProvider, LLMEngine
from obsvty.ports.testing.openai import LoopbackOpenAI
from obsvty.ports.testing.repository import KnownRepository, make_repository
from obsvty.ports.testing.slack import LoopbackSlack
from obsvty.privacy import Egress, Gate, Ledger

_CLAIMS: JsonObject = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "citations": {"type": "array", "items": {"type": "string", "enum": ["E1"]}},
        },
        "required": ["text", "citations"],
        "additionalProperties": False,
    },
}
SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"cause": _CLAIMS, "suggestion": _CLAIMS, "suspect": {"enum": [None]}},
    "required": ["cause", "suggestion", "suspect"],
    "additionalProperties": False,
}
FACTS: JsonObject = {
    "incident": {
        "id": "inc-contract",
        "service": "shop",
        "operation": "GET /",
        "start": "2026-01-01T00:00:00.000Z",
        "end": "",
        "headline": "GET / of shop is slower",
    },
    "verdict": "inconclusive",
    "confidence": 0.2,
    "findings": [],
    "evidence": [{"id": "E1", "kind": "finding", "text": "latency of shop GET /: 10.0 -> 20.0 ms"}],
}
ALERT = Alert(
    incident_id="inc-contract",
    key="contract-1",
    mark="action_required",
    title="GET / 2x slower: shop",
    summary="p50 10 -> 20 ms",
    why="one new call a request",
    fix="Move the call off the request path.",
    fields=(("Roll back to", "1.4.0"),),
    footer="inc-contract",
    text="GET / 2x slower: shop\np50 10 -> 20 ms",
)


class RefusingEgress(Egress):
    """Refuses every send, as the gate does when its final scan finds something."""

    def __init__(self) -> None:
        """Needs no ledger: it lets nothing through."""
        self.asked = 0

    def record(self, body: bytes, *, destination: str = "") -> int:
        """Raises `EgressBlocked`, always."""
        del body, destination
        self.asked += 1
        raise EgressBlocked("The contract test refuses this send.")


def open_gate(folder: Path) -> Gate:
    """A gate with a ledger of its own in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return Gate(ledger=Ledger(folder / "state.db"), incident_id="inc-contract")


class LLMEngineContract:
    """What every engine keeps to. An engine that speaks another protocol overrides `make` and ignores the server."""

    def make(self, server: LoopbackOpenAI) -> LLMEngine:
        """The engine, without retries, pointed at `server`."""
        raise NotImplementedError

    def _complete(self, engine: LLMEngine, gate: Gate, *, egress: Egress | None = None) -> str:
        context = gate.context("[E1] latency of shop GET /: 10.0 -> 20.0 ms", FACTS)
        instructions, question = gate.text("Answer as JSON."), gate.text("What happened?")
        if egress is not None:
            return engine.complete(instructions, context, question, schema=SCHEMA, egress=egress).text
        with gate.egress(sink="llm", destination=engine.destination, model=engine.config.model) as opened:
            return engine.complete(instructions, context, question, schema=SCHEMA, egress=opened).text

    def test_constructing_it_does_no_io(self) -> None:
        """No request is made before there is a question."""
        with LoopbackOpenAI() as server:
            engine = self.make(server)
            assert engine.name
            assert isinstance(engine.destination, str)
            assert server.requests == []

    def test_answer_is_json_that_follows_the_schema(self, tmp_path: Path) -> None:
        """`cause`, `suggestion` and `suspect` are there."""
        with LoopbackOpenAI() as server:
            text = self._complete(self.make(server), open_gate(tmp_path))
        answer = cast("dict[str, JsonValue]", json.loads(text))
        assert {"cause", "suggestion", "suspect"} <= set(answer)

    def test_ledger_holds_exactly_the_bytes_that_left(self, tmp_path: Path) -> None:
        """An engine without a destination sends nothing; any other records each body."""
        gate = open_gate(tmp_path)
        with LoopbackOpenAI() as server:
            engine = self.make(server)
            self._complete(engine, gate)
            bodies = [entry.body for entry in gate.ledger.entries()]
            if engine.destination:
                assert bodies
                assert bodies == server.bodies
            else:
                assert (bodies, server.bodies) == ([], [])

    def test_blocked_egress_sends_nothing(self, tmp_path: Path) -> None:
        """`EgressBlocked` reaches the caller as it is, and the server sees no byte."""
        import pytest

        egress = RefusingEgress()
        with LoopbackOpenAI() as server:
            engine = self.make(server)
            if engine.destination:
                with pytest.raises(EgressBlocked):
                    self._complete(engine, open_gate(tmp_path), egress=egress)
                assert egress.asked == 1
            else:
                assert self._complete(engine, open_gate(tmp_path), egress=egress)
                assert egress.asked == 0
            assert server.requests == []

    def test_failing_server_is_an_engine_error_with_a_hint(self, tmp_path: Path) -> None:
        """The server's words are in neither message nor hint."""
        import pytest

        with LoopbackOpenAI() as server:
            engine = self.make(server)
            if not engine.destination:
                return
            server.fail(500, "the server's own words", times=20)
            with pytest.raises(EngineError) as caught:
                self._complete(engine, open_gate(tmp_path))
        assert caught.value.hint
        assert "own words" not in str(caught.value)

    def test_stream_gives_the_answer_in_pieces(self, tmp_path: Path) -> None:
        """At least one piece, and some text."""
        gate = open_gate(tmp_path)
        with LoopbackOpenAI() as server:
            engine = self.make(server)
            context = gate.context("[E1] latency of shop GET /: 10.0 -> 20.0 ms", FACTS)
            with gate.egress(sink="llm", destination=engine.destination) as egress:
                pieces = list(engine.stream(gate.text("Answer."), context, gate.text("Why?"), egress=egress))
        assert "".join(pieces).strip()


class AlertPluginContract:
    """What every alert plug-in keeps to."""

    def make(self, server: LoopbackSlack, folder: Path) -> AlertPlugin:
        """The plug-in, pointed at `server` or writing into `folder`."""
        raise NotImplementedError

    def test_constructing_it_does_no_io(self, tmp_path: Path) -> None:
        """Neither a request nor a file."""
        with LoopbackSlack() as server:
            plugin = self.make(server, tmp_path / "out")
            assert plugin.name
            assert plugin.destination
            assert server.requests == []
            assert not (tmp_path / "out").exists()

    def test_ledger_holds_exactly_the_bytes_that_left(self, tmp_path: Path) -> None:
        """For a send and an update."""
        gate = open_gate(tmp_path / "data")
        alert = gate.alert(ALERT)
        with LoopbackSlack() as server:
            plugin = self.make(server, tmp_path / "out")
            with gate.egress(sink=plugin.name, destination=plugin.destination) as egress:
                first = plugin.send(alert, egress=egress)
                again = plugin.update(alert, first, egress=egress)
            assert first.destination
            assert again.destination
            assert [entry.body for entry in gate.ledger.entries()] == server.bodies

    def test_blocked_egress_sends_nothing(self, tmp_path: Path) -> None:
        """`EgressBlocked` reaches the caller as it is; what stays on this machine needs no egress."""
        import pytest

        gate = open_gate(tmp_path / "data")
        with LoopbackSlack() as server:
            plugin = self.make(server, tmp_path / "out")
            if plugin.destination.startswith("http"):
                with pytest.raises(EgressBlocked):
                    plugin.send(gate.alert(ALERT), egress=RefusingEgress())
            else:
                plugin.send(gate.alert(ALERT), egress=RefusingEgress())
            assert server.requests == []

    def test_failing_server_is_an_alert_error_with_a_hint(self, tmp_path: Path) -> None:
        """Silence is no answer."""
        import pytest

        gate = open_gate(tmp_path / "data")
        with LoopbackSlack() as server:
            plugin = self.make(server, tmp_path / "out")
            if not plugin.destination.startswith("http"):
                return
            server.answer({"ok": False, "error": "fatal_error"}, status=500, times=20)
            with (
                gate.egress(sink=plugin.name, destination=plugin.destination) as egress,
                pytest.raises(AlertError) as caught,
            ):
                plugin.send(gate.alert(ALERT), egress=egress)
        assert caught.value.hint


class DocGeneratorContract:
    """What every generator keeps to."""

    def make(self) -> DocGenerator:
        """The generator."""
        raise NotImplementedError

    def notebook(self) -> JsonObject:
        """A small notebook with text, code and an output."""
        cells: list[JsonValue] = [
            {"cell_type": "markdown", "id": "one", "metadata": {}, "source": "# A report\n\nHello."},
            {
                "cell_type": "code",
                "id": "two",
                "metadata": {},
                "source": "40 + 2",
                "execution_count": 1,
                "outputs": [
                    {
                        "output_type": "execute_result",
                        "execution_count": 1,
                        "metadata": {},
                        "data": {"text/plain": "42"},
                    }
                ],
            },
        ]
        return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}

    def test_every_format_renders_or_says_what_is_missing(self, tmp_path: Path) -> None:
        """A file with bytes, a media type and a suffix; else a `DocumentError` with a hint."""
        generator = self.make()
        document = open_gate(tmp_path).document("report", self.notebook())
        assert generator.formats
        for name in generator.formats:
            try:
                rendered = generator.render(document, name)
            except DocumentError as exc:
                assert exc.hint, f"{name}: {exc}"  # noqa: PT017 - either outcome is allowed
            else:
                assert rendered.data, name
                assert "/" in rendered.media_type
                assert rendered.suffix.startswith(".")

    def test_unknown_format_is_a_document_error(self, tmp_path: Path) -> None:
        """And not a traceback of a library."""
        import pytest

        document = open_gate(tmp_path).document("report", self.notebook())
        with pytest.raises(DocumentError):
            self.make().render(document, "no-such-format")

    def test_html_asks_nothing_of_the_network(self, tmp_path: Path) -> None:
        """No script, style, image or font from elsewhere."""
        generator = self.make()
        if "html" not in generator.formats:
            return
        document = open_gate(tmp_path).document("report", self.notebook())
        page = generator.render(document, "html").data.decode()
        assert not re.findall(r"""<(?:script|img|iframe)[^>]+src\s*=\s*["']?(?:https?:)?//""", page)
        assert not re.findall(r"""<link[^>]+href\s*=\s*["']?(?:https?:)?//""", page)
        assert not re.findall(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""", page)


class GitProviderContract:
    """What every provider keeps to. A remote provider's `make` serves the same repository through its protocol."""

    def make(self, repository: KnownRepository) -> GitProvider:
        """The provider for `repository.path`."""
        raise NotImplementedError

    def _made(self, tmp_path: Path) -> tuple[GitProvider, KnownRepository]:
        repository = make_repository(tmp_path)
        return self.make(repository), repository

    def test_abbreviated_hash_tag_and_branch_resolve(self, tmp_path: Path) -> None:
        """To the full revision."""
        provider, known = self._made(tmp_path)
        assert provider.resolve(known.slow[:9]) == known.slow
        assert provider.resolve("v1") == known.base
        assert provider.resolve("main") == known.head

    def test_unknown_revision_is_an_error_and_never_an_empty_answer(self, tmp_path: Path) -> None:
        """Whoever asks for it; options of git's command line are no revisions either."""
        import pytest

        provider, known = self._made(tmp_path)
        for unknown in ("0" * 40, "no-such-branch", "--all", ""):
            with pytest.raises(RevisionUnknown):
                provider.resolve(unknown)
        with pytest.raises(RevisionUnknown):
            provider.commits("0" * 40, known.head)

    def test_candidates_are_exactly_what_lies_between(self, tmp_path: Path) -> None:
        """Merged branches included, unmerged ones and ancestors of the base never."""
        provider, known = self._made(tmp_path)
        found = [commit.revision for commit in provider.commits(known.base, known.head)]
        assert set(found) == {known.slow, known.side, known.merge, known.head}
        assert found[0] == known.head
        assert known.elsewhere not in found

    def test_commit_tells_who_when_and_what(self, tmp_path: Path) -> None:
        """Author, time with zone, subject and parents."""
        provider, known = self._made(tmp_path)
        commit = next(c for c in provider.commits(known.base, known.head) if c.revision == known.slow)
        assert (commit.author, commit.subject) == ("Bo Lind", "Ask the issuer three times")
        assert commit.time.tzinfo is not None
        assert commit.parents == (known.base,)

    def test_diff_is_against_the_first_parent(self, tmp_path: Path) -> None:
        """A root commit's is against nothing, a merge's is empty, and names are not quoted."""
        provider, known = self._made(tmp_path)
        assert "+    return ask() + ask() + ask()" in provider.diff(known.slow)
        assert "+def pay():" in provider.diff(known.root)
        assert provider.diff(known.merge) == ""
        assert "docs/größe.md" in provider.diff(known.side)

    def test_blame_names_the_commit_of_each_line(self, tmp_path: Path) -> None:
        """Or nothing at all, for a provider without blame."""
        provider, known = self._made(tmp_path)
        assert provider.blame(known.head, "app.py", 1, 99) in (
            {1: known.root, 2: known.slow, 3: known.root},
            {},
        )
        assert provider.blame(known.head, "no/such/file.py", 1, 3) == {}

    def test_files_are_those_of_the_revision_that_are_text(self, tmp_path: Path) -> None:
        """Matched by a glob, as they were then."""
        provider, known = self._made(tmp_path)
        assert provider.files(known.head, "docs/*") == {"docs/größe.md": "# Größe\n\nBig.\n"}
        assert provider.files(known.base, "**/*.md") == {"README.md": "# Shop\n\nSells things.\n"}
