"""The whole loop against loopback servers that speak the real wire protocols to the three real SDKs."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from urllib.parse import quote, urlsplit

import pytest
from github_server import LoopbackGitHub

from obsvty.ports.testing import LoopbackOpenAI, LoopbackSlack
from obsvty.session import Session

FIX = "Move these calls off the request path."
_CARD = re.compile(rb"\b4\d{15}\b")
_EMAIL = re.compile(rb"user\d+@mail\.example")


@pytest.fixture(scope="module")
def personal() -> list[str]:
    """The card numbers and e-mail addresses of the capture."""
    raw = gzip.decompress((files("obsvty.demo") / "data" / "shop.otlp.jsonl.gz").read_bytes())
    found = {m.decode() for m in [*_CARD.findall(raw), *_EMAIL.findall(raw)]}
    assert sum("@" not in x for x in found) == 65
    assert sum("@" in x for x in found) == 64
    return sorted(found)


def encodings(value: str) -> Iterator[bytes]:
    """How a value could hide in a payload."""
    plain = value.encode()
    yield plain
    yield quote(value, safe="").encode()
    yield quote(quote(value, safe=""), safe="").encode()
    yield plain.hex().encode()
    yield "".join(f"\\u{ord(c):04x}" for c in value).encode()
    yield "".join(f"&#{ord(c)};" for c in value).encode()
    for lead in range(3):  # base64 of the value at each of the three alignments
        coded = base64.b64encode(b"x" * lead + plain).decode()
        inner = coded[4 if lead else 0 : len(coded) // 4 * 4 - 4]
        if len(inner) >= 12:
            yield inner.encode()
            yield inner.replace("+", "-").replace("/", "_").encode()
    yield " ".join(value[i : i + 4] for i in range(0, len(value), 4)).encode()
    yield "-".join(value[i : i + 4] for i in range(0, len(value), 4)).encode()


@pytest.fixture
def servers(demo: object) -> Iterator[tuple[LoopbackOpenAI, LoopbackSlack, LoopbackGitHub]]:
    with LoopbackOpenAI() as model, LoopbackSlack() as slack, LoopbackGitHub(demo.repo) as github:
        yield model, slack, github


@pytest.fixture
def connected(
    servers: tuple[LoopbackOpenAI, LoopbackSlack, LoopbackGitHub], open_demo: Callable[..., Session]
) -> Iterator[Session]:
    model, slack, github = servers
    session = open_demo(
        llm={"engine": "openai", "base_url": model.base_url, "model": "m", "api_key": "llm-key"},
        git={"provider": "github", "repo": github.name, "base_url": github.base_url, "token": "git-token"},
        alerts={
            "to": ["slack"],
            "slack": {"channel": "#alerts", "base_url": slack.base_url, "token": slack.token},
        },
    )
    with session:
        yield session


def test_the_whole_loop_tells_slack_the_commit_and_the_fix(
    connected: Session, servers: tuple[LoopbackOpenAI, LoopbackSlack, LoopbackGitHub], personal: list[str]
) -> None:
    model, slack, github = servers
    model.answer(
        {
            "cause": [{"text": "Requests became slower.", "citations": ["E1"]}],
            "suggestion": [{"text": FIX, "citations": ["E1"]}],
            "suspect": None,
        }
    )

    told = connected.investigate()
    delivered = connected.alert(told)

    assert connected.problems == ()
    assert told.suspects[0].commit.revision.startswith("d34db33f")
    assert told.insight.engine == "openai"
    assert told.insight.suggestion == FIX

    assert len(delivered) == 1
    card = next(r.body for r in slack.requests if r.path.endswith("chat.postMessage"))
    assert b"d34db33" in card
    assert FIX.encode() in card

    everything = [*model.bodies, *slack.bodies, *(r.path.encode() for r in github.requests)]
    assert model.bodies
    for value in personal:
        for coded in encodings(value):
            assert not any(coded.lower() in body.lower() for body in everything), "a value left this machine"

    rows = connected.egress.entries()
    assert [r.body for r in rows if r.sink == "llm"] == model.bodies
    assert [r.body for r in rows if r.sink == "slack"] == slack.bodies
    asked = [r.body.decode() for r in rows if r.sink == "github"]
    assert [_path(line) for line in asked] == [r.path for r in github.requests]
    assert len(rows) == len(model.bodies) + len(slack.bodies) + len(github.requests)
    assert connected.egress.verify() == []
    for secret in (b"llm-key", b"git-token", slack.token.encode()):
        assert not any(secret in r.body for r in rows)


def _path(line: str) -> str:
    method, url = line.split(" ", 1)
    assert method == "GET"
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def test_the_ledger_says_what_left_and_the_investigation_says_so_too(
    connected: Session, servers: tuple[LoopbackOpenAI, LoopbackSlack, LoopbackGitHub]
) -> None:
    told = connected.investigate()
    connected.alert(told)
    updated = connected.updated(told)
    rows = connected.egress.entries(incident_id=told.incident_id)
    assert updated.egress.entries == len(rows) > 0
    assert updated.egress.bytes == sum(len(r.body) for r in rows)
    assert updated.egress.redactions["card"] > 0
    assert updated.egress.redactions["email"] > 0
