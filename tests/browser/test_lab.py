"""JupyterLab in Chromium, as a user has it: kernel, notebook, chat; nothing beyond loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as NotInTime

pytestmark = pytest.mark.browser

_STARTED = """
selector => {
  document.querySelector(selector).scrollTo(0, 0);
  const prompts = [...document.querySelectorAll(".jp-InputPrompt")];
  return prompts.some(prompt => /\\[(\\*|\\d+)\\]/.test(prompt.textContent));
}
"""
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
    for _ in range(
        5
    ):  # Lab says idle a moment before it sends what is run; what it was told until then is lost
        page.locator(".jp-Notebook .jp-Cell").first.click()
        page.locator(".lm-MenuBar-item:has-text('Run')").first.click()
        page.locator(".lm-Menu-item:has-text('Run All Cells')").first.click()
        try:
            page.wait_for_function(_STARTED, arg=".jp-NotebookPanel .jp-WindowedPanel-outer", timeout=10_000)
        except NotInTime:
            continue
        return
    raise AssertionError("Lab did not run the cells")


# Lab draws only the cells near the screen: scroll on, and from the top again, until the wanted element is there
_SCROLL_TO = """
selector => {
  const found = document.querySelector(selector);
  if (found) { found.scrollIntoView({ block: "center" }); return true; }
  const kinds = ["error", "stderr"].map(kind => `.jp-OutputArea-output[data-mime-type*="${kind}"]`);
  const failed = document.querySelector(kinds.join(", "));
  if (failed) throw new Error(failed.textContent);
  const panel = document.querySelector(".jp-NotebookPanel .jp-WindowedPanel-outer");
  const end = panel.scrollTop + panel.clientHeight >= panel.scrollHeight - 2;
  panel.scrollTo(0, end ? 0 : panel.scrollTop + 400);
  return false;
}
"""


def _scroll_to(page: Page, selector: str) -> Locator:
    page.wait_for_function(_SCROLL_TO, arg=selector, polling=200, timeout=120_000)
    return page.locator(selector).first


def test_the_first_incident_runs_in_lab_and_its_chat_answers_without_a_request_beyond_loopback(
    lab, page: Page, outside: list[str], tmp_path: Path
) -> None:
    _open(page, lab.notebook("first-incident.ipynb"))
    _run_all(page)

    chat = _scroll_to(page, ".obc")
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
    chat.screenshot(path=tmp_path / "widget.png")
    chat.locator(".obc-suspect summary").click()
    assert "def validate(card):" in chat.locator(".obc-lines").first.inner_text()
    page.screenshot(path=tmp_path / "chat.png")

    verdict = _scroll_to(page, ".jp-OutputArea-output .obsvty pre, .jp-OutputArea-output .obsvty")
    page.screenshot(path=tmp_path / "verdict.png")
    assert verdict.is_visible()

    assert outside == []
