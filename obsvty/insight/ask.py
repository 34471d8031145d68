"""Asks an engine about one incident: what leaves is sanitized and in the ledger, what comes back is checked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

from pydantic import BaseModel, StringConstraints, ValidationError

from obsvty.errors import EngineError
from obsvty.insight.check import Checked, Claim, check_claims
from obsvty.insight.prompts import make_fence, render
from obsvty.model import Insight, JsonObject, JsonValue

if TYPE_CHECKING:
    from obsvty.ports import Completion, LLMEngine
    from obsvty.privacy import Egress, Gate, SanitizedContext

NO_MODEL = "no model was asked"
_CLAIMS = 6  # sentences of an answer; what a model writes beyond them is left out
_HISTORY = 4  # questions of a chat that are told again
_CITED = re.compile(r"\[((?:\s*E\d{1,4}[\s,;]*)+)\]\s*[.!?]?")


class _Claim(BaseModel):
    text: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    citations: list[str] = []


class _Explanation(BaseModel):
    cause: list[_Claim]
    suggestion: list[_Claim] = []
    suspect: str | None = None

    def leading(self) -> list[_Claim]:
        """The claims without which the answer is of no use."""
        return self.cause


class _Reply(BaseModel):
    answer: list[_Claim]

    def leading(self) -> list[_Claim]:
        """The claims without which the answer is of no use."""
        return self.answer


_Form = TypeVar("_Form", _Explanation, _Reply)


def write_insight(
    engine: LLMEngine,
    gate: Gate,
    context: SanitizedContext,
    *,
    evidence_ids: Sequence[str],
    revisions: Sequence[str],
) -> Insight:
    """Cause and suggestion in words, with citations.

    Args:
        engine: who writes; an engine whose `destination` is "" asks no model, and the insight's note says so.
        gate: of the incident; opens the egress that the engine sends through.
        context: what the engine gets to read. Its facts are what the answer is checked against.
        evidence_ids: ids that may be cited.
        revisions: full hashes of the candidate commits, best first. The model's choice among them never changes the
            ranking; when it differs, the note says so.

    Raises:
        EngineError: no answer, or none that is usable after one repair, or no sentence of the cause passed the check.
        EgressBlocked: the gate refused.
    """
    conversation = _Conversation(engine, gate, context, evidence_ids)

    def ask(problems: Sequence[str]) -> str:
        return render(
            "explain_question",
            fence=conversation.fence,
            evidence_ids=evidence_ids,
            revisions=revisions,
            problems=list(problems),
        )

    instructions = render("explain", fence=conversation.fence)
    schema = _explanation_schema(evidence_ids, revisions)
    answer, tokens = conversation.ask(instructions, ask, schema, _Explanation)
    cause, suggestion = conversation.check(answer.cause), conversation.check(answer.suggestion)
    return Insight(
        engine=engine.name,
        cause=cause.text,
        suggestion=suggestion.text,
        citations=tuple(dict.fromkeys((*cause.citations, *suggestion.citations))),
        tokens=tokens,
        struck=cause.struck + suggestion.struck,
        note=_note(engine, answer.suspect, revisions),
    )


def answer_question(
    engine: LLMEngine,
    gate: Gate,
    context: SanitizedContext,
    question: str,
    *,
    evidence_ids: Sequence[str],
    history: Sequence[tuple[str, str]] = (),
) -> Insight:
    """One answer about the incident: `cause` is the answer, `suggestion` is empty.

    Args:
        engine: as for `write_insight`.
        gate: as for `write_insight`.
        context: as for `write_insight`.
        question: raw; it passes the gate like everything else.
        evidence_ids: ids that may be cited.
        history: earlier questions and answers of the same chat; the last four are told again.

    Raises:
        EngineError: no usable answer. EgressBlocked: the gate refused.
    """
    conversation = _Conversation(engine, gate, context, evidence_ids)
    instructions = render("answer", fence=conversation.fence, as_json=True)
    schema = _object({"answer": _claims_schema(evidence_ids)})
    answer, tokens = conversation.ask(
        instructions, lambda problems: _question(conversation, question, history, problems), schema, _Reply
    )
    checked = conversation.check(answer.answer)
    return Insight(
        engine=engine.name,
        cause=checked.text,
        suggestion="",
        citations=checked.citations,
        tokens=tokens,
        struck=checked.struck,
        note=_note(engine, None, ()),
    )


def stream_answer(
    engine: LLMEngine,
    gate: Gate,
    context: SanitizedContext,
    question: str,
    *,
    evidence_ids: Sequence[str],
    history: Sequence[tuple[str, str]] = (),
) -> Iterator[str]:
    """The answer sentence by sentence, each checked before it is shown; a struck one is replaced by the reason.

    Raises:
        EngineError: no answer, perhaps after some sentences. EgressBlocked: the gate refused.
    """
    conversation = _Conversation(engine, gate, context, evidence_ids)
    instructions = gate.text(render("answer", fence=conversation.fence, as_json=False))
    asked = gate.text(_question(conversation, question, history, ()))
    with conversation.egress() as egress:
        for claim in _cited_claims(engine.stream(instructions, context, asked, egress=egress)):
            if not engine.destination and not claim.citations:
                yield f"{claim.text} "  # not a model's: the engine says what it is
                continue
            checked = conversation.check([claim])
            for kept in checked.kept:
                cited = f" [{' '.join(kept.citations)}]" if kept.citations else ""
                yield f"{kept.text}{cited} "
            for reason in checked.reasons:
                yield f"(A sentence was struck: {reason}.) "


class _Conversation:
    """One incident, one engine, one fence."""

    def __init__(
        self, engine: LLMEngine, gate: Gate, context: SanitizedContext, evidence_ids: Sequence[str]
    ) -> None:
        self.engine = engine
        self.gate = gate
        self.context = context
        self.evidence_ids = tuple(evidence_ids)
        self.fence = make_fence(context.text)

    @contextmanager
    def egress(self) -> Generator[Egress]:
        """Permission to send this context to this engine."""
        with self.gate.egress(
            sink="llm",
            destination=self.engine.destination,
            model=self.engine.config.model,
            redactions=self.context.redactions,
        ) as egress:
            yield egress

    def check(self, claims: Sequence[_Claim]) -> Checked:
        """The model's claims against the evidence; more than six are not read."""
        return check_claims(
            [Claim(text=claim.text, citations=tuple(claim.citations)) for claim in claims[:_CLAIMS]],
            evidence_ids=self.evidence_ids,
            facts=self.context.facts,
            context_text=self.context.text,
        )

    def ask(
        self,
        instructions: str,
        question: Callable[[Sequence[str]], str],
        schema: JsonObject,
        form: type[_Form],
    ) -> tuple[_Form, int]:
        """The answer in its form and the tokens it took; a second request says what was wrong with the first answer.

        Raises:
            EngineError: the second answer is of no use either.
        """
        problems: list[str] = []
        tokens = 0
        with self.egress() as egress:
            for _ in range(2):
                completion = self.engine.complete(
                    self.gate.text(instructions),
                    self.context,
                    self.gate.text(question(problems)),
                    schema=schema,
                    egress=egress,
                )
                tokens += completion.prompt_tokens + completion.completion_tokens
                answer, problems = self._read(completion, form)
                if answer is not None:
                    return answer, tokens
        raise EngineError(
            f"The model's answer could not be used, twice: {problems[0]}",
            hint="Choose an [llm] model that follows a JSON schema, or raise [llm] max_tokens.",
        )

    def _read(self, completion: Completion, form: type[_Form]) -> tuple[_Form | None, list[str]]:
        """The answer, or what is wrong with it. Problems repeat none of the model's words."""
        if completion.truncated:
            return None, ["It was cut off before its end. Use fewer words."]
        found = _json_object(completion.text)
        if found is None:
            return None, ["It was not the one JSON object that was asked for."]
        try:
            answer = form.model_validate(found)
        except ValidationError:
            return None, ["It did not have the fields that were asked for, or they were of another type."]
        checked = self.check(answer.leading())
        if not checked.kept and self.engine.destination:  # without a model, asking again gives the same
            reasons = dict.fromkeys(checked.reasons) or ["it was empty"]
            return None, [f"No sentence could be kept: {reason}." for reason in reasons]
        return answer, []


