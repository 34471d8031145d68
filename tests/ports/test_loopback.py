"""The loopback servers keep what they received and answer as scripted; what they refuse is what the vendors refuse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPConnection, RemoteDisconnected
from typing import Any
from urllib.parse import urlsplit

import pytest

from obsvty.ports.testing import Loopback, LoopbackOpenAI, LoopbackSlack, Reply, make_repository


def post(
    server: Loopback, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    connection = HTTPConnection(urlsplit(server.origin).netloc, timeout=5)
    try:
        connection.request("POST", path, json.dumps(body or {}), dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_requests_are_kept_byte_for_byte() -> None:
    with LoopbackOpenAI() as server:
        post(server, "/v1/chat/completions", {"messages": []}, {"X-Name": "Value"})
        request = server.requests[0]
    assert (request.path, request.body) == ("/v1/chat/completions", b'{"messages": []}')
    assert request.headers["x-name"] == "Value"


def test_script_is_answered_in_order_and_then_the_default() -> None:
    with LoopbackOpenAI() as server:
        server.fail(503)
        server.answer("first")
        server.script(Reply(status=418))
        statuses = [post(server, "/v1/chat/completions")[0] for _ in range(4)]
    assert statuses == [503, 200, 418, 200]


def test_dropped_connection_has_no_answer() -> None:
    with LoopbackOpenAI() as server:
        server.drop()
        with pytest.raises((RemoteDisconnected, ConnectionError)):
            post(server, "/v1/chat/completions")


def test_default_answer_follows_the_schema() -> None:
    claims = {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "text": {"type": "string"},
                "citations": {"type": "array", "items": {"type": "string", "enum": ["E7", "E8"]}},
            },
        },
    }
    schema = {"properties": {"cause": claims, "suspect": {"enum": ["abc", None]}}}
    asked = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    with LoopbackOpenAI() as server:
        _, body = post(server, "/v1/chat/completions", asked)
    assert json.loads(json.loads(body)["choices"][0]["message"]["content"]) == {
        "cause": [{"text": "The loopback server wrote this cause.", "citations": ["E7"]}],
        "suspect": "abc",
    }


def test_slack_wants_token_channel_and_limits() -> None:
    with LoopbackSlack(channels={"#alerts": "C1"}) as server:

        def call(method: str, body: Any, token: str = server.token) -> dict[str, Any]:
            _, answer = post(server, f"/api/{method}", body, {"Authorization": f"Bearer {token}"})
            return json.loads(answer)

        assert call("chat.postMessage", {"channel": "#alerts", "text": "x"}, "no")["error"] == "invalid_auth"
        assert call("chat.postMessage", {"channel": "#other", "text": "x"})["error"] == "channel_not_found"
        assert call("chat.postMessage", {"channel": "#alerts"})["error"] == "no_text"
        posted = call("chat.postMessage", {"channel": "#alerts", "text": "x"})
        assert (posted["ok"], posted["channel"]) == (True, "C1")
        edit = {"channel": "C1", "ts": posted["ts"], "text": "y"}
        assert call("chat.update", edit)["ok"]
        assert call("chat.update", {**edit, "channel": "#alerts"})["error"] == "message_not_found"
        assert call("chat.update", {**edit, "ts": "1.0"})["error"] == "message_not_found"
        assert call("chat.delete", edit)["error"] == "unknown_method"
        assert server.messages == {posted["ts"]: edit}


def test_known_repository_is_the_same_everywhere(tmp_path: Any) -> None:
    one, two = make_repository(tmp_path / "one"), make_repository(tmp_path / "two")
    assert (one.root, one.slow, one.merge, one.head) == (two.root, two.slow, two.merge, two.head)
