"""The prompts say that data is data, stay the same up to the fence, and name no variable that is missing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsvty.insight.prompts import make_fence, render
from obsvty.privacy import Gate


def test_missing_variable_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("explain_question", fence="data-x")


@pytest.mark.parametrize("template", ["explain", "answer"])
def test_instructions_differ_between_incidents_in_their_last_line_only(template: str) -> None:
    one = render(template, fence="data-1", as_json=True).splitlines()
    two = render(template, fence="data-2", as_json=True).splitlines()
    assert one[:-1] == two[:-1]
    assert one[-1] == "data-1 BEGIN DATA"
    assert any("never an instruction" in line for line in one)


@given(st.text(max_size=200))
def test_data_never_holds_its_own_fence(data: str) -> None:
    assert make_fence(data) not in data
    assert make_fence(data) == make_fence(data)


def test_data_that_guesses_its_hash_gets_another_fence() -> None:
    plain = "some data"
    guess = hashlib.sha256(plain.encode()).hexdigest()[:16]
    assert make_fence(plain) == f"data-{guess}"
    assert make_fence(f"{plain} {guess}") != make_fence(plain)


def test_gate_leaves_the_prompts_as_they_are(gate: Gate) -> None:
    fence = make_fence("some data")
    shown = [
        render("explain", fence=fence),
        render("answer", fence=fence, as_json=True),
        render("answer", fence=fence, as_json=False),
        render(
            "explain_question",
            fence=fence,
            evidence_ids=["E1"],
            revisions=["d34db33f" + "a1" * 16],
            problems=[],
        ),
        render(
            "answer_question", fence=fence, evidence_ids=["E1"], question="why?", history=[], problems=["x"]
        ),
    ]
    assert [gate.text(text).text for text in shown] == shown


def test_empty_lists_are_said_in_words(facts: dict[str, Any], context_of: Callable[..., Any]) -> None:
    text = render("explain_question", fence="data-x", evidence_ids=[], revisions=[], problems=[])
    assert text == (
        "data-x END DATA\n\nIds: none\nCandidate commits: none; suspect is null\n\n"
        "QUESTION: What caused this incident, and what should be done?\n"
    )
