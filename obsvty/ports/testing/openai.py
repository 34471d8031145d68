"""A loopback server that speaks OpenAI chat completions, streaming included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from obsvty.model import JsonObject, JsonValue
from obsvty.ports.testing.loopback import Loopback, Received, Reply

_MODEL = "loopback-model"


class LoopbackOpenAI(Loopback):
    """`base_url` goes into `[llm] base_url`. Without a script it answers each request as its JSON schema wants.

    `answer` queues answers of the model, `fail` queues refusals of the server.
    """

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base URL."""
        return f"{self.origin}/v1"

    def answer(
        self,
        *answers: str | JsonObject,
        finish_reason: str = "stop",
        refusal: str | None = None,
        prompt_tokens: int = 100,
        completion_tokens: int = 20,
    ) -> None:
        """Queue answers; an object is sent as its JSON text. Streamed when the request asks for it."""
        for answer in answers:
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self.script(
                _Completion(
                    text=text,
                    finish_reason=finish_reason,
                    refusal=refusal,
                    prompt_tokens=prompt_tokens,
                    completion_tokens=completion_tokens,
                )
            )

    def fail(
        self,
        status: int,
        message: str = "scripted failure",
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
    ) -> None:
        """Queue HTTP errors in OpenAI's form."""
        error = {"message": message, "type": "scripted", "param": param, "code": code}
        reply = Reply(
            status=status,
            headers={"content-type": "application/json", **(headers or {})},
            pieces=(json.dumps({"error": error}).encode(),),
        )
        self.script(*[reply] * times)

    def asked(self, index: int = -1) -> dict[str, JsonValue]:
        """The JSON of a request that came in."""
        return cast("dict[str, JsonValue]", json.loads(self.requests[index].body))

    def respond(self, request: Received) -> Reply:
        """An answer that follows the request's schema and cites the first evidence it may cite."""
        if not request.path.endswith("/chat/completions"):
            return Reply(status=404, headers={"content-type": "application/json"}, pieces=(b"{}",))
        asked = cast("dict[str, JsonValue]", json.loads(request.body))
        return _Completion(text=_plausible(asked))(request)


@dataclass(frozen=True, kw_only=True)
class _Completion:
    text: str
    finish_reason: str = "stop"
    refusal: str | None = None
    prompt_tokens: int = 100
    completion_tokens: int = 20

    def __call__(self, request: Received) -> Reply:
        """Streamed when the request asks for it."""
        asked = cast("dict[str, JsonValue]", json.loads(request.body))
        return _streamed(self) if asked.get("stream") else _whole(self)


def _envelope(kind: str) -> dict[str, JsonValue]:
    return {"id": "chatcmpl-loopback", "object": kind, "created": 1, "model": _MODEL}


def _usage(answer: _Completion) -> dict[str, JsonValue]:
    asked, answered = answer.prompt_tokens, answer.completion_tokens
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


def _whole(answer: _Completion) -> Reply:
    message = {"role": "assistant", "content": answer.text, "refusal": answer.refusal}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}
    body = {**_envelope("chat.completion"), "choices": [choice], "usage": _usage(answer)}
    return Reply(headers={"content-type": "application/json"}, pieces=(json.dumps(body).encode(),))


def _streamed(answer: _Completion) -> Reply:
    words = answer.text.split(" ")
    parts = [word if i == 0 else f" {word}" for i, word in enumerate(words)]
    envelope = _envelope("chat.completion.chunk")
    events: list[JsonValue] = [
        {**envelope, "choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}]}
        for part in parts
    ]
    events.append({**envelope, "choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}]})
    pieces = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    return Reply(headers={"content-type": "text/event-stream"}, pieces=(*pieces, b"data: [DONE]\n\n"))


def _plausible(asked: Mapping[str, JsonValue]) -> str:
    """JSON that follows the request's schema; plain text when it has none."""
    schema = _at(asked, "response_format", "json_schema", "schema", "properties")
    if not isinstance(schema, Mapping):
        return "The evidence is above; the loopback server adds nothing to it. [E1]"
    return json.dumps({name: _example(name, rule) for name, rule in schema.items()})


def _example(name: str, rule: JsonValue) -> JsonValue:
    if name == "suspect":
        allowed = _at(rule, "enum")
        return next(iter(allowed), None) if isinstance(allowed, list) else None
    cited = _at(rule, "items", "properties", "citations", "items", "enum")
    ids = list(cited)[:1] if isinstance(cited, list) else []
    return [{"text": f"The loopback server wrote this {name}.", "citations": ids}]


def _at(value: JsonValue, *keys: str) -> JsonValue:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
