"""The tensors of a forest predict what scikit-learn does."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from earthloom.fit.forest import grow_forest, head_of


def _data(count, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 6)).astype(np.float32)
    # Repeated values put thresholds right beside pixels, where rounding would show.
    features[:, 3] = np.round(features[:, 3], 1)
    classes = ((features[:, 0] > 0) + 2 * (features[:, 3] > 0.1)).astype(np.int64)
    return features, classes


@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_equals_scikit_learn(kind):
    features, classes = _data(400, 0)
    forest = kind(n_estimators=20, random_state=0).fit(features, classes)
    head = head_of(forest, 6, 4)
    new, _ = _data(30 * 20, 1)
    image = torch.from_numpy(new).T.reshape(1, 6, 30, 20)
    found = head(image).softmax(1).reshape(4, -1).T
    np.testing.assert_allclose(found.numpy(), forest.predict_proba(new), atol=2e-6)


def _grown(features, classes, weights=None, seed=0):
    return grow_forest(
        torch.from_numpy(features),
        torch.from_numpy(classes),
        class_count=4,
        trees=10,
        seed=seed,
        weights=None if weights is None else torch.from_numpy(weights),
    )


def _assert_same(found, expected):
    state = expected.state_dict()
    assert found.config() == expected.config()
    assert all(torch.equal(each, state[name]) for name, each in found.state_dict().items())


def test_pixels_of_weight_0_leave_no_trace():
    features, classes = _data(300, 0)
    weights = np.random.default_rng(1).choice([0.0, 0.25, 1.0], 300)
    kept = weights > 0
    found = _grown(features, classes, weights)
    _assert_same(found, _grown(features[kept], classes[kept], weights[kept]))
    # What counts is the proportion.
    _assert_same(found, _grown(features, classes, 4 * weights))


def test_heavy_pixels_win():
    """Every pixel has two labels; that of weight 9 should get about nine tenths of the votes."""
    features, classes = _data(300, 0)
    both = np.concatenate([features, features]), np.concatenate([classes, (classes + 1) % 4])
    weights = np.repeat([9.0, 1.0], 300)
    image = torch.from_numpy(features).T[None, :, :, None]
    shares = _grown(*both, weights)(image).softmax(1)[0, :, :, 0].T
    own = shares[torch.arange(300), torch.from_numpy(classes)].mean()
    assert 0.8 < own < 0.97


def test_classes_that_were_absent_keep_their_place():
    features, classes = _data(200, 0)
    kept = classes != 1
    head = grow_forest(
        torch.from_numpy(features[kept]),
        torch.from_numpy(classes[kept]),
        class_count=5,
        trees=5,
        seed=0,
    )
    shares = head(torch.from_numpy(features).T[None, :, :, None]).softmax(1)
    assert shares.shape == (1, 5, 200, 1)
    assert shares[:, [1, 4]].max() < 1e-6
