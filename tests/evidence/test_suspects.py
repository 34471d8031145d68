from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from obsvty.errors import RevisionUnknown
from obsvty.evidence.clues import Clues, ExceptionClue
from obsvty.evidence.stack import parse_stack
from obsvty.evidence.suspects import choose_range, rank_suspects
from obsvty.model import CodeLocation, Deployment, EdgeChange, OperationDiff, from_ns
from obsvty.plugins.git_local import LocalGitProvider
from obsvty.ports.git import GitConfig

GOOD = "783110874c0a434ba026a098f2f6401d6aa17bdc"
RUNNING = "3580ae37becc820304b2746c8617e59575eb4708"
CODE = (
    CodeLocation(file="/srv/shop/app/cards.py", line=23, function="validate", source="log", count=65),
    CodeLocation(file="/srv/shop/app/checkout.py", line=25, function="checkout", source="log", count=65),
)


class History(Protocol):
    folder: Path
    git: Callable[..., str]
    commit: Callable[..., str]
    provider: Callable[[], LocalGitProvider]


class Make(Protocol):
    edge: Callable[..., EdgeChange]


def shop_clues(diff: OperationDiff) -> Clues:
    return Clues(
        service="shop",
        operation="POST /checkout",
        route="/checkout",
        delta_ms=diff.delta_ms,
        edges=diff.edges,
        requests=65,
    )


@pytest.mark.parametrize("code", [CODE, ()], ids=["with code locations", "without"])
def test_the_shops_guilty_commit_is_first_and_the_later_rename_of_the_same_handler_is_below_it(
    shop: LocalGitProvider, shop_diff: OperationDiff, code: tuple[CodeLocation, ...]
) -> None:
    clues = replace(shop_clues(shop_diff), code=code)
    found = rank_suspects(shop, clues, base=GOOD, head=RUNNING, base_reason="last good deployment")
    first = found.suspects[0]
    assert first.commit.revision == "d34db33fc9e1f02374a9416d2e2a0f5de348e765"
    assert first.probability > 0.8
    assert (first.hunks[0].file, first.hunks[0].start, first.hunks[0].end) == ("app/cards.py", 1, 23)
    decoy = next(s for s in found.suspects if s.commit.revision == RUNNING)
    assert decoy.score < first.score / 2
    assert (found.candidates, found.base, found.head, found.abstained) == (5, GOOD, RUNNING, "")


def test_reasons_are_sentences_with_the_numbers_they_rest_on(
    shop: LocalGitProvider, shop_diff: OperationDiff
) -> None:
    clues = replace(shop_clues(shop_diff), code=CODE)
    found = rank_suspects(shop, clues, base=GOOD, head=RUNNING, base_reason="")
    assert found.suspects[0].reasons[:2] == snapshot(
        (
            "adds the 3 new calls POST 127.0.0.1:9090/issuer/{bin,avs,velocity} (366 of 370 ms)",
            "wrote app/cards.py:23, which logged inside 65 of 65 slow requests",
        )
    )


def test_the_same_question_has_the_same_answer(shop: LocalGitProvider, shop_diff: OperationDiff) -> None:
    again = LocalGitProvider(GitConfig(repository=shop.config.repository))
    clues = replace(shop_clues(shop_diff), code=CODE)
    one, two = (rank_suspects(git, clues, base=GOOD, head=RUNNING, base_reason="") for git in (shop, again))
    assert one == two
    scores = [suspect.score for suspect in one.suspects]
    assert scores == sorted(set(scores), reverse=True)


def test_a_range_of_documents_names_nobody_and_says_why(
    shop: LocalGitProvider, shop_diff: OperationDiff
) -> None:
    found = rank_suspects(shop, shop_clues(shop_diff), base=GOOD, head="6f652fa", base_reason="")
    assert found.suspects == ()
    assert "change no code" in found.abstained
    assert found.none_probability > 0.9


def test_clues_that_no_diff_speaks_of_name_nobody(shop: LocalGitProvider, make: Make) -> None:
    clues = Clues(
        service="shop",
        operation="GET /products",
        delta_ms=80,
        edges=(make.edge("GET warehouse.example/availability", 80.0, kind="slower"),),
    )
    found = rank_suspects(shop, clues, base=GOOD, head=RUNNING, base_reason="")
    assert found.suspects == ()
    assert "match" in found.abstained


