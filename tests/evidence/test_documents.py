from collections.abc import Callable
from typing import Protocol

from inline_snapshot import snapshot

from obsvty.evidence.clues import Clues
from obsvty.evidence.documents import document_words, find_documents
from obsvty.evidence.suspects import rank_suspects
from obsvty.model import OperationDiff
from obsvty.plugins.git_local import LocalGitProvider


class History(Protocol):
    commit: Callable[..., str]
    provider: Callable[[], LocalGitProvider]


def test_the_shops_page_about_slow_partner_calls_is_found_for_new_synchronous_calls(
    shop: LocalGitProvider, shop_diff: OperationDiff
) -> None:
    clues = Clues(
        service="shop", operation="POST /checkout", delta_ms=shop_diff.delta_ms, edges=shop_diff.edges
    )
    running = shop.resolve("main")
    suspect = rank_suspects(shop, clues, base="7831108", head=running, base_reason="").suspects[0]
    found = find_documents(shop, running, document_words(clues, suspect))
    assert [(d.path, d.title, d.revision) for d in found[:1]] == [
        ("docs/async-payment.md", "Doing slow partner calls off the request path", running)
    ]
    assert "does not belong in a request handler" in found[0].excerpt


def test_a_document_written_after_the_running_revision_is_not_found(history: History) -> None:
    running = history.commit("start", {"a.py": "a = 1\n"})
    history.commit("docs", {"docs/queue.md": "# Slow calls\n\nPut slow partner calls into the queue.\n"})
    assert find_documents(history.provider(), running, ["slow", "partner", "queue"]) == []


def test_sections_are_passages_of_their_own_and_change_logs_are_no_advice(history: History) -> None:
    running = history.commit(
        "start",
        {
            "docs/guide.rst": "Guide\n=====\n\nHello.\n\nRetries\n-------\n\nUse a timeout and retry slow calls.\n",
            "CHANGELOG.md": "# Changes\n\nslow retry timeout calls\n",
            "README.md": "# Shop\n\n```\n# not a heading: slow\n```\n",
        },
    )
    found = find_documents(history.provider(), running, ["retry", "timeout", "slow"])
    assert [(d.path, d.title, d.excerpt) for d in found] == snapshot(
        [("docs/guide.rst", "Guide: Retries", "Use a timeout and retry slow calls.")]
    )
