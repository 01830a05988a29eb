"""Boosted trees as matrices against scikit-learn's own descent."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from earthloom.fit.boosted import boost, head_of


def _problem(rows=3000, channels=7, seed=0):
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, channels)).astype(np.float32)
    second = features[:, 0] * features[:, 1] + 0.5 * random.normal(size=rows) > 0.2
    return features, second


@pytest.mark.parametrize("leaves", [2, 7, 31])
def test_says_what_scikit_learn_says(leaves):
    features, second = _problem()
    booster = HistGradientBoostingClassifier(
        max_iter=20, max_leaf_nodes=leaves, early_stopping=False, random_state=0
    ).fit(features, second)
    cells = torch.from_numpy(features[:2500].T.reshape(1, 7, 50, 50).copy())
    found = head_of(booster, 7)(cells).softmax(dim=1)[0, 1].flatten().numpy()
    np.testing.assert_allclose(found, booster.predict_proba(features[:2500])[:, 1], atol=1e-6)


def test_rows_of_weight_0_leave_no_trace():
    features, second = _problem()
    weights = np.random.default_rng(1).choice(np.float32([0, 0.5, 1]), len(second))
    kept = weights > 0
    found, expected = (
        boost(*rows, trees=5, learning_rate=0.1, seed=0, weights=own).state_dict()
        for rows, own in (((features, second), weights),
                          ((features[kept], second[kept]), weights[kept]))
    )  # fmt: skip
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_rows_of_little_weight_count_little():
    """Every row has two labels, of which the second is wrong."""
    features, second = _problem()
    both = np.concatenate([features, features]), np.concatenate([second, ~second])
    weights = np.repeat(np.float32([1, 0.05]), len(second))
    image = torch.from_numpy(features.T[None, :, :, None].copy())

    def right(weights):
        head = boost(*both, trees=30, learning_rate=0.2, seed=0, weights=weights)
        logit = head(image)[0, 1, :, 0].numpy()
        return ((logit > 0) == second).mean()

    assert right(weights) > 0.8
    assert right(None) < 0.65


def test_same_seed_same_trees_and_another_seed_other_ones():
    features, second = _problem()
    first, again, other = (
        boost(features, second, trees=5, learning_rate=0.1, seed=seed).state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
