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


def test_same_seed_same_trees_and_another_seed_other_ones():
    features, second = _problem()
    first, again, other = (
        boost(features, second, trees=5, learning_rate=0.1, seed=seed).state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
