"""The tests behind the detectors, held against plain counting."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsvty.detect.statistics import average_ranks, find_run, rank_test, rate_test, scan_segment, share_test


@settings(max_examples=60, deadline=None)
@given(st.permutations(list(range(9))), st.integers(1, 8))
def test_the_rank_test_counts_permutations_when_samples_are_small(order: list[int], split: int) -> None:
    before, after = np.array(order[:split], float), np.array(order[split:], float)
    sums = [sum(chosen) for chosen in itertools.combinations(range(9), 9 - split)]
    exact = sum(total >= after.sum() for total in sums) / len(sums)
    assert rank_test(before, after) == pytest.approx(exact)


def test_the_normal_approximation_agrees_with_the_exact_test() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.normal(0, 1, 20), rng.normal(0.6, 1, 20)
    doubled = rank_test(np.append(before, 99.0), np.append(after, -99.0))  # 21 a side: approximated
    assert 0.1 < rank_test(before, after) / doubled < 10


def test_equal_values_are_no_evidence() -> None:
    assert rank_test(np.ones(30), np.ones(30)) == 1.0
    assert average_ranks(np.array([5.0, 1.0, 5.0])).tolist() == [2.5, 1.0, 2.5]


def test_the_share_test_is_fishers() -> None:
    ways = sum(math.comb(6, k) * math.comb(14, 10 - k) for k in range(5, 7))
    assert share_test(1, 10, 5, 10) == pytest.approx(ways / math.comb(20, 10))
    assert share_test(0, 10, 0, 10) == 1.0
    assert share_test(5, 10, 1, 10) > 0.9


def test_the_rate_test_is_a_binomial_split() -> None:
    assert rate_test(0, 60, 5, 60) == pytest.approx(0.5**5)
    assert rate_test(10, 1, 0, 1) == 1.0
    assert rate_test(30_000, 1, 31_000, 1) < 1e-3


def test_a_shifted_segment_is_found_where_it_is() -> None:
    values = np.random.default_rng(1).lognormal(0, 0.4, 500)
    values[200:260] *= 2.5
    found = scan_segment(values, min_size=8)
    assert found is not None
    assert found.start == pytest.approx(200, abs=4)
    assert found.end == pytest.approx(260, abs=4)
    assert found.p_value < 1e-9


def test_noise_has_no_segment() -> None:
    for seed in range(20):
        found = scan_segment(np.random.default_rng(seed).lognormal(0, 0.5, 300), min_size=8)
        assert found is None or found.p_value > 1e-3


def test_a_run_begins_and_ends_where_the_evidence_turns() -> None:
    on, off = [1.0], [-1.0]
    assert find_run(np.array(off * 40 + on * 50 + off * 60), patience=24) == (40, 90, 114)
    assert find_run(np.array(on * 50 + off * 60 + on * 90), patience=24) == (0, 50, 74)
    assert find_run(np.array(on * 50 + off * 10 + on * 50), patience=24) == (0, 110, 110)
    assert find_run(np.array(off * 3 + on * 9 + off * 2), patience=24) == (3, 12, 14)
    assert find_run(np.array(off * 5), patience=24) == (0, 0, 5)