def _question(
    conversation: _Conversation, question: str, history: Sequence[tuple[str, str]], problems: Sequence[str]
) -> str:
    return render(
        "answer_question",
        fence=conversation.fence,
        evidence_ids=conversation.evidence_ids,
        question=" ".join(question.split()),
        history=list(history[-_HISTORY:]),
        problems=list(problems),
    )


def _note(engine: LLMEngine, suspect: str | None, revisions: Sequence[str]) -> str:
    if not engine.destination:
        return NO_MODEL
    told = f"written by {engine.config.model}" if engine.config.model else ""
    if not revisions or suspect == revisions[0]:
        return told
    named = f"it would name {suspect[:7]}" if suspect in revisions and suspect else "it names no commit"
    return "; ".join(x for x in (told, f"{named}, which does not change the ranking") if x)


def _json_object(text: str) -> dict[str, JsonValue] | None:
    """The JSON object in an answer, which servers without a schema may wrap in a code fence or in words."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        found: object = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, JsonValue]", found) if isinstance(found, dict) else None


def _cited_claims(pieces: Iterator[str]) -> Iterator[_Claim]:
    """Streamed text as claims: what stands before `[E1 E2]`, and what is left at the end of a line."""
    waiting = ""
    for piece in pieces:
        waiting += piece
        while True:
            cited = _CITED.search(waiting)
            line = waiting.find("\n")
            if cited is not None and cited.end() < len(waiting) and not 0 <= line < cited.start():
                text, waiting = waiting[: cited.start()], waiting[cited.end() :]
                yield from _claim(text, cited[1])
            elif line >= 0 and (cited is None or line < cited.start()):
                text, waiting = waiting[:line], waiting[line + 1 :]
                yield from _claim(text, "")
            else:
                break
    cited = _CITED.search(waiting)
    yield from _claim(waiting[: cited.start()] if cited else waiting, cited[1] if cited else "")


def _claim(text: str, cited: str) -> Iterator[_Claim]:
    if words := text.strip():
        yield _Claim(text=words[:2000], citations=re.findall(r"E\d+", cited))


def _claims_schema(evidence_ids: Sequence[str]) -> JsonObject:
    one: JsonObject = {"type": "string", "enum": list(evidence_ids)} if evidence_ids else {"type": "string"}
    return {
        "type": "array",
        "items": _object({"text": {"type": "string"}, "citations": {"type": "array", "items": one}}),
    }


def _explanation_schema(evidence_ids: Sequence[str], revisions: Sequence[str]) -> JsonObject:
    claims = _claims_schema(evidence_ids)
    suspect: JsonObject = (
        {"type": ["string", "null"], "enum": [*revisions, None]} if revisions else {"type": "null"}
    )
    return _object({"cause": claims, "suggestion": claims, "suspect": suspect})


def _object(properties: Mapping[str, JsonValue]) -> JsonObject:
    """Strict as OpenAI wants it: every property required, no other allowed."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
