"""Log templates, and which of them changed."""

from __future__ import annotations

from types import ModuleType

import pytest

from obsvty.detect import TemplateMiner, find_log_changes
from obsvty.detect.log_templates import mask


@pytest.mark.parametrize(
    ("body", "masked"),
    [
        ("order 147 placed for user288@mail.example", "order <*> placed for <*>"),
        ("took 15ms at 2026-11-25T14:59:31.123Z", "took <*>ms at <*>"),
        (
            '10.0.0.1 - - [23/Nov/2026 15:00:49] "POST /charge HTTP/1.1" 200 -',
            '<*> - - [<*>] "POST /charge HTTP/<*>" <*> -',
        ),
        ("id 3fa85f64-5717-4562-b3fc-2c963f66afa6 at 0xdeadbeef", "id <*> at <*>"),
        ("first line\nsecond 1 line", "first line"),
    ],
)
def test_ids_numbers_times_and_addresses_become_holes(body: str, masked: str) -> None:
    assert mask(body) == masked


def test_records_that_differ_in_words_share_a_template_when_most_words_agree() -> None:
    miner = TemplateMiner()
    numbers = {miner.add(f"connection to host {name} was lost") for name in ("alpha", "beta", "gamma")}
    other = miner.add("payment for the cart was taken")
    assert len(numbers) == 1
    assert other not in numbers
    assert miner.template(numbers.pop()) == "connection to host <*> was lost"


def test_equal_records_are_one_template_and_different_ones_are_not() -> None:
    miner = TemplateMiner()
    bodies = [
        "card 4111 validated",
        "card 42 validated",
        "order 1 placed",
        "stock low",
        "card 7 rejected by issuer",
    ]
    assert [miner.add(body) for body in bodies] == [0, 0, 1, 2, 3]


def test_an_empty_body_has_a_template() -> None:
    miner = TemplateMiner()
    assert miner.template(miner.add("")) == "<*>"


def test_born_dead_and_risen_templates_are_found_and_steady_ones_are_not(story: ModuleType) -> None:
    s = story.Story()
    for i in range(60):
        s.log("shop", i, f"order {i} placed")
        s.log("shop", 60 + i, f"order {i} placed")
        s.log("shop", 60 + i, f"card {i}00 validated")
        s.log("shop", i, f"cart {i} was reused by a customer")
        s.log("shop", 60 + i, f"retry {i} of the same query", 13)
        if i % 10 == 0:
            s.log("shop", i, f"retry {i} of the same query", 13)
    s.log("shop", 100, "pool is empty", 17)
    s.log("shop", 101, "pool is empty", 17)
    s.log("shop", 101, "seen once")
    found = find_log_changes(s.logs, baseline=story.window(0, 60), window=story.window(60, 120))
    assert [(c.template, c.severity, c.count_before, c.count_after) for c in found] == [
        ("pool is empty", "ERROR", 0, 2),
        ("card <*> validated", "INFO", 0, 60),
        ("cart <*> was reused by a customer", "INFO", 60, 0),
        ("retry <*> of the same query", "WARN", 6, 60),
    ]
    assert found[1].sample == "card 000 validated"
    assert found[1].service == "shop"


def test_the_order_of_records_does_not_matter_and_services_are_apart(story: ModuleType) -> None:
    s = story.Story()
    for i in range(40):
        s.log("shop", 60 + i, f"card {i}00 validated")
        s.log("mail", 60 + i, f"sent letter {i}")
        s.log("mail", i, "idle")
    windows = {"baseline": story.window(0, 60), "window": story.window(60, 120)}
    first = find_log_changes(s.logs, **windows)
    s.rng.shuffle(s.records)
    assert find_log_changes(s.logs, **windows) == first
    assert {c.service for c in find_log_changes(s.logs, **windows, service="mail")} == {"mail"}
