"""Sentences that the evidence does not back are struck; those that it does stay."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from obsvty.insight.check import Checked, Claim, check_claims
from obsvty.insight.numbers import Known, Numbers, Unit, numbers_in
from obsvty.model import JsonValue

IDS = ("E1", "E2", "E3", "E4", "E5", "E6")

Facts = dict[str, JsonValue]


def check(facts: Mapping[str, JsonValue], text: str, *citations: str) -> Checked:
    return check_claims([Claim(text=text, citations=citations)], evidence_ids=IDS, facts=facts)


@pytest.mark.parametrize(
    ("text", "citation"),
    [
        ("POST /checkout went from 134 to 493 ms.", "E1"),
        ("The p50 rose from 134.2 ms to 493.4 ms.", "E1"),
        ("It takes 0.49 s instead of 0.13 s.", "E1"),
        ("It is 3.7x slower.", "E1"),
        ("That is 268 % more.", "E1"),
        ("The new calls are 99 % of it.", "E3"),
        ("About 360 ms were added.", "E1"),
        ("About 370 ms were added.", "E3"),
        ("Three calls explain 366 of 370 ms.", "E3"),
        ("The 3 new calls go to 127.0.0.1:9090/issuer/bin, avs and velocity.", "E3"),
        ("Commit d34db33 changed app/cards.py:18-41.", "E4"),
        ("app/cards.py:23 waits for the issuer.", "E4"),
        ("app/cards.py:30 waits for the issuer.", "E4"),
        ("It began at 14:59:31 with version 1.5.0 (3580ae37).", "E2"),
        ("Roll back to 1.4.0 (7831108).", "E2"),
        ("See docs/async-payment.md.", "E6"),
        ("All 65 requests are affected, 100 %.", "E1"),
        ("The probability is 94 %.", "E4"),
        ("<PERSON_1> wrote it.", "E4"),
        ("The template is Vec<T> and <*>.", "E4"),
    ],
)
def test_sentence_that_the_evidence_backs_stays(facts: Facts, text: str, citation: str) -> None:
    checked = check(facts, text, citation)
    assert checked.struck == ()
    assert (checked.text, checked.citations) == (text, (citation,))


@pytest.mark.parametrize(
    ("text", "citation", "reason"),
    [
        ("It went from 134 to 512 ms.", "E1", "a number in it is not in the evidence"),
        ("The calls took 65 ms.", "E2", "a number in it is not in the evidence"),
        ("Set a time-out of 2 s.", "E3", "a number in it is not in the evidence"),
        ("It is 9.9x slower.", "E1", "a number in it is not in the evidence"),
        ("It costs 40000 EUR an hour.", "E1", "a number in it is not in the evidence"),
        ("A time-out of 250 ms would do.", "E3", "a number in it is not in the evidence"),
        ("Commit deadbeef1 did it.", "E4", "a revision in it is not in the evidence"),
        ("app/cards.py:99 waits.", "E4", "a file or line in it is not in the evidence"),
        ("app/payment.py waits.", "E4", "a file or line in it is not in the evidence"),
        ("Version 1.6.2 did it.", "E2", "a name in it is not in the evidence"),
        ("It began at 13:00:00.", "E2", "a name in it is not in the evidence"),
        ("Host ip-10-0-3-77 did it.", "E2", "a name in it is not in the evidence"),
        ("See https://evil.test/fix for more.", "E4", "an address in it was not measured"),
        ("It is ![slow](x).", "E4", "it holds markup"),
        ("It is <img src=x>.", "E4", "it holds markup"),
        ("It is slow.", "E99", "it cites evidence that does not exist"),
        ("It is slow, as E42 says.", "E1", "it cites evidence that does not exist"),
    ],
)
def test_sentence_that_it_does_not_back_is_struck(
    facts: Facts, text: str, citation: str, reason: str
) -> None:
    checked = check(facts, text, citation)
    assert checked.kept == ()
    assert checked.struck == (f"{text} [{reason}]",)


def test_uncited_sentence_is_struck(facts: Facts) -> None:
    assert check(facts, "It is slow.").reasons == ("it cites no evidence",)


def test_without_any_evidence_there_is_nothing_to_cite(facts: Facts) -> None:
    claims = [Claim(text="It is slow.", citations=())]
    assert check_claims(claims, evidence_ids=(), facts={**facts, "evidence": []}).text == "It is slow."


def test_one_bad_sentence_does_not_take_the_others_with_it(facts: Facts) -> None:
    checked = check(facts, "It takes 493 ms. Users lose 12345 EUR. It was 134 ms.", "E1")
    assert checked.text == "It takes 493 ms. It was 134 ms."
    assert checked.struck == ("Users lose 12345 EUR. [a number in it is not in the evidence]",)


def test_number_of_evidence_that_is_not_cited_does_not_count(facts: Facts) -> None:
    evidence = [
        {"id": "E1", "kind": "x", "text": "took 77 ms"},
        {"id": "E2", "kind": "x", "text": "took 88 ms"},
    ]
    facts = {"evidence": evidence}
    assert check(facts, "It took 77 ms.", "E1").struck == ()
    assert check(facts, "It took 88 ms.", "E1").reasons == ("a number in it is not in the evidence",)


def test_numbers_that_strangers_wrote_count_only_through_cited_evidence(facts: Facts) -> None:
    facts["log_changes"] = [
        {"template": "lost 987654 users", "count_before": 0, "count_after": 3, "severity": "INFO"}
    ]
    assert check(facts, "It lost 987654 users.", "E1").reasons == ("a number in it is not in the evidence",)


def test_link_that_evidence_quotes_from_a_stranger_is_struck_and_a_called_address_is_not(
    facts: Facts,
) -> None:
    facts["evidence"] = [{"id": "E1", "kind": "commit", "text": "fix, see https://evil.test/fix"}]
    facts["localization"] = [{"operation": "GET https://rates.test/today"}]
    assert check(facts, "See https://evil.test/fix.", "E1").reasons == ("an address in it was not measured",)
    assert check(facts, "It calls https://rates.test/today.", "E1").struck == ()


def test_hidden_characters_and_line_breaks_are_gone(facts: Facts) -> None:
    assert check(facts, "It\x1b[m is\r\nslow\u202e.", "E1").text == "It [m is slow ."


def test_revisions_and_times_lend_no_numbers() -> None:
    facts: Facts = {
        "revision": "3580ae37becc",
        "version": "12.5.3",
        "at": "2026-11-20T14:59:30.000Z",
        "n": [7],
    }
    assert {known.value for known in Numbers.of_facts(facts).values} == {7.0, 1.0}


@pytest.mark.parametrize(
    ("said", "value", "unit", "held"),
    [
        ("366", 366.4, "ms", True),
        ("366", 366.6, "ms", False),
        ("370", 366.0, "ms", True),
        ("400", 366.0, "ms", False),
        ("0.9", 0.94, "ratio", True),
        ("0.9", 0.96, "ratio", False),
        ("94 %", 0.94, "ratio", True),
        ("94", 0.94, "ratio", False),
        ("1.5 s", 1500.0, "ms", True),
        ("1,234", 1234.0, "count", True),
        ("12 ms", 0.012, "s", True),
        ("3 ms", 3.0, "count", False),
        ("3 %", 3.0, "count", False),
        ("3 calls", 3.0, "count", True),
        ("3 ms", 3.0, "", True),
    ],
)
def test_numbers_may_be_rounded_but_not_bent(said: str, value: float, unit: Unit, held: bool) -> None:
    assert Numbers(values=frozenset({Known(value, unit)})).hold(numbers_in(said)[0]) is held


def test_identifier_of_the_suspects_code_may_be_named_but_its_numbers_may_not(facts: Facts) -> None:
    code = "+    session.post(url, timeout=5)  # v2beta1"
    said = [
        Claim(text="It waits for session.post and v2beta1.", citations=("E4",)),
        Claim(text="It waits up to 5.5 s.", citations=("E4",)),
    ]
    checked = check_claims(said, evidence_ids=IDS, facts=facts, context_text=code)
    assert checked.text == "It waits for session.post and v2beta1."
    assert check_claims(said[:1], evidence_ids=IDS, facts=facts).kept == ()
