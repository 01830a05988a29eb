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
