"""The closed forms against solving again, the slow way."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.fit.ridge import _decompose, _held_out, _solution, solve_ridge


def _problem(rows, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    classes = torch.randint(0, 3, (rows,), generator=generator)
    weights = torch.rand(rows, generator=generator, dtype=torch.float64) + 0.5
    return features, F.one_hot(classes, 3).double(), weights


def _solved_directly(features, target, weights, penalty, count):
    gram = features.T @ (weights[:, None] * features)
    gram = gram + penalty * count * torch.eye(features.shape[1], dtype=torch.float64)
    return torch.linalg.solve(gram, features.T @ (weights[:, None] * target))


@pytest.mark.parametrize(("rows", "width"), [(60, 9), (20, 40)])
def test_solution_is_weighted_ridge_regression(rows, width):
    features, target, weights = _problem(rows, width)
    expected = _solved_directly(features, target, weights / weights.mean(), 0.01, rows)
    found = _solution(_decompose(features, target, weights), 0.01)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("rows", "width"), [(60, 9), (20, 40)])
def test_held_out_scores_are_those_of_solving_without_the_fold(rows, width):
    features, target, weights = _problem(rows, width)
    folds = torch.arange(rows) % 4
    found = _held_out(_decompose(features, target, weights), 0.01, folds)
    for fold in range(4):
        kept = folds != fold
        solved = _solved_directly(
            features[kept], target[kept], (weights / weights.mean())[kept], 0.01, rows
        )
        torch.testing.assert_close(found[~kept], features[~kept] @ solved)


def _blobs(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(count) % 3
    features = torch.randn(count, 5, generator=generator) + 2.0 * F.one_hot(classes, 5)
    groups = [str(number % 7) for number in range(count)]
    return features, classes, groups, torch.ones(count, dtype=torch.float64)


def test_a_feature_that_never_varies_plays_no_part():
    features, classes, groups, weights = _blobs(90)
    constant = torch.cat([features, torch.full((90, 1), 0.1)], dim=1)
    solved = solve_ridge(
        constant, classes, groups, weights, class_count=3, random_features=32, seed=0
    )
    changed = constant.clone()
    changed[:, -1] = 1e6
    image, other = (rows.T[None, :, :, None] for rows in (constant, changed))
    torch.testing.assert_close(solved.head(image), solved.head(other))


def test_probabilities_are_calibrated_on_new_data():
    features, classes, groups, weights = _blobs(600)
    solved = solve_ridge(
        features, classes, groups, weights, class_count=3, random_features=64, seed=0
    )
    new, truth, *_ = _blobs(3000, seed=1)
    shares = solved.head(new.T[None, :, :, None])[0, :, :, 0].T.softmax(1)
    sure, chosen = shares.max(1)
    assert abs(float(sure.mean() - (chosen == truth).float().mean())) < 0.04


def _solve(features, classes, groups, weights, repeats=None):
    return solve_ridge(
        features,
        classes,
        groups,
        weights,
        class_count=3,
        random_features=16,
        seed=0,
        repeats=repeats,
    )


def _assert_same(found, expected):
    assert found.penalty == expected.penalty
    assert found.temperature == expected.temperature
    assert found.held_out_loss == pytest.approx(expected.held_out_loss, rel=1e-4)
    assert found.held_out_accuracy == pytest.approx(expected.held_out_accuracy)
    state = expected.head.state_dict()
    for name, tensor in found.head.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=1e-3, atol=1e-4, msg=name)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_a_pixel_that_stands_for_two_is_the_same_pixel_twice(seed):
    """In the scale of features, in the solution, and in what chooses penalty and temperature."""
    features, classes, groups, weights = _blobs(70, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    weights = weights * (0.5 + torch.rand(70, generator=generator, dtype=torch.float64))
    repeats = torch.randint(0, 4, (70,), generator=generator)
    at = torch.repeat_interleave(torch.arange(70), repeats)
    expected = _solve(features[at], classes[at], [groups[i] for i in at], weights[at])
    _assert_same(_solve(features, classes, groups, weights, repeats), expected)


def test_pixels_that_stand_for_one_each_change_nothing():
    features, classes, groups, weights = _blobs(90)
    found = _solve(features, classes, groups, weights, torch.ones(90))
    _assert_same(found, _solve(features, classes, groups, weights))


def test_a_class_whose_pixels_stand_for_none_is_absent():
    features, classes, groups, weights = _blobs(90)
    solved = _solve(features, classes, groups, weights, (classes != 1).double())
    assert solved.head.absent.tolist() == [False, True, False]


def test_one_group_is_divided_by_pixels():
    features, classes, _, weights = _blobs(60)
    solved = solve_ridge(
        features, classes, ["one"] * 60, weights, class_count=3, random_features=0, seed=0
    )
    assert solved.held_out_accuracy > 0.7
