"""For all surroundings: what is planted does not survive, what is needed does, and twice is once."""

import base64
import string
import uuid

import hypothesis.strategies as st
from hypothesis import given, settings

from obsvty.privacy.sanitizer import Sanitizer
from obsvty.privacy.shapes import luhn
from obsvty.privacy.views import decoded_texts

# Surroundings end in something that is not part of the value: "5" + card would be another number.
AROUND = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60)
BEFORE = AROUND.map(lambda text: text + " ")
AFTER = AROUND.map(lambda text: " " + text)


def card(body: str) -> str:
    return next(body + str(digit) for digit in range(10) if luhn(body + str(digit)))


CARDS = (
    st.text(string.digits, min_size=14, max_size=14)
    .filter(lambda d: len(set(d)) > 2)
    .map(lambda d: card("4" + d))
)
EMAILS = st.tuples(
    st.text(string.ascii_lowercase + string.digits, min_size=3, max_size=12),
    st.text(string.ascii_lowercase, min_size=3, max_size=10),
    st.sampled_from(["example", "org", "pt", "co.uk"]),
).map(lambda parts: "{}@{}.{}".format(*parts))
TOKENS = st.text(string.ascii_letters + string.digits, min_size=36, max_size=36).map(
    lambda text: "ghp_" + text
)
VALUES = st.one_of(CARDS, EMAILS, TOKENS)
IDS = st.one_of(
    st.uuids().map(str),
    st.integers(16**7, 16**40 - 1).map(lambda n: f"{n:040x}"),
    st.integers(1, 2**128 - 1).map(lambda n: f"{n:032x}"),
    st.integers(1, 2**64 - 1).map(lambda n: f"{n:016x}"),
    st.integers(1_600_000_000, 1_999_999_999).map(str),
    st.integers(1_600_000_000_000_000_000, 1_999_999_999_999_999_999).map(str),
    st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)).map(
        lambda v: "{}.{}.{}".format(*v)
    ),
    st.integers(1, 254).map(lambda n: f"10.0.{n}.7:5432"),
)
WRITTEN = st.sampled_from(
    [
        str,
        lambda value: value.replace("@", "%40"),
        lambda value: base64.b64encode(f"v={value};".encode()).decode(),
        lambda value: value.encode().hex(),
        lambda value: "".join(f"\\u{ord(char):04x}" for char in value),
    ]
)


@given(BEFORE, VALUES, AFTER, WRITTEN)
@settings(max_examples=300, deadline=None)
def test_a_planted_value_never_survives(before: str, value: str, after: str, written: object) -> None:
    clean = Sanitizer().text(before + written(value) + after)  # pyright: ignore
    assert all(value not in text for text in decoded_texts(clean))


@given(AROUND, VALUES, AROUND)
@settings(max_examples=200, deadline=None)
def test_twice_is_once(before: str, value: str, after: str) -> None:
    sanitizer = Sanitizer()
    once = sanitizer.text(f"{before} {value} {after}")
    assert sanitizer.text(once) == once
    assert Sanitizer().text(once) == once
    assert sanitizer.findings(once) == {}
    assert sanitizer.findings({"content": once}) == {}


@given(st.sampled_from(["checkout of ", "commit ", "span_id=", "at ", '"id": "', "(", ""]), IDS)
@settings(max_examples=300, deadline=None)
def test_ids_are_never_destroyed(before: str, value: str) -> None:
    text = f"{before}{value} done in 12 ms"
    assert Sanitizer().text(text) == text


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12))
@settings(max_examples=100, deadline=None)
def test_pseudonyms_are_a_bijection(order: list[int]) -> None:
    sanitizer = Sanitizer()
    people = [f"person{n}@shop.example" for n in range(6)]
    tokens = {people[n]: sanitizer.text(people[n]) for n in order}
    assert len(set(tokens.values())) == len(tokens)
    assert all(sanitizer.text(person) == token for person, token in tokens.items())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20) | EMAILS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
        max_leaves=12,
    )
)
@settings(max_examples=150, deadline=None)
def test_any_json_value_keeps_its_shape(value: object) -> None:
    clean = Sanitizer().value(value)  # pyright: ignore
    assert shape(clean) == shape(value)


def shape(value: object) -> object:
    if isinstance(value, dict):
        return [shape(inner) for inner in value.values()]
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return "leaf"


def test_the_uuid_strategy_is_not_a_card() -> None:
    assert Sanitizer().text(str(uuid.UUID(int=0x4111111111111111 << 64))) == str(
        uuid.UUID(int=0x4111111111111111 << 64)
    )
