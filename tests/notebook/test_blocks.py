"""Values from telemetry are shown, never obeyed."""

from __future__ import annotations

from html.parser import HTMLParser

import mistune
from hypothesis import given, settings
from hypothesis import strategies as st

from obsvty.notebook.blocks import Diff, Fields, Grid, Para, Title, md, plain, to_html, to_markdown, to_text

HOSTILE = [
    '<img src=x onerror="alert(1)">',
    "[click](javascript:alert(1))",
    "![](http://evil.example/x.png)",
    "http://evil.example",
    "`code` **bold** _it_ ~~no~~ $math$",
    "| a | b |",
    "# heading",
    "1. list",
    "- list",
    "&lt;script&gt;",
]


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def _read(page: str) -> _Seen:
    seen = _Seen()
    seen.feed(page)
    return seen


def _blocks(text: str) -> list[Title | Para | Fields | Grid | Diff]:
    return [
        Title(text, text, "bad"),
        Para(text, text),
        Fields([(text, text)]),
        Grid(("a", "b"), [(text, text)], frozenset("b"), text),
        Diff(text, text),
    ]


def test_no_value_becomes_an_element_or_attribute_of_the_page() -> None:
    allowed = {"div", "span", "p", "table", "thead", "tbody", "tr", "th", "td"}
    for text in HOSTILE:
        page = _read(to_html(_blocks(text)))
        assert set(page.tags) <= allowed
        assert text in page.text


def test_markdown_shows_hostile_text_as_it_is() -> None:
    render = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "url", "math"])
    for text in HOSTILE:
        page = _read(str(render(md(text))))
        assert set(page.tags) == {"p"}, text
        assert page.text.strip() == text


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60))
def test_for_all_texts_markdown_is_one_paragraph_of_exactly_that_text(text: str) -> None:
    shown = " ".join(plain(text).split())
    page = _read(str(mistune.create_markdown(escape=False, plugins=["table", "url"])(md(text))))
    assert set(page.tags) <= {"p"}
    assert " ".join(page.text.split()) == shown


def test_terminal_escapes_and_reversed_text_do_not_reach_the_reader() -> None:
    assert plain("\x1b[31mred\x07 \u202eesrever") == "[31mred esrever"


def test_a_diff_that_holds_a_fence_cannot_leave_its_own() -> None:
    text = to_markdown([Diff("a.md", "+```\n+# heading")])
    assert "````diff\n+```\n+# heading\n````" in text


def test_a_grid_is_aligned_in_plain_text() -> None:
    grid = Grid(("name", "n"), [("a", "5"), ("long name", "12")], frozenset(["n"]), "note")
    assert to_text([grid]) == "name        n\na           5\nlong name  12\nnote"
