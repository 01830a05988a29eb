"""Intervals, interquartile means and rankings against scipy, tables and slow oracles."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from earthloom.bench.statistics import (
    area_over_log_budget,
    bootstrap_groups,
    holm,
    interquartile_mean,
    interval,
    nemenyi,
    rank,
    stratified_bootstrap,
    wilcoxon_holm,
)
from earthloom.bench.tally import ClassTally

RNG = np.random.default_rng


def test_bootstrap_of_a_mean_is_scipys():
    """Groups of one sample each: the interval is that of scipy's percentile bootstrap."""
    values = RNG(0).normal(size=60)
    sums = np.stack([np.ones(60), values], axis=-1)
    draws = bootstrap_groups(sums, lambda s: s[..., 1] / s[..., 0], 20_000, RNG(1))
    other = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=RNG(2)
    ).confidence_interval
    assert interval(draws) == pytest.approx((other.low, other.high), abs=0.01)


def test_bootstrap_by_weights_is_drawing_rows():
    """A product of matrices gives what a loop that draws rows gives, on average and in spread."""
    sums = RNG(0).uniform(1, 5, size=(9, 2))
    draws = bootstrap_groups(sums, lambda s: s[..., 1] / s[..., 0], 5_000, RNG(1))
    random = RNG(2)
    slow = []
    for _ in range(5_000):
        total = sums[random.integers(9, size=9)].sum(axis=0)
        slow.append(total[1] / total[0])
    assert np.mean(draws) == pytest.approx(np.mean(slow), abs=0.02)
    assert np.std(draws) == pytest.approx(np.std(slow), rel=0.05)


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=40))
def test_interquartile_mean_is_scipys_trimmed_mean(values):
    assert interquartile_mean(np.array(values)) == pytest.approx(stats.trim_mean(values, 0.25))


def test_interquartile_mean_leaves_out_what_is_not_known():
    assert interquartile_mean(np.array([1.0, 2.0, 3.0, np.nan, 100.0])) == 2.5
    assert np.isnan(interquartile_mean(np.array([np.nan])))


def test_stratified_bootstrap_draws_runs_within_datasets():
    """With no spread within datasets there is no spread at all, however far datasets are apart."""
    runs = [np.full(5, 0.2), np.full(5, 0.9), np.full(5, 0.5)]
    found = stratified_bootstrap(runs, 200, RNG(0))
    assert found.low == found.high == pytest.approx(found.value)


def test_stratified_bootstrap_holds_its_value():
    runs = [RNG(at).normal(0.5, 0.1, 10) for at in range(5)]
    found = stratified_bootstrap(runs, 2_000, RNG(0))
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(stats.trim_mean(np.concatenate(runs), 0.25))


def test_nemenyi_is_the_published_table():
    """q at 5 % for two to ten competitors (Demsar 2006, table 5)."""
    published = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    for competitors, q in zip(range(2, 11), published):
        factor = np.sqrt(competitors * (competitors + 1) / (6 * 30))
        assert nemenyi(competitors, 30) == pytest.approx(q * factor, abs=2e-3)


def test_friedman_by_hand():
    """The statistic of mean ranks without ties (Friedman 1937), and its chi-squared p."""
    scores = RNG(3).normal(size=(12, 4)) + np.arange(4) * 0.4
    found = rank(["a", "b", "c", "d"], scores)
    n, k = scores.shape
    ranks = np.array([[sum(other > own for other in row) + 1 for own in row] for row in scores])
    mean = ranks.mean(axis=0)
    statistic = 12 * n / (k * (k + 1)) * (np.sum(mean**2) - k * (k + 1) ** 2 / 4)
    assert found.mean_ranks == pytest.approx(mean)
    assert found.friedman_p == pytest.approx(stats.chi2.sf(statistic, k - 1))


def test_ranks_of_ties_are_shared():
    found = rank(["a", "b", "c"], np.array([[1.0, 1.0, 0.0], [0.5, 0.5, 0.9]]))
    assert found.mean_ranks.tolist() == [2.0, 2.0, 2.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(values):
    """An adjusted p is below a level just where Holm's steps, one after the other, reject."""
    adjusted = holm(values)
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for step, at in enumerate(np.argsort(values, kind="stable")):
            if values[at] * (len(values) - step) > level:
                break
            rejected.add(int(at))
        assert {at for at, p in enumerate(adjusted) if p <= level} == rejected


def test_wilcoxon_of_pairs_is_scipys():
    scores = RNG(5).normal(size=(15, 3))
    table = wilcoxon_holm(scores)
    pairs = list(itertools.combinations(range(3), 2))
    raw = [
        stats.wilcoxon(scores[:, a], scores[:, b], zero_method="zsplit").pvalue for a, b in pairs
    ]
    assert [table[a, b] for a, b in pairs] == pytest.approx(holm(raw))
    assert np.array_equal(table, table.T, equal_nan=True)
    assert np.isnan(np.diag(table)).all()


def test_cliques_are_the_longest_runs_within_the_critical_difference():
    scores = RNG(0).normal(size=(40, 5)) * 0.1 + np.array([2.0, 2.0, 1.0, 0.0, 0.0])
    found = rank(list("abcde"), scores)
    order = np.sort(found.mean_ranks)
    slow = {
        (i, j)
        for i, j in itertools.combinations(range(5), 2)
        if order[j] - order[i] < found.critical_difference
    }
    longest = {
        (i, j) for i, j in slow if not any(a <= i and j <= b and (a, b) != (i, j) for a, b in slow)
    }
    assert set(found.cliques) == longest == {(0, 1), (3, 4)}


def test_area_over_the_log_of_labels():
    """A straight line over the logarithm has the height of its middle."""
    labels = np.array([1.0, 10.0, 100.0])
    assert area_over_log_budget(labels, np.array([0.0, 0.5, 1.0])) == pytest.approx(0.5)
    assert area_over_log_budget(labels[::-1], np.array([1.0, 0.5, 0.0])) == pytest.approx(0.5)
    assert np.isnan(area_over_log_budget(labels[:1], np.array([1.0])))


def test_one_dataset_has_no_cliques():
    """Ranks of one dataset cannot be told apart, and nothing is said of them."""
    found = rank(["a", "b"], np.array([[0.3, 0.4]]))
    assert np.isnan(found.critical_difference)
    assert found.cliques == ()


def test_a_class_that_a_draw_lacks_does_not_move_the_mean_over_classes():
    """Nine groups of an easy class and one of a class that is never told: were it left out of the
    draws without it, a third of them would say that all is well."""
    tally = ClassTally(2)
    easy, hard = np.zeros((2, tally.width))
    easy[0], hard[1] = 10.0, 10.0
    sums = np.stack([easy] * 9 + [hard])
    draws = bootstrap_groups(sums, lambda s: tally.metrics(s)["macro_f1"], 500, RNG(0))
    whole = float(tally.metrics(sums.sum(axis=0))["macro_f1"])
    assert draws.max() == pytest.approx(0.5)
    low, high = interval(draws)
    assert low < whole < high
