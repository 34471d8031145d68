"""The chat widget, without a browser: what it asks, keeps and tells."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace

from obsvty.context import build_context, build_facts
from obsvty.errors import EngineError
from obsvty.model import EgressSummary, JsonValue
from obsvty.notebook.widgets import InsightChat
from obsvty.privacy import Gate, SanitizedContext


def _answer(question: str) -> Iterator[str | Mapping[str, JsonValue]]:
    yield f"You asked: {question} "
    yield "Three new calls [E2], not E9."
    yield {"engine": "offline", "tokens": 7}


def test_an_answer_is_kept_with_the_evidence_it_cites(context: SanitizedContext) -> None:
    chat = InsightChat(context, _answer)
    assert chat.ask("why?") == "You asked: why? Three new calls [E2], not E9."
    asked, answered = chat.messages
    assert asked == {"role": "user", "text": "why?"}
    assert answered["citations"] == ["E2"]
    assert answered["engine"] == "offline"
    assert answered["tokens"] == 7
    assert not chat.busy


def test_what_left_for_an_answer_is_told_under_it(context: SanitizedContext) -> None:
    sizes = iter([100, 350])
    chat = InsightChat(context, _answer, summary=lambda: EgressSummary(bytes=next(sizes)))
    chat.ask("why?")
    assert chat.messages[-1]["bytes"] == 250
    assert chat.messages[-1]["bytes_in_all"] == 350


def test_stop_keeps_what_has_come_so_far(context: SanitizedContext) -> None:
    def endless(_question: str) -> Iterator[str]:
        while True:
            yield "word "
            chat.stop()

    chat = InsightChat(context, endless)
    assert chat.ask("why?") == "word word "
    assert chat.messages[-1]["stopped"] is True


def test_an_engine_that_fails_is_told_in_the_chat(context: SanitizedContext) -> None:
    def failing(_question: str) -> Iterator[str]:
        yield "It began "
        raise EngineError("The model did not answer.", hint="Check [llm] base_url.")

    chat = InsightChat(context, failing)
    chat.ask("why?")
    assert chat.messages[-1]["error"] == "The model did not answer. Check [llm] base_url."
    assert not chat.busy


def test_a_question_from_the_browser_is_answered_in_a_thread(context: SanitizedContext) -> None:
    threads: list[str] = []

    def answer(_question: str) -> Iterator[str]:
        threads.append(threading.current_thread().name)
        yield "here"

    chat = InsightChat(context, answer)
    done = threading.Event()
    chat.observe(lambda change: done.set() if len(change["new"]) == 2 else None, "messages")
    chat._on_message(chat, {"type": "ask", "text": " why? "}, [])
    assert done.wait(5)
    assert threads != [threading.main_thread().name]
    assert chat.messages[0]["text"] == "why?"


def test_other_messages_from_the_browser_do_nothing(context: SanitizedContext) -> None:
    chat = InsightChat(context, _answer)
    for message in ({}, {"type": "ask"}, {"type": "ask", "text": " "}, {"type": "run", "text": "x"}):
        chat._on_message(chat, message, [])
    assert chat.messages == []


def test_a_secret_in_a_question_is_not_saved_with_the_notebook(context: SanitizedContext, gate: Gate) -> None:
    heard: list[str] = []

    def answer(question: str) -> Iterator[str]:
        heard.append(question)
        yield "no"

    chat = InsightChat(context, answer, clean=gate.text)
    chat.ask("is 4111 1111 1111 1111 the card?")
    assert "4111" not in json.dumps(chat.messages)
    assert len(heard) == 1


def test_everything_that_is_synchronized_is_sanitized(gate: Gate, story: SimpleNamespace) -> None:
    inv = story.INVESTIGATION
    leak = "card 4111 1111 1111 1111 of bob@till.example"
    suspect = replace(
        inv.suspects[0], hunks=(replace(inv.suspects[0].hunks[0], text=f"@@ -1 +1 @@\n+# {leak}"),)
    )
    evidence = (replace(inv.evidence[0], text=leak),)
    raw = replace(inv, summary=leak, suspects=(suspect,), evidence=evidence)
    chat = InsightChat(gate.context(build_context(raw), build_facts(raw)), _answer)
    state = json.dumps({k: v for k, v in chat.get_state().items() if k not in ("_esm", "_css", "layout")})
    assert "4111" not in state
    assert "bob@till.example" not in state
    assert "card" in state


def test_the_suspects_lines_are_at_hand(context: SanitizedContext) -> None:
    chat = InsightChat(context, _answer)
    assert chat.suspect["short"] == "a1b2c3d"
    assert chat.suspect["hunks"] == [
        {
            "file": "app/pay.py",
            "text": "@@ -1,2 +1,4 @@\n def pay():\n+    for i in range(3):\n+        risk.score(i)",
        }
    ]
    assert chat.header["title"] == "POST /pay (till)"
    assert "How do I fix it?" in chat.questions


def test_without_a_suspect_the_chat_offers_to_say_why(gate: Gate, story: SimpleNamespace) -> None:
    raw = replace(story.INVESTIGATION, suspects=(), attribution=None)
    chat = InsightChat(gate.context(build_context(raw), build_facts(raw)), _answer)
    assert chat.suspect == {}
    assert "Why is no commit named?" in chat.questions


def test_the_module_for_the_browser_imports_and_injects_nothing() -> None:
    script = InsightChat._esm.read_text() if hasattr(InsightChat._esm, "read_text") else str(InsightChat._esm)
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "http"):
        assert word not in script
    assert not [line for line in script.splitlines() if line.startswith("import ")]