def test_a_commit_outside_the_range_is_never_named(shop: LocalGitProvider, shop_diff: OperationDiff) -> None:
    found = rank_suspects(shop, shop_clues(shop_diff), base="d34db33", head=RUNNING, base_reason="")
    assert "d34db33fc9e1f02374a9416d2e2a0f5de348e765" not in {s.commit.revision for s in found.suspects}
    assert found.candidates == 2


def test_an_unknown_running_revision_abstains_instead_of_guessing(shop: LocalGitProvider) -> None:
    found = rank_suspects(shop, Clues(), base=GOOD, head="0" * 40, base_reason="")
    assert (found.suspects, found.head, found.candidates) == ((), "", 0)
    assert "running revision unknown to this repository" in found.abstained


CHECKOUT = """from app import stock


def checkout(cart):
    item = stock.price(cart.first)
    return item


def cancel(cart):
    return None
"""
STOCK = """def price(sku):
    return db.execute("SELECT amount FROM prices WHERE sku = ?", sku)
"""
LOOPED = CHECKOUT.replace(
    "    item = stock.price(cart.first)\n    return item\n",
    "    total = 0\n    for line in cart.lines:\n        total += stock.price(line.sku)\n    return total\n",
)


def test_a_loop_around_an_old_call_is_found_through_the_function_that_makes_it(
    history: History, make: Make
) -> None:
    good = history.commit("start", {"app/checkout.py": CHECKOUT, "app/stock.py": STOCK})
    history.commit("chore: name the cancel reason", {"app/cancel.py": "REASON = 'by customer'\n"})
    guilty = history.commit("feat: carts of many lines", {"app/checkout.py": LOOPED})
    head = history.commit("style: comment", {"app/stock.py": "# prices\n" + STOCK})
    edge = make.edge(
        "sqlite SELECT amount FROM prices WHERE sku = ?", 90.0, kind="more_calls", calls=(1.0, 9.0)
    )
    clues = Clues(service="shop", operation="POST /checkout", delta_ms=90, edges=(edge,))
    found = rank_suspects(history.provider(), clues, base=good, head=head, base_reason="")
    assert found.suspects[0].commit.revision == guilty
    assert any("price()" in reason for reason in found.suspects[0].reasons)


def test_an_exceptions_stack_leads_to_the_commit_that_wrote_its_function(history: History) -> None:
    good = history.commit("start", {"app/checkout.py": CHECKOUT, "app/stock.py": STOCK})
    guilty = history.commit(
        "feat: cancel gives the stock back",
        {"app/checkout.py": CHECKOUT.replace("    return None\n", "    return cart.lines[0].sku.upper()\n")},
    )
    head = history.commit("feat: lines", {"app/lines.py": "def lines(cart):\n    return cart.lines\n"})
    stack = 'Traceback (most recent call last):\n  File "/srv/x/app/checkout.py", line 10, in cancel\n'
    clues = Clues(exceptions=(ExceptionClue(type="IndexError", frames=tuple(parse_stack(stack))),))
    found = rank_suspects(history.provider(), clues, base=good, head=head, base_reason="")
    assert found.suspects[0].commit.revision == guilty
    assert found.suspects[0].reasons[0] == "wrote app/checkout.py:10, a frame of the stack trace"
    assert (found.suspects[0].hunks[0].start, found.suspects[0].hunks[0].end) == (10, 10)


def test_a_commit_that_was_reverted_before_the_running_revision_is_below_the_one_that_stayed(
    history: History, make: Make
) -> None:
    good = history.commit("start", {"app/a.py": "A = 1\n", "app/b.py": "B = 1\n"})
    call = 'def f():\n    return post("https://bank.example/ledger/entries")\n'
    undone = history.commit("feat: ledger", {"app/a.py": call})
    history.git("revert", "--no-edit", undone)
    stayed = history.commit("feat: ledger again, elsewhere", {"app/b.py": call})
    edge = make.edge("POST bank.example/ledger/entries", 100.0)
    clues = Clues(operation="GET /x", delta_ms=100, edges=(edge,))
    found = rank_suspects(history.provider(), clues, base=good, head=stayed, base_reason="")
    assert found.suspects[0].commit.revision == stayed
    below = next(s for s in found.suspects if s.commit.revision == undone)
    assert below.score < found.suspects[0].score / 2
    assert any("reverts it" in reason for reason in below.reasons)


