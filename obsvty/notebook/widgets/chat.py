"""A chat about one incident: the answer streams in, citations open their evidence, the suspect's lines are at hand."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, cast

import anywidget
import traitlets

from obsvty.errors import ObsvtyError
from obsvty.model import EgressSummary, JsonValue
from obsvty.notebook.widgets import story
from obsvty.privacy import SanitizedContext, SanitizedText

_FOLDER: Final = Path(__file__).parent
_FLUSH_S: Final = 0.05  # deltas are sent together this often; a message a token makes Lab lag behind
_CITATION: Final = re.compile(r"\bE\d+\b")


class InsightChat(anywidget.AnyWidget):
    """Ask about an incident in a notebook; `ask` does the same from code, without a browser.

    Everything that is synchronized comes from the sanitized context, from the engine that saw nothing else, or is the
    reader's own question: a saved notebook holds it.

    Args:
        context: what may be shown and asked about.
        answer: yields the answer in pieces; a mapping among them adds details: `engine`, `tokens`, `citations`.
        summary: what has left this machine for the incident so far; told under each answer.
        clean: sanitizes questions before they are kept, so that a pasted secret is not saved with the notebook.
    """

    _esm = _FOLDER / "chat.js"
    _css = _FOLDER / "chat.css"

    messages = traitlets.List().tag(sync=True)
    header = traitlets.Dict().tag(sync=True)
    evidence = traitlets.List().tag(sync=True)
    suspect = traitlets.Dict().tag(sync=True)
    questions = traitlets.List().tag(sync=True)
    busy = traitlets.Bool(default_value=False).tag(sync=True)

    def __init__(
        self,
        context: SanitizedContext,
        answer: Callable[[str], Iterator[str | Mapping[str, JsonValue]]] | Callable[[str], Iterator[str]],
        *,
        summary: Callable[[], EgressSummary] = EgressSummary,
        clean: Callable[[str], SanitizedText] | None = None,
    ) -> None:
        super().__init__(
            header=story.header(context),
            evidence=story.evidence(context),
            suspect=story.suspect(context),
            questions=story.questions(context),
        )
        self._known = {str(item["id"]) for item in story.evidence(context)}
        self._answer = answer
        self._summary = summary
        self._clean = clean
        self._stop = threading.Event()
        self._one = threading.Lock()  # one answer at a time
        self.on_msg(self._on_message)

    def ask(self, question: str) -> str:
        """Ask and wait; the answer's text. The conversation is in `messages`."""
        with self._one:
            self._stop.clear()
            self.busy = True
            try:
                return self._converse(question)
            finally:
                self.busy = False

    def stop(self) -> None:
        """Stop the answer that is being given; what has come so far is kept."""
        self._stop.set()

    def _on_message(self, _widget: object, content: Mapping[str, object], _buffers: object) -> None:
        """From the browser: a question, or stop. Answers run in a thread, so that the kernel stays free."""
        match content:
            case {"type": "ask", "text": str(text)} if text.strip():
                threading.Thread(target=self.ask, args=(text.strip(),), daemon=True).start()
            case {"type": "stop"}:
                self.stop()
            case _:
                pass

    def _converse(self, question: str) -> str:
        kept = self._clean(question).text if self._clean else question
        self._add({"role": "user", "text": kept})
        before = self._summary()
        self.send({"type": "start"})
        parts: list[str] = []
        details: dict[str, JsonValue] = {}
        try:
            self._stream(question, parts, details)
        except ObsvtyError as exc:
            details["error"] = str(exc)
        text = "".join(parts)
        self._add({"role": "assistant", "text": text, **details, **self._footer(text, details, before)})
        return text

    def _stream(self, question: str, parts: list[str], details: dict[str, JsonValue]) -> None:
        waiting, sent_at = "", 0.0
        for part in self._answer(question):
            if isinstance(part, Mapping):
                details.update(part)
                continue
            parts.append(part)
            waiting += part
            if time.monotonic() - sent_at >= _FLUSH_S:
                self.send({"type": "delta", "text": waiting})
                waiting, sent_at = "", time.monotonic()
            if self._stop.is_set():
                details["stopped"] = True
                break
        if waiting:
            self.send({"type": "delta", "text": waiting})

    def _footer(
        self, text: str, details: Mapping[str, JsonValue], before: EgressSummary
    ) -> dict[str, JsonValue]:
        """Which evidence the answer cites, and what left this machine for it."""
        named = details.get("citations")
        listed = [str(x) for x in named] if isinstance(named, list | tuple) else _CITATION.findall(text)
        now = self._summary()
        return {
            "citations": [c for c in dict.fromkeys(listed) if c in self._known],
            "bytes": now.bytes - before.bytes,
            "bytes_in_all": now.bytes,
        }

    def _add(self, message: dict[str, JsonValue]) -> None:
        self.messages = [*cast("list[dict[str, JsonValue]]", self.messages), message]

    def __repr__(self) -> str:
        return f"InsightChat({len(self.messages)} messages)"
