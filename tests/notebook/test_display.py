"""Values show themselves in a real IPython in three forms."""

from __future__ import annotations

from types import SimpleNamespace

import ibis
import pyarrow as pa
import pytest
from IPython.core.interactiveshell import InteractiveShell

from obsvty.notebook.display import register
from obsvty.privacy import SanitizedContext


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("INVESTIGATION", "a1b2c3d4"),
        ("INCIDENT", "inc-0a1b2c3d"),
        ("ATTRIBUTION", "5 commits"),
        ("SUSPECT", "it adds the new calls"),
        ("DIFF", "POST risk/score"),
        ("SERVICE_MAP", "risk"),
        ("DEPLOYMENT", "1.0"),
    ],
)
def test_each_value_has_a_plain_a_markdown_and_an_html_form(
    shell: InteractiveShell, story: SimpleNamespace, name: str, says: str
) -> None:
    register(shell)
    forms, _ = shell.display_formatter.format(getattr(story, name))
    assert set(forms) == {"text/plain", "text/markdown", "text/html"}
    for form in forms.values():
        assert says in form


def test_the_verdict_stands_first_and_carries_its_numbers(
    shell: InteractiveShell, story: SimpleNamespace
) -> None:
    register(shell)
    text = shell.display_formatter.format(story.INVESTIGATION)[0]["text/plain"]
    assert text.splitlines()[0] == "POST /pay (till)  [code change · 90% sure]"
    assert "latency 100 -> 400 ms (x4.0)" in text
    assert "+        risk.score(i)" in text
    assert "0 bytes left this machine" in text


def test_a_hostile_commit_subject_is_text_in_the_page(
    shell: InteractiveShell, story: SimpleNamespace
) -> None:
    register(shell)
    page = shell.display_formatter.format(story.INVESTIGATION)[0]["text/html"]
    assert "<img" not in page
    assert "&lt;img src=x" in page


def test_what_a_model_would_get_is_shown_whole(shell: InteractiveShell, context: SanitizedContext) -> None:
    register(shell)
    text = shell.display_formatter.format(context)[0]["text/plain"]
    assert context.text.splitlines()[0] in text


def test_an_ibis_table_shows_its_first_rows_and_says_that_there_are_more(shell: InteractiveShell) -> None:
    register(shell)
    table = ibis.memtable(pa.table({"name": ["<b>", *"abcdefghijklmnopqrstuvw"], "n": list(range(24))}))
    forms, _ = shell.display_formatter.format(table)
    assert forms["text/plain"].splitlines()[1] == "<b>    0"
    assert forms["text/plain"].endswith("the first 20 rows")
    assert "&lt;b&gt;" in forms["text/html"]