def deployment(before: str, after: str, *, versions: tuple[str, str] = ("", "")) -> Deployment:
    return Deployment(
        service="shop",
        environment="",
        from_version=versions[0],
        from_revision=before,
        to_version=versions[1],
        to_revision=after,
        at=from_ns(0),
    )


def test_the_range_comes_from_the_deployment_or_its_version_tags_or_is_bounded_history(
    history: History,
) -> None:
    first = history.commit("one", {"a.py": "1\n"})
    history.git("tag", "v1.4.0")
    second = history.commit("two", {"a.py": "2\n"})
    git = history.provider()
    assert choose_range(git, deployment(first, second, versions=("1.4.0", "1.5.0"))) == (
        first,
        second,
        "last good deployment in telemetry (1.4.0)",
    )
    assert choose_range(git, deployment("", "", versions=("1.4.0", f"1.5.0+{second[:8]}")))[:2] == (
        first,
        second,
    )
    assert choose_range(git, None, head=second) == (
        "",
        second,
        "no earlier deployment known: the last 50 commits before the running one",
    )
    assert choose_range(git, deployment(second, first)).reason.startswith("a rollback")
    assert choose_range(git, None, head="main").head == ""
    assert choose_range(git, None, head=second, base="v1.4.0").base == first
    with pytest.raises(RevisionUnknown):
        choose_range(git, None, head=second, base="nope")


STEPS = st.lists(
    st.sampled_from(["a.py", "b.py", "docs/c.md", "merge", "revert", "empty"]), min_size=3, max_size=7
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, cut=st.integers(0, 6), end=st.integers(0, 6), data=st.integers(0, 10**9))
def test_every_suspect_is_in_rev_list_of_the_range(
    new_history: Callable[[str], History],
    make: Make,
    tmp_path: Path,
    steps: list[str],
    cut: int,
    end: int,
    data: int,
) -> None:
    history = new_history(f"r{len(list(tmp_path.iterdir()))}")
    made = [history.commit("start", {"a.py": "x = 0\n"})]
    for number, step in enumerate(steps):
        call = f'def f{number}():\n    return post("http://bank.example/entries/{number}")\n'
        if step == "merge":
            history.git("switch", "--quiet", "-c", f"side{number}")
            history.commit(f"side {number}", {f"side{number}.py": call})
            history.git("switch", "--quiet", "main")
            history.commit(f"main {number}", {f"main{number}.py": "y = 1\n"})
            history.git("merge", "--quiet", "--no-ff", "--no-edit", f"side{number}")
        elif step == "empty":
            history.commit(f"empty {number}", {})
        elif step == "revert" and number > 0:
            if history.git("show", "--format=", "--name-only", "HEAD"):  # not a merge, and not empty
                history.git("revert", "--no-edit", "HEAD")
        else:
            name = "a.py" if step == "revert" else step
            history.commit(f"step {number}", {name: call})
        made.append(history.git("rev-parse", "HEAD"))
    base, head = made[cut % len(made)], made[end % len(made)]
    edge = make.edge(f"POST bank.example/entries/{data}", 50.0)
    clues = Clues(
        operation="GET /x",
        delta_ms=50,
        edges=(edge,),
        code=(CodeLocation(file="/srv/a.py", line=2, function="", source="log", count=1),),
    )
    found = rank_suspects(history.provider(), clues, base=base, head=head, base_reason="")
    allowed = history.git("rev-list", f"{base}..{head}").split()
    assert {suspect.commit.revision for suspect in found.suspects} <= set(allowed)
    assert found.candidates == len(allowed)
    total = sum(suspect.probability for suspect in found.suspects) + found.none_probability
    assert found.suspects == () or abs(total - 1) < 1e-3
