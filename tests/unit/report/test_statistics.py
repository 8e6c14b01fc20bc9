"""Intervals and tests against published values and counts made by hand."""

import numpy as np
import pytest

from understudy.errors import UsageError
from understudy.report.statistics import bootstrap, holm, macro, mcnemar, paired_bootstrap, wilson


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],  # Newcombe 1998
)
def test_wilson_equals_known_intervals(hits, trials, low, high):
    interval = wilson(hits, trials)
    assert interval.value == hits / trials
    assert interval.low == pytest.approx(low, abs=6e-5)
    assert interval.high == pytest.approx(high, abs=6e-5)


def test_wilson_ends_where_shares_end():
    assert wilson(0, 5).low == 0
    assert wilson(5, 5).high == 1


def test_wilson_refuses_what_is_no_share():
    for hits, trials in [(0, 0), (3, 2), (-1, 2)]:
        with pytest.raises(UsageError):
            wilson(hits, trials)


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [(0, 0, 1.0), (0, 5, 0.0625), (1, 9, 22 / 1024), (4, 4, 1.0), (2, 8, 112 / 1024)],
)
def test_mcnemar_is_a_binomial_test_of_the_items_that_differ(a, b, p):
    assert mcnemar(a, b) == pytest.approx(p)
    assert mcnemar(b, a) == mcnemar(a, b)


def test_bootstrap_nears_the_normal_interval_and_repeats():
    values = np.random.default_rng(1).normal(3, 2, 400).tolist()
    interval = bootstrap(values)
    half = 1.96 * np.std(values) / 20
    assert interval.low == pytest.approx(np.mean(values) - half, abs=0.05)
    assert interval.high == pytest.approx(np.mean(values) + half, abs=0.05)
    assert bootstrap(values) == interval


def test_weights_count_items_as_often_as_they_say():
    assert bootstrap([1.0, 4.0], [2, 1]).value == pytest.approx(2.0)


def test_paired_bootstrap_sees_a_small_steady_difference():
    a = np.random.default_rng(2).normal(0, 10, 100)
    interval, p = paired_bootstrap(a.tolist(), (a + 0.1).tolist())
    assert interval.value == pytest.approx(0.1)
    assert interval.low > 0
    assert p < 0.01
    assert paired_bootstrap([1.0, 2.0], [1.0, 2.0])[1] == 1.0


def test_a_mean_of_shares_has_wilson_s_interval_of_each_in_it():
    one = macro([(5, 10)])
    assert one == pytest.approx(wilson(5, 10))
    none = macro([(0, 8), (0, 8)])
    assert (none.value, none.low) == (0.0, 0.0)
    assert 0 < none.high < wilson(0, 8).high
    assert macro([(8, 8), (0, 8)]).value == 0.5
    with pytest.raises(UsageError):
        macro([])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
