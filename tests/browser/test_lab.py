"""JupyterLab in Chromium, as a user has it: kernel, notebook, chat; nothing beyond loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

_IDLE = "document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'"


def _open(page: Page, url: str) -> None:
    for _ in range(120):  # the server needs seconds to answer; goto fails at once until then
        try:
            page.goto(url)
            break
        except Exception as exc:
            if "ERR_CONNECTION_REFUSED" not in str(exc):
                raise
            page.wait_for_timeout(500)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=90_000)
    page.wait_for_function(_IDLE, timeout=90_000)


def _run_all(page: Page) -> None:
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.locator(".lm-MenuBar-item:has-text('Run')").first.click()
    page.locator(".lm-Menu-item:has-text('Run All Cells')").first.click()


def _scroll_to(page: Page, wanted: Locator) -> None:
    """Lab draws only the cells near the screen: scroll down until the wanted thing exists."""
    notebook = page.locator(".jp-WindowedPanel-outer").first
    for _ in range(60):
        if wanted.count():
            wanted.first.scroll_into_view_if_needed()
            return
        notebook.evaluate("panel => panel.scrollBy(0, 500)")
        page.wait_for_timeout(250)
        if notebook.evaluate("panel => panel.scrollTop + panel.clientHeight >= panel.scrollHeight - 2"):
            notebook.evaluate("panel => panel.scrollTo(0, 0)")
    raise AssertionError("it never appeared")


def test_the_first_incident_runs_in_lab_and_its_chat_answers_without_a_request_beyond_loopback(
    lab, page: Page, outside: list[str], tmp_path: Path
) -> None:
    _open(page, lab.notebook("first-incident.ipynb"))
    _run_all(page)

    verdict = page.locator(".jp-OutputArea-output .obsvty", has_text="code change")
    _scroll_to(page, verdict)
    page.screenshot(path=tmp_path / "verdict.png")
    assert "d34db33f" in verdict.first.inner_text()

    chat = page.locator(".obc")
    _scroll_to(page, chat)
    page.wait_for_function(_IDLE, timeout=120_000)
    asked = int(chat.get_attribute("data-messages") or 0)
    chat.locator("input").fill("How do I fix it?")
    chat.locator("button.obc-ask").click()
    page.wait_for_function(
        f"Number(document.querySelector('.obc').dataset.messages) >= {asked + 2}", timeout=60_000
    )
    answer = chat.locator(".obc-assistant").last
    assert "docs/async-payment.md" in answer.inner_text()
    assert "0 bytes left this machine" in answer.locator(".obc-footer").inner_text()
    answer.locator("button.obc-cite").first.click()
    assert answer.locator(".obc-card").count() == 1
    chat.locator(".obc-suspect summary").click()
    assert "def validate(card):" in chat.locator(".obc-lines").first.inner_text()
    page.screenshot(path=tmp_path / "chat.png")
    chat.screenshot(path=tmp_path / "widget.png")
    page.screenshot(path=tmp_path / "lab.png", full_page=True)

    assert outside == []
