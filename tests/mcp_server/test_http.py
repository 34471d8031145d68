"""MCP over HTTP, inside a running server: who may ask, and from where."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import anyio
import pytest
from mcp import Client

from obsvty.serve import Ports, serve
from obsvty.settings import Settings, load_settings

TOKEN = "a-token-for-agents"


def settings_of(demo: object, *, http: str = "127.0.0.1:0", token: str | None = None) -> Settings:
    return load_settings(
        store={"dir": demo.data},
        receiver={"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"},
        mcp={"http": http, "token": token},
        watch={"enabled": False},
        git={"repo": str(demo.repo)},
    )


class Running:
    def __init__(self, settings: Settings) -> None:
        self.said: list[str] = []
        self._stop, ready = threading.Event(), threading.Event()
        bound: list[Ports] = []
        keep = {
            "stop": self._stop,
            "ready": lambda ports: (bound.append(ports), ready.set()),
            "tell": self.said.append,
        }
        self._thread = threading.Thread(target=serve, args=(settings,), kwargs=keep)
        self._thread.start()
        assert ready.wait(20)
        self.port = bound[0].health

    def post(self, **headers: str) -> int:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/mcp",
            data=body,
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json, text/event-stream",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as refused:
            refused.close()
            return refused.code

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def running(demo: object) -> Iterator[Running]:
    server = Running(settings_of(demo))
    yield server
    server.stop()


@pytest.fixture
def guarded(demo: object) -> Iterator[Running]:
    server = Running(settings_of(demo, token=TOKEN))
    yield server
    server.stop()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_agent_investigates_over_http_in_both_protocol_eras(running: Running, mode: str) -> None:
    async def talk() -> str:
        async with Client(f"http://127.0.0.1:{running.port}/mcp", mode=mode) as client:
            found = await client.call_tool("find_incidents", {})
            incident = found.structured_content["incidents"][0]["incident_id"]
            brief = await client.call_tool("investigate", {"incident_id": incident})
            return str(brief.structured_content["suspect"])

    assert anyio.run(talk).startswith("d34db33f")


def test_a_foreign_host_and_a_foreign_origin_are_refused(running: Running) -> None:
    assert running.post(Host="evil.example") == 421
    assert running.post(Origin="http://evil.example") == 403


def test_without_the_right_token_nobody_gets_in(guarded: Running) -> None:
    assert guarded.post() == 401
    assert guarded.post(Authorization="Bearer wrong") == 401
    assert guarded.post(Authorization=f"Bearer {TOKEN}") not in (401, 403)
    with urllib.request.urlopen(f"http://127.0.0.1:{guarded.port}/healthz", timeout=5) as answer:
        assert answer.status == 200


def test_it_is_off_where_the_network_could_reach_it_without_a_token(demo: object) -> None:
    server = Running(settings_of(demo, http="0.0.0.0:0"))
    try:
        assert server.post() == 404
        assert any("OBSVTY_MCP__TOKEN" in line for line in server.said)
    finally:
        server.stop()


def test_host_and_origin_are_checked_on_all_interfaces_too(demo: object) -> None:
    server = Running(settings_of(demo, http="0.0.0.0:0", token=TOKEN))
    try:
        assert server.post(Authorization=f"Bearer {TOKEN}", Host="evil.example") == 421
        assert server.post(Authorization=f"Bearer {TOKEN}", Origin="http://evil.example") == 403
    finally:
        server.stop()
