"""The four mandated tools and two more, over stdio, driven by the MCP SDK's own client."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult

import obsvty
from mcp_server import build_server


def over_stdio(demo: object, use: Callable[[Client], Awaitable[None]]) -> None:
    arguments = ["-m", "mcp_server", "--data", str(demo.data), "--repo", str(demo.repo)]

    async def talk() -> None:
        async with Client(StdioServerParameters(command=sys.executable, args=arguments)) as client:
            await use(client)

    anyio.run(talk)


def text(result: CallToolResult) -> str:
    assert not result.is_error, result.content
    return "".join(part.text for part in result.content if part.type == "text")


def test_the_tools_answer_on_the_demo_and_each_reply_is_in_the_ledger(demo: object) -> None:
    calls = 0

    async def use(client: Client) -> None:
        nonlocal calls
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"query_traces", "sanitized_context", "commit_for_span", "send_alert"} <= names

        async def call(name: str, **arguments: object) -> CallToolResult:
            nonlocal calls
            calls += 1
            return await client.call_tool(name, arguments)

        found = await call("find_incidents")
        incident = found.structured_content["incidents"][0]["incident_id"]

        page = await call("query_traces", operation="POST /checkout", group_by=["service_version"])
        groups = page.structured_content["groups"]
        assert [(g["key"]["service_version"], g["count"]) for g in groups] == [("1.5.0", 65), ("1.4.0", 59)]
        assert groups[0]["p50_ms"] > 3 * groups[1]["p50_ms"]
        assert "all groups are shown" in text(page)

        answer = await call("commit_for_span", trace_id=groups[0]["slowest_trace"])
        assert answer.structured_content["suspects"][0]["revision"].startswith("d34db33f")
        assert "cards.validate" in str(answer.structured_content) or "validate" in text(answer)

        context = await call("sanitized_context", incident_id=incident, max_tokens=4000)
        assert context.structured_content["redactions"]["card"] >= 1
        assert context.structured_content["tokens"] <= 4000
        assert "@mail.example" not in text(context)

        brief = await call("investigate", incident_id=incident)
        assert brief.structured_content["suspect"].startswith("d34db33f")
        assert obsvty.count_tokens(text(brief)) <= 1500

        differs = await call("compare", incident_id=incident)
        pairs = [(d["key"], d["value"]) for d in differs.structured_content["differences"]]
        assert ("service.version", "1.5.0") in pairs

        edges = (await call("service_map")).structured_content["edges"]
        assert ("shop", "payments") in [(e["source"], e["target"]) for e in edges]

        tree = await call("show_trace", trace_id=groups[0]["slowest_trace"])
        assert tree.structured_content["spans"][0]["name"] == "POST /checkout"
        assert tree.structured_content["total_matched"] > 8

        read = await client.read_resource(f"incident://{incident}")
        assert "d34db33" in read.contents[0].text
        assert "`trace_id`" in (await client.read_resource("obsvty://schema")).contents[0].text
        assert (
            "POST /checkout"
            in (await client.read_resource(f"trace://{groups[0]['slowest_trace']}")).contents[0].text
        )
        calls += 3
        asked = await client.get_prompt("investigate_incident", {"incident_id": incident})
        assert incident in asked.messages[0].content.text

        sent = await call("send_alert", incident_id=incident)
        assert sent.structured_content["sent"] is True

    over_stdio(demo, use)
    assert "d34db33" in (demo.data / "alerts" / "alerts.log").read_text()
    with obsvty.open(demo.data) as session:
        rows = [r for r in session.egress.entries() if r.sink == "mcp"]
        assert len(rows) == calls
        assert session.egress.verify() == []


def test_what_was_foreseen_is_said_and_nothing_else(demo: object) -> None:
    async def use(client: Client) -> None:
        unknown = await client.call_tool("investigate", {"incident_id": "inc-00000000"})
        assert unknown.is_error
        assert "No incident" in unknown.content[0].text
        missing = await client.call_tool("commit_for_span", {"trace_id": "0" * 32})
        assert missing.is_error
        assert "query" in missing.content[0].text
        bad = await client.call_tool("query_traces", {"group_by": ["attributes"]})
        assert bad.is_error

    over_stdio(demo, use)


def test_every_tool_says_when_to_use_it_and_what_it_returns(demo: object) -> None:
    async def listed() -> list[object]:
        async with Client(build_server(obsvty.open(demo.data))) as client:
            return list((await client.list_tools()).tools)

    for tool in anyio.run(listed):
        assert len(tool.description) > 40
        assert tool.output_schema is not None
        assert tool.annotations.read_only_hint is (tool.name != "send_alert")
        for name, parameter in tool.input_schema.get("properties", {}).items():
            assert "type" in parameter or "anyOf" in parameter or "enum" in parameter, (tool.name, name)


def test_command_line_notebook_and_mcp_give_the_same_numbers(demo: object) -> None:
    with obsvty.open(demo.data) as session:
        told = session.investigate(repo=demo.repo).to_dict()
        groups = session.overview(operation="POST /checkout", group_by=("service_version",)).groups
        incident = told["incident_id"]

        async def asked() -> tuple[dict, dict]:
            async with Client(build_server(session, repo=demo.repo)) as client:
                brief = await client.call_tool("investigate", {"incident_id": incident})
                page = await client.call_tool(
                    "query_traces", {"operation": "POST /checkout", "group_by": ["service_version"]}
                )
                return brief.structured_content, page.structured_content

        brief, page = anyio.run(asked)
    assert brief["suspect"] == told["suspects"][0]["revision"]
    assert brief["confidence"] == pytest.approx(told["confidence"], abs=1e-3)
    assert [(g["count"], g["p50_ms"]) for g in page["groups"]] == [(g.count, g.p50_ms) for g in groups]
    lead = told["findings"][0]
    assert page["groups"][0]["p50_ms"] == pytest.approx(lead["after"], abs=1e-3)
    assert page["groups"][1]["p50_ms"] == pytest.approx(lead["before"], abs=1e-3)
