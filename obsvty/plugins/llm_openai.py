"""The model behind an OpenAI-compatible server: OpenAI itself, or one on this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, cast
from urllib.parse import urlsplit

from obsvty.errors import EngineError, SettingsError
from obsvty.model import JsonObject
from obsvty.ports import Completion, LLMConfig, LLMEngine

if TYPE_CHECKING:
    import httpx2
    import openai
    from openai.types.chat import ChatCompletion, ChatCompletionMessageParam
    from openai.types.chat.chat_completion import Choice
    from openai.types.chat.completion_create_params import ResponseFormat

    from obsvty.privacy import Egress, SanitizedContext, SanitizedText

_Answer = TypeVar("_Answer")

_OPENAI = "https://api.openai.com/v1"
_CUT = "\n(The answer was cut: it reached [llm] max_tokens.)"

# Servers that render a chat template as text parse these inside messages too: telemetry must not open a new message.
_CONTROL = re.compile(
    r"<(?=[|\uff5c]|/?s>|</?SYS>>|/?(?:start|end)_of_(?:turn|text)>)|\[(?=/?INST\])", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class _Dialect:
    """What the server has been found to understand; begins with everything and only gets milder."""

    form: Literal["json_schema", "json_object", "plain"] = "json_schema"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True


class OpenAIEngine(LLMEngine):
    """Chat completions through the openai SDK; the model gets no tools.

    Without `base_url` it is OpenAI, which needs a key; servers on this machine need none. Redirects are not followed:
    the destination in the ledger is the one that got the bytes.
    """

    name: ClassVar[str] = "openai"

    def __init__(self, config: LLMConfig) -> None:
        super().__init__(config)
        if not config.model:
            raise SettingsError(
                "No model is chosen.", hint="Set [llm] model, as the server at [llm] base_url calls it."
            )
        if config.api_key is None and not config.base_url:
            raise SettingsError(
                "OpenAI needs a key.",
                hint="Set OBSVTY_LLM__API_KEY, or [llm] base_url for a server that needs none.",
            )
        self._base_url = (config.base_url or _OPENAI).rstrip("/")
        parts = urlsplit(self._base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(
                "[llm] base_url is not an http(s) URL.",
                hint='Write it like "http://127.0.0.1:8080/v1".',
            )
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise SettingsError(
                "[llm] base_url holds a user name, a password or a query.",
                hint="Keep only scheme, host and path; the key goes into OBSVTY_LLM__API_KEY.",
            )
        self._dialect = _Dialect()

    @property
    def destination(self) -> str:
        """The URL that gets the prompt."""
        return f"{self._base_url}/chat/completions"

    def complete(
        self,
        instructions: SanitizedText,
        context: SanitizedContext,
        question: SanitizedText,
        *,
        schema: JsonObject,
        egress: Egress,
    ) -> Completion:
        """One answer; follows `schema` as strictly as the server can be made to."""
        from openai import omit
        from openai.types.chat import ChatCompletion

        messages = _messages(instructions, context, question)
        limit = self.config.max_tokens
        with _explained(self.config), self._client(egress) as client:
            found = self._understood(
                schema,
                lambda dialect: client.chat.completions.create(
                    model=self.config.model,
                    messages=messages,
                    stream=False,
                    temperature=0 if dialect.temperature else omit,
                    max_tokens=limit if dialect.limit == "max_tokens" else omit,
                    max_completion_tokens=limit if dialect.limit == "max_completion_tokens" else omit,
                    response_format=_response_format(dialect, schema) or omit,
                ),
            )
        # The SDK hands a web page through as a string.
        if not isinstance(cast("object", found), ChatCompletion):
            raise _not_openai()
        return _completion(found)

    def stream(
        self,
        instructions: SanitizedText,
        context: SanitizedContext,
        question: SanitizedText,
        *,
        egress: Egress,
    ) -> Iterator[str]:
        """A plain-text answer as it is written."""
        from openai import omit

        messages = _messages(instructions, context, question)
        limit = self.config.max_tokens
        empty = True
        with _explained(self.config), self._client(egress) as client:
            chunks = self._understood(
                {},
                lambda dialect: client.chat.completions.create(
                    model=self.config.model,
                    messages=messages,
                    stream=True,
                    temperature=0 if dialect.temperature else omit,
                    max_tokens=limit if dialect.limit == "max_tokens" else omit,
                    max_completion_tokens=limit if dialect.limit == "max_completion_tokens" else omit,
                ),
            )
            with chunks:
                for chunk in chunks:
                    for choice in chunk.choices or ():
                        if choice.delta.refusal or choice.finish_reason == "content_filter":
                            raise _refused()
                        if choice.delta.content:
                            empty = False
                            yield choice.delta.content
                        if choice.finish_reason == "length":
                            yield _CUT
        if empty:
            raise _empty()

    def _understood(self, schema: JsonObject, call: Callable[[_Dialect], _Answer]) -> _Answer:
        """`call` in the dialect the server understands; what it does not know is left out and remembered."""
        from openai import APIStatusError

        while True:
            try:
                return call(self._dialect)
            except APIStatusError as exc:
                milder = _milder(self._dialect, exc, structured=bool(schema))
                if milder is None:
                    raise
                self._dialect = milder

    @contextmanager
    def _client(self, egress: Egress) -> Generator[openai.OpenAI]:
        """A client whose every request, retries included, is in the ledger before its first byte leaves."""
        from openai import DefaultHttpxClient, OpenAI

        key = self.config.api_key

        def record(request: httpx2.Request) -> None:
            egress.record(request.content, destination=str(request.url))

        def give_up_early(response: httpx2.Response) -> None:
            # The SDK would sleep for up to two minutes when told so; whoever waits for an incident's cause would not.
            asked = response.headers.get("retry-after", "")
            if asked.isdigit() and int(asked) > self.config.timeout_s:
                response.headers["x-should-retry"] = "false"

        # The hook's EgressBlocked passes through the SDK as it is: that one retries and wraps only httpx2's errors.
        http = DefaultHttpxClient(
            event_hooks={"request": [record], "response": [give_up_early]},
            timeout=self.config.timeout_s,
            follow_redirects=False,
        )
        with OpenAI(
            api_key=key.get_secret_value() if key else "none",
            base_url=self._base_url,
            timeout=self.config.timeout_s,
            max_retries=self.config.max_retries,
            http_client=http,
        ) as client:
            yield client


def _messages(
    instructions: SanitizedText, context: SanitizedContext, question: SanitizedText
) -> list[ChatCompletionMessageParam]:
    """Instructions first, question last: the longest stretch that stays the same between two questions leads."""
    return [
        {"role": "system", "content": instructions.text},
        {"role": "user", "content": _CONTROL.sub(r"\g<0> ", context.text)},
        {"role": "user", "content": _CONTROL.sub(r"\g<0> ", question.text)},
    ]


def _response_format(dialect: _Dialect, schema: JsonObject) -> ResponseFormat | None:
    if not schema or dialect.form == "plain":
        return None
    if dialect.form == "json_object":
        return {"type": "json_object"}
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": cast("dict[str, object]", dict(schema))},
    }


def _milder(dialect: _Dialect, exc: openai.APIStatusError, *, structured: bool) -> _Dialect | None:
    """The next dialect to try after a refusal; None when the refusal is about something else."""
    if exc.status_code not in (400, 422):
        return None
    said = f"{exc.param} {exc.message}".lower()
    if _too_long(exc):
        return None
    if dialect.limit == "max_tokens" and "max_completion_tokens" in said:
        return replace(dialect, limit="max_completion_tokens")
    if dialect.temperature and "temperature" in said:
        return replace(dialect, temperature=False)
    # Servers name this refusal in many words (response_format, grammar, schema, guided ...), so any other 400 counts.
    if structured and dialect.form == "json_schema":
        return replace(dialect, form="json_object")
    if structured and dialect.form == "json_object":
        return replace(dialect, form="plain")
    return None


def _too_long(exc: openai.APIStatusError) -> bool:
    said = exc.message.lower()
    words = ("context length", "context size", "context window", "maximum context", "exceed_context_size")
    return exc.code == "context_length_exceeded" or any(word in said for word in words)


def _completion(found: ChatCompletion) -> Completion:
    choices: list[Choice] = found.choices or []  # the SDK does not validate what the server sent
    if not choices or not choices[0].message:
        raise _not_openai()
    choice = choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise _refused()
    truncated = choice.finish_reason == "length"
    if not choice.message.content and not truncated:
        raise _empty()
    usage = found.usage
    return Completion(
        text=choice.message.content or "",
        model=found.model or "",
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        truncated=truncated,
    )


@contextmanager
def _explained(config: LLMConfig) -> Generator[None]:
    """The SDK's errors as ours, with the setting to change.

    A server's own words may repeat the prompt, so neither message nor traceback (`from None`) takes them over.
    """
    import httpx2
    import openai

    unreachable = EngineError(
        "The model's server cannot be reached.", hint="Check [llm] base_url, and that the server runs."
    )
    slow = EngineError(
        "The model did not answer in time.",
        hint=f"Raise [llm] timeout_s (now {config.timeout_s:g}) or take a smaller [llm] model.",
    )
    try:
        yield
    except (openai.APITimeoutError, httpx2.TimeoutException) as exc:
        raise slow from exc
    except (openai.APIConnectionError, httpx2.TransportError) as exc:
        raise unreachable from exc
    except openai.APIStatusError as exc:
        raise _status_error(exc) from None
    except (openai.OpenAIError, httpx2.HTTPError, ValueError):
        raise _not_openai() from None


def _status_error(exc: openai.APIStatusError) -> EngineError:
    status = exc.status_code
    if status in (401, 403):
        return EngineError(
            f"The model's server refused the key (HTTP {status}).", hint="Set OBSVTY_LLM__API_KEY."
        )
    if status == 404:
        return EngineError(
            "The model's server knows no such model or path (HTTP 404).",
            hint="Check [llm] model and [llm] base_url (it usually ends in /v1).",
        )
    if status == 429:
        return EngineError(
            "The model's server refuses more requests for now (HTTP 429), after the retries.",
            hint="Wait, check the account's quota, or choose another server with [llm] base_url.",
        )
    if 300 <= status < 400:
        return EngineError(
            f"The model's server sends us elsewhere (HTTP {status}); obsvty does not follow.",
            hint="Set [llm] base_url to the final address.",
        )
    if status >= 500:
        return EngineError(
            f"The model's server failed (HTTP {status}), after the retries.",
            hint="Look at its log, or choose another server with [llm] base_url.",
        )
    if _too_long(exc):
        return EngineError(
            f"The prompt is longer than the model takes (HTTP {status}).",
            hint="Choose an [llm] model with a larger context, or lower [llm] max_tokens.",
        )
    return EngineError(
        f"The model's server refused the request (HTTP {status}).",
        hint="Check that [llm] model can chat and that [llm] max_tokens is within its limit.",
    )


def _not_openai() -> EngineError:
    return EngineError(
        "The answer is not in the form of OpenAI's chat completions.",
        hint="Check [llm] base_url (it usually ends in /v1).",
    )


def _refused() -> EngineError:
    return EngineError(
        "The model refused to answer.", hint='Choose another [llm] model, or [llm] engine = "offline".'
    )


def _empty() -> EngineError:
    return EngineError(
        "The model's answer is empty.", hint="Choose another [llm] model, or raise [llm] max_tokens."
    )
