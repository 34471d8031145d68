"""A loopback server that speaks the part of Slack's Web API that alerts need, with Slack's limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from obsvty.model import JsonObject, JsonValue
from obsvty.ports.testing.loopback import Loopback, Received, Reply

_TOTAL_CHARACTERS = 13_200  # of all blocks together; undocumented, slackapi/bolt-js#2509


class LoopbackSlack(Loopback):
    """`base_url` goes into `[alerts.slack] base_url`, `token` is the one it takes, `webhook_url` takes cards as well.

    Messages that a limit of Slack's would refuse are refused. `messages` holds what is on the screen: ts -> body.
    """

    token = "xoxb-loopback"  # noqa: S105 - known to nobody but this server

    def __init__(self, *, channels: Mapping[str, str] | None = None) -> None:
        self.channels = dict(channels or {"#alerts": "C0ALERTS"})
        self.messages: dict[str, dict[str, JsonValue]] = {}
        super().__init__()

    @property
    def base_url(self) -> str:
        """What the Web API client takes as its base URL."""
        return f"{self.origin}/api/"

    @property
    def webhook_url(self) -> str:
        """An incoming webhook."""
        return f"{self.origin}/services/T0/B0/loopback"

    def answer(
        self, body: JsonObject, *, status: int = 200, headers: Mapping[str, str] | None = None, times: int = 1
    ) -> None:
        """Queue answers of the Web API, e.g. `{"ok": False, "error": "channel_not_found"}`."""
        self.script(*[_json(body, status=status, headers=headers or {})] * times)

    def fail(self, error: str, *, times: int = 1) -> None:
        """Queue `{"ok": false, "error": error}` with HTTP 200, as Slack says no."""
        self.answer({"ok": False, "error": error}, times=times)

    def limit(self, *, retry_after_s: int = 0, times: int = 1) -> None:
        """Queue HTTP 429 with `Retry-After`."""
        headers = {"Retry-After": str(retry_after_s)}
        self.answer({"ok": False, "error": "ratelimited"}, status=429, headers=headers, times=times)

    def respond(self, request: Received) -> Reply:
        """What Slack would answer."""
        body = cast("dict[str, JsonValue]", json.loads(request.body or b"{}"))
        if request.path.startswith("/services/"):
            self.messages[f"webhook.{len(self.messages)}"] = body
            return Reply(headers={"content-type": "text/html"}, pieces=(b"ok",))
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _json({"ok": False, "error": "invalid_auth"})
        channel = str(body.get("channel") or "")
        known = self.channels.get(channel) or (channel if channel in self.channels.values() else "")
        if not known:
            return _json({"ok": False, "error": "channel_not_found"})
        refused = broken_limit(body)
        if refused:
            return _json({"ok": False, "error": refused})
        if request.path.endswith("/chat.postMessage"):
            ts = f"1700000000.{len(self.messages):06d}"
        elif request.path.endswith("/chat.update"):
            ts = str(body.get("ts"))
            if ts not in self.messages or channel != known:  # an edit needs the id of the channel
                return _json({"ok": False, "error": "message_not_found"})
        else:
            return _json({"ok": False, "error": "unknown_method"})
        self.messages[ts] = body
        return _json({"ok": True, "channel": known, "ts": ts, "message": body})


def broken_limit(message: JsonObject) -> str:
    """Slack's error for a message that is too big or malformed; "" when it would be taken."""
    blocks = message.get("blocks") or []
    text = str(message.get("text") or "")
    if not isinstance(blocks, list) or len(blocks) > 50:
        return "invalid_blocks"
    if not blocks and not text:
        return "no_text"
    if len(text) > 40_000:
        return "msg_too_long"
    if sum(len(piece) for block in blocks for piece in _strings(block)) > _TOTAL_CHARACTERS:
        return "msg_blocks_too_long"
    return "invalid_blocks" if any(_broken(cast("JsonObject", block)) for block in blocks) else ""


def _broken(block: JsonObject) -> bool:
    kind = block.get("type")
    if kind == "header":
        return not 1 <= len(_text(block.get("text"))) <= 150 or _kind(block.get("text")) != "plain_text"
    if kind == "section":
        fields = _list(block.get("fields"))
        text = block.get("text")
        if text is None and not fields:
            return True
        if text is not None and not 1 <= len(_text(text)) <= 3000:
            return True
        return len(fields) > 10 or any(not 1 <= len(_text(field)) <= 2000 for field in fields)
    if kind == "context":
        elements = _list(block.get("elements"))
        return not 1 <= len(elements) <= 10 or any(not _text(element) for element in elements)
    if kind == "actions":
        return not 1 <= len(_list(block.get("elements"))) <= 25 or any(
            _broken_button(element) for element in _list(block.get("elements"))
        )
    return kind != "divider"


def _broken_button(element: JsonValue) -> bool:
    if not isinstance(element, Mapping):
        return True
    return (
        not 1 <= len(_text(element.get("text"))) <= 75
        or len(str(element.get("value") or "")) > 2000
        or len(str(element.get("url") or "")) > 3000
    )


def _text(value: JsonValue) -> str:
    return str(value.get("text") or "") if isinstance(value, Mapping) else ""


def _kind(value: JsonValue) -> str:
    return str(value.get("type") or "") if isinstance(value, Mapping) else ""


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _strings(value: JsonValue) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [piece for inner in value.values() for piece in _strings(inner)]
    return [piece for inner in _list(value) for piece in _strings(inner)]


def _json(body: JsonObject, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        pieces=(json.dumps(body).encode(),),
    )
