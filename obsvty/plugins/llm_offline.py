"""The engine without a model: it writes from the measured facts, on this machine, and says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from pydantic import ValidationError

from obsvty.errors import EngineError
from obsvty.model import JsonObject, JsonValue
from obsvty.plugins.offline_answers import answer
from obsvty.plugins.offline_explain import Sentence, cause, suggestion, without_markup
from obsvty.plugins.offline_facts import Facts
from obsvty.ports import Completion, LLMEngine

if TYPE_CHECKING:
    from obsvty.privacy import Egress, SanitizedContext, SanitizedText

_MARKER = "QUESTION:"  # stands before what a person asked; a question without it is taken whole


class OfflineEngine(LLMEngine):
    """Equal facts and questions give equal answers. Nothing leaves, so nothing is recorded."""

    name: ClassVar[str] = "offline"

    @property
    def destination(self) -> str:
        """Nowhere."""
        return ""

    def complete(
        self,
        instructions: SanitizedText,
        context: SanitizedContext,
        question: SanitizedText,
        *,
        schema: JsonObject,
        egress: Egress,
    ) -> Completion:
        """The answer in the form of `schema`: cause, suggestion and suspect, or `answer`; plain text without one."""
        del instructions, egress
        facts = _facts(context)
        properties = schema.get("properties")
        wanted = set(properties) if isinstance(properties, dict) else set[str]()
        asked = question.text.rpartition(_MARKER)[2].strip()
        if "cause" in wanted:
            told: dict[str, JsonValue] = {
                "cause": _claims(cause(facts)),
                "suggestion": _claims(suggestion(facts)),
                "suspect": facts.suspects[0].revision if facts.suspects else None,
            }
            return Completion(text=json.dumps(told, ensure_ascii=False))
        sentences = answer(asked, facts)
        if wanted:
            return Completion(
                text=json.dumps({next(iter(sorted(wanted))): _claims(sentences)}, ensure_ascii=False)
            )
        lines = [
            without_markup(s.text) + (f" [{' '.join(s.citations)}]" if s.citations else "") for s in sentences
        ]
        return Completion(text="\n".join([*lines, "(No model was asked.)"]))


def _claims(sentences: list[Sentence]) -> list[JsonValue]:
    return [{"text": without_markup(s.text), "citations": list(s.citations)} for s in sentences]


def _facts(context: SanitizedContext) -> Facts:
    try:
        return Facts.model_validate(context.facts)
    except ValidationError:
        raise EngineError(
            "The facts of the incident are not in the form that the offline engine reads.",
            hint="Make the context with obsvty.context.build_facts.",
        ) from None  # its message quotes the facts
