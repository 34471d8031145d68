"""What one request does, before and after: parts that add up, and the right words for what changed."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsvty.errors import TooFewPoints
from obsvty.localize import edge_failures, edge_services, locate, locate_across, operation_diff, origin_of
from obsvty.localize.request_trees import Span, calls_of, split_time
from obsvty.model import EdgeChange, OperationDiff

CHECKOUT = {"service": "shop", "operation": "POST /checkout"}


def _diff(
    story: ModuleType, before: Sequence[object], after: Sequence[object], ms: tuple[float, float]
) -> OperationDiff:
    """Twenty equal requests on either side."""
    s = story.Story()
    for i in range(20):
        s.request("shop", "POST /checkout", i, ms[0], calls=before)
        s.request("shop", "POST /checkout", 100 + i, ms[1], calls=after)
    return operation_diff(s.traces, **CHECKOUT, before=story.window(0, 100), after=story.window(100, 200))


def _edges(diff: OperationDiff) -> dict[str, EdgeChange]:
    return {edge.edge: edge for edge in diff.edges}


def test_new_calls_are_named_by_method_host_and_path_and_explain_the_added_time(story: ModuleType) -> None:
    charge = story.http("pay:80", "/charge", 80, 10)
    card = [story.http("issuer:90", f"/cards/{n}", 50, 100 + 60 * n) for n in (1, 2)]
    diff = _diff(story, [charge], [charge, *card, story.http("issuer:90", "/bin", 30, 270)], (100, 300))
    edges = _edges(diff)
    assert set(edges) == {"self", "POST pay:80/charge", "POST issuer:90/cards/{id}", "POST issuer:90/bin"}
    new = edges["POST issuer:90/cards/{id}"]
    assert (new.kind, new.calls_before, new.calls_after, new.service) == ("new", 0, 2, "shop")
    assert new.delta_ms == pytest.approx(100)
    assert edges["POST pay:80/charge"].kind == "same"
    assert edges["self"].delta_ms == pytest.approx(70)
    assert diff.delta_ms == pytest.approx(200)
    assert diff.edges[0] is new
    assert (diff.requests_before, diff.requests_after) == (20, 20)


def test_n_plus_one_is_more_calls_of_one_statement(story: ModuleType) -> None:
    query = "SELECT qty FROM stock WHERE sku = '{}'"
    diff = _diff(
        story,
        [story.sql(query.format("a"), 2, 5)],
        [story.sql(query.format(f"it''s {n}"), 2, 5 + 3 * n) for n in range(30)],
        (20, 120),
    )
    edge = _edges(diff)["sqlite SELECT qty FROM stock WHERE sku = ?"]
    assert (edge.kind, edge.calls_before, edge.calls_after) == ("more_calls", 1, 30)
    assert origin_of(edge) == "own_code"


def test_calls_that_run_at_once_share_their_time(story: ModuleType) -> None:
    both = [story.http("a:1", "/x", 100, 0), story.http("b:1", "/y", 60, 40)]
    edges = _edges(_diff(story, [], both, (10, 110)))
    assert edges["POST a:1/x"].ms_after == pytest.approx(40 + 30)
    assert edges["POST b:1/y"].ms_after == pytest.approx(30)
    assert edges["self"].ms_after == pytest.approx(10)


def test_nested_spans_keep_only_their_own_time(story: ModuleType) -> None:
    inner = story.sql("SELECT 1", 60, 10)
    outer = story.Call(name="load stock", kind=1, ms=80, calls=[inner])
    edges = _edges(_diff(story, [], [outer], (20, 100)))
    assert edges["shop load stock"].ms_after == pytest.approx(20)
    assert edges["sqlite SELECT ?"].ms_after == pytest.approx(60)


def test_a_call_into_another_service_is_one_edge(story: ModuleType) -> None:
    answer = story.serve("payments", "POST /charge", 70, 5, calls=[story.http("bank:1", "/pay", 60, 2)])
    edges = _edges(_diff(story, [], [story.http("pay:80", "/charge", 80, 0, calls=[answer])], (20, 100)))
    assert set(edges) == {"self", "POST pay:80/charge"}
    assert edges["POST pay:80/charge"].ms_after == pytest.approx(80)


def test_slower_faster_and_vanished_calls_are_told_apart(story: ModuleType) -> None:
    diff = _diff(
        story,
        [story.http("a:1", "/x", 50, 0), story.http("b:1", "/y", 90, 50), story.http("c:1", "/z", 20, 150)],
        [story.http("a:1", "/x", 150, 0), story.http("b:1", "/y", 40, 150)],
        (200, 250),
    )
    kinds = {edge.edge: edge.kind for edge in diff.edges}
    assert kinds["POST a:1/x"] == "slower"
    assert kinds["POST b:1/y"] == "faster"
    assert kinds["POST c:1/z"] == "vanished"


def test_example_traces_are_requests_in_the_middle_of_each_window(story: ModuleType) -> None:
    s = story.Story()
    before = [s.request("shop", "POST /checkout", i, 100 + i) for i in range(5)]
    after = [s.request("shop", "POST /checkout", 100 + i, 300 - i) for i in range(5)]
    diff = operation_diff(s.traces, **CHECKOUT, before=story.window(0, 100), after=story.window(100, 200))
    assert (diff.example_trace_before, diff.example_trace_after) == (before[2], after[2])


def test_spans_that_arrived_twice_count_once(story: ModuleType) -> None:
    s = story.Story()
    for i in range(10):
        s.request("shop", "POST /checkout", i * 20, 100, calls=[story.http("a:1", "/x", 50, 0)])
    s.spans += list(s.spans)
    diff = operation_diff(s.traces, **CHECKOUT, before=story.window(0, 100), after=story.window(100, 200))
    assert (diff.requests_before, diff.requests_after) == (5, 5)
    assert _edges(diff)["POST a:1/x"].calls_after == 1


def test_an_empty_window_is_too_few_points(story: ModuleType) -> None:
    s = story.Story()
    s.request("shop", "POST /checkout", 1, 100)
    with pytest.raises(TooFewPoints):
        operation_diff(s.traces, **CHECKOUT, before=story.window(0, 10), after=story.window(10, 20))


def _span(name: str, start: int, duration: int, service: str, children: list[Span]) -> Span:
    return Span(
        trace_id="t",
        span_id=f"{name}-{start}-{duration}-{id(children)}",
        parent_id="",
        name=name,
        kind=1,
        start_ns=start,
        duration_ns=duration,
        failed=False,
        service=service,
        instance="",
        edge=name,
        children=children,
    )


def _trees() -> st.SearchStrategy[Span]:
    """Any spans below any spans: overlapping, outlasting their parents, in other services, of no length."""

    def build(children: st.SearchStrategy[Span]) -> st.SearchStrategy[Span]:
        return st.builds(
            _span,
            st.sampled_from("abc"),
            st.integers(0, 120),
            st.integers(0, 90),
            st.sampled_from(["shop", "pay"]),
            st.lists(children, max_size=4),
        )

    leaf = st.builds(
        _span,
        st.sampled_from("abc"),
        st.integers(0, 120),
        st.integers(0, 90),
        st.sampled_from(["shop", "pay"]),
        st.builds(list),
    )
    return st.recursive(leaf, build, max_leaves=15)


@settings(max_examples=150, deadline=None)
@given(children=st.lists(_trees(), max_size=5), duration=st.integers(0, 100), across=st.booleans())
def test_the_parts_of_any_request_add_up_to_its_duration(
    children: list[Span], duration: int, across: bool
) -> None:
    entry = _span("entry", 0, duration, "shop", children)
    rest, own = split_time(entry, calls_of(entry, across=across))
    assert rest >= 0
    assert min(own, default=0) >= 0
    assert rest + sum(own) == pytest.approx(duration / 1e6, abs=1e-12)


def test_the_deltas_of_all_edges_add_up_to_the_delta_of_the_request(story: ModuleType) -> None:
    s = story.Story()
    for i in range(60):
        calls = [
            story.http("a:1", f"/{n % 3}x", float(s.rng.integers(1, 60)), float(s.rng.integers(0, 80)))
            for n in range(i % 6)
        ]
        s.request("shop", "POST /checkout", i, float(s.rng.integers(50, 200)), calls=calls)
    diff = operation_diff(s.traces, **CHECKOUT, before=story.window(0, 30), after=story.window(30, 60))
    assert sum(edge.delta_ms for edge in diff.edges) == pytest.approx(diff.delta_ms)
    assert sum(edge.ms_after for edge in diff.edges) == pytest.approx(diff.ms_after)


def test_locations_rank_edges_by_the_time_they_add(story: ModuleType) -> None:
    diff = _diff(
        story,
        [story.http("a:1", "/x", 50, 0)],
        [story.http("a:1", "/x", 60, 0), story.http("b:1", "/y", 90, 60)],
        (100, 250),
    )
    places = locate(diff)
    assert [p.operation for p in places] == ["POST b:1/y", "POST /checkout", "POST a:1/x"]
    assert [p.rank for p in places] == [1, 2, 3]
    assert places[0].score == pytest.approx(90 / 150)
    assert places[0].explains_ms == pytest.approx(90)


def _deep(story: ModuleType, bank_ms: float, own_ms: float) -> list[object]:
    charge = own_ms + bank_ms
    answer = story.serve(
        "payments", "POST /charge", charge, 2, calls=[story.http("bank:1", "/pay", bank_ms, own_ms)]
    )
    return [story.http("pay:80", "/charge", charge + 4, 10, calls=[answer])]


@pytest.mark.parametrize(
    ("after", "service", "operation"),
    [((60, 110), "payments", "POST /charge"), ((160, 10), "payments", "POST bank:1/pay")],
)
def test_added_time_is_followed_into_the_service_that_spends_it(
    story: ModuleType, after: tuple[float, float], service: str, operation: str
) -> None:
    s = story.Story()
    for i in range(20):
        s.request("shop", "POST /checkout", i, 120, calls=_deep(story, 60, 10))
        s.request("shop", "POST /checkout", 100 + i, 220, calls=_deep(story, *after))
    windows = {"before": story.window(0, 100), "after": story.window(100, 200)}
    (place,) = locate_across(s.traces, **CHECKOUT, **windows)
    assert (place.service, place.operation) == (service, operation)
    assert place.explains_ms == pytest.approx(100)
    assert edge_services(s.traces, **CHECKOUT, window=windows["after"]) == {"POST pay:80/charge": "payments"}


def test_a_callee_with_another_clock_is_moved_into_its_call(story: ModuleType) -> None:
    s = story.Story()
    for at, own in ((0, 10), (100, 110)):
        for i in range(10):
            answer = story.serve("payments", "POST /charge", own, -5000)
            call = story.http("pay:80", "/charge", own + 4, 10, calls=[answer])
            s.request("shop", "POST /checkout", at + i, own + 30, calls=[call])
    (place,) = locate_across(s.traces, **CHECKOUT, before=story.window(0, 50), after=story.window(50, 200))
    assert (place.service, place.operation) == ("payments", "POST /charge")


def test_one_slow_instance_of_several_is_named(story: ModuleType) -> None:
    s = story.Story()
    for i in range(40):
        s.request("shop", "POST /checkout", i, 50, instance=f"pod-{i % 2}")
        s.request("shop", "POST /checkout", 100 + i, 50 if i % 2 else 900, instance=f"pod-{i % 2}")
    (place,) = locate_across(s.traces, **CHECKOUT, before=story.window(0, 100), after=story.window(100, 200))
    assert place.instance == "pod-0"


def test_failed_calls_are_counted_per_request_and_edge(story: ModuleType) -> None:
    s = story.Story()
    for i in range(20):
        s.request("shop", "POST /checkout", i, 100, calls=[story.http("a:1", "/x", 50, 0)])
        failing = [story.http("a:1", "/x", 50, 0, failed=i % 2 == 0)]
        s.request("shop", "POST /checkout", 100 + i, 100, calls=failing)
    failures = edge_failures(s.traces, **CHECKOUT, before=story.window(0, 100), after=story.window(100, 200))
    assert failures == {"POST a:1/x": (0.0, 0.5)}
