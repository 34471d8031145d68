"""LLMEngine: who writes the insight."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pydantic import SecretStr

from obsvty.model import JsonObject
from obsvty.privacy import Egress, SanitizedContext, SanitizedText


@dataclass(frozen=True, kw_only=True)
class LLMConfig:
    """What an engine may be told. The key comes from the environment only."""

    model: str = ""
    base_url: str = ""
    api_key: SecretStr | None = None
    timeout_s: float = 60.0
    max_tokens: int = 1024
    max_retries: int = 2


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What came back. `text` is untrusted until insight/check has read it."""

    text: str
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated: bool = False  # the model ran out of max_tokens


class LLMEngine(ABC):
    """Turns a sanitized context and a question into text.

    Constructing an engine does no I/O. `complete` and `stream` raise `EngineError` when there is no usable answer
    (unreachable, refused, rate limited after the retries, timed out), with a hint that names the setting to change.
    Exactly the bytes that leave are handed to `egress.record` before they are sent, retries included.
    """

    name: ClassVar[str]

    def __init__(self, config: LLMConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def destination(self) -> str:
        """URL that the prompt goes to; "" when nothing leaves this process."""

    @abstractmethod
    def complete(
        self,
        instructions: SanitizedText,
        context: SanitizedContext,
        question: SanitizedText,
        *,
        schema: JsonObject,
        egress: Egress,
    ) -> Completion:
        """One answer: JSON text that follows `schema` (a JSON Schema), or plain text when `schema` is empty."""

    def stream(
        self,
        instructions: SanitizedText,
        context: SanitizedContext,
        question: SanitizedText,
        *,
        egress: Egress,
    ) -> Iterator[str]:
        """A plain-text answer in pieces. An engine that cannot stream yields the whole answer once."""
        yield self.complete(instructions, context, question, schema={}, egress=egress).text
