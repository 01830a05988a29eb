"""Growing a `ForestHead` with scikit-learn, whose trees are then copied into tensors."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.tasks.forest import ForestHead


def grow_forest(
    features: Tensor,
    classes: Tensor,
    *,
    class_count: int,
    trees: int,
    seed: int,
    weights: Tensor | None = None,
) -> ForestHead:
    """A random forest on features (N, F) of pixels of class index (N,), scikit-learn's defaults.

    With `weights` (N,), a tree's pixels are drawn in proportion to them.
    """
    from sklearn.ensemble import RandomForestClassifier

    if weights is not None:
        kept = weights > 0
        features, classes, weights = features[kept], classes[kept], weights[kept]
    forest = RandomForestClassifier(n_estimators=trees, random_state=seed, n_jobs=-1)
    drawn_by = None if weights is None else weights.numpy().astype(np.float64)
    forest.fit(features.numpy(), classes.numpy(), sample_weight=drawn_by)
    return head_of(forest, features.shape[1], class_count)


def grow_value_forest(
    features: Tensor, values: Tensor, *, trees: int, seed: int, weights: Tensor | None = None
) -> ForestHead:
    """A random forest on features (N, F) of rows of value (N,); a leaf holds a mean.

    A split looks at a third of the features, as Breiman (2001) has it for values.
    """
    from sklearn.ensemble import RandomForestRegressor

    if weights is not None:
        kept = weights > 0
        features, values, weights = features[kept], values[kept], weights[kept]
    forest = RandomForestRegressor(
        n_estimators=trees, max_features=1 / 3, min_samples_leaf=2, random_state=seed, n_jobs=-1
    )
    drawn_by = None if weights is None else weights.numpy().astype(np.float64)
    forest.fit(features.numpy(), values.double().numpy(), sample_weight=drawn_by)
    return head_of(forest, features.shape[1], 1, "none")


def grow_label_forest(
    features: Tensor, shown: Tensor, *, trees: int, seed: int, weights: Tensor | None = None
) -> ForestHead:
    """A random forest on features (N, F) of rows that show any of K classes, (N, K) bool."""
    from sklearn.ensemble import RandomForestClassifier

    if weights is not None:
        kept = weights > 0
        features, shown, weights = features[kept], shown[kept], weights[kept]
    forest = RandomForestClassifier(n_estimators=trees, random_state=seed, n_jobs=-1)
    drawn_by = None if weights is None else weights.numpy().astype(np.float64)
    forest.fit(features.numpy(), shown.numpy().astype(np.int64), sample_weight=drawn_by)
    return head_of(forest, features.shape[1], shown.shape[1], "logit")


def head_of(forest: Any, channels: int, outputs: int, link: str = "log") -> ForestHead:
    """The head that predicts what a fitted scikit-learn forest of trees (random or extra) does.

    `link` says what for: `log` for one class of many, `logit` for each class alone, `none` for a
    value.
    """
    grown = [estimator.tree_ for estimator in forest.estimators_]
    sizes = [tree.node_count for tree in grown]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    head = ForestHead(channels, outputs, len(grown), sum(sizes), link)
    head.depths.copy_(torch.tensor([tree.max_depth for tree in grown]))
    head.roots.copy_(torch.from_numpy(roots))
    head.feature.copy_(torch.from_numpy(np.concatenate([t.feature.clip(min=0) for t in grown])))
    thresholds = np.concatenate([tree.threshold for tree in grown])
    head.threshold.copy_(torch.from_numpy(round_down(thresholds)))
    children = [_children(tree, root) for tree, root in zip(grown, roots, strict=True)]
    head.branches.copy_(torch.from_numpy(np.concatenate(children)))
    columns, leaves_of = _CONTENTS[link](forest)
    found = np.concatenate([leaves_of(tree) for tree in grown])
    head.shares[:, torch.from_numpy(columns)] = torch.from_numpy(found)
    return head.eval()


def round_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 not above each threshold: a float32 feature falls on the same side."""
    near = thresholds.astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    return np.where(near > thresholds, below, near)


def _children(tree: Any, root: int) -> NDArray[np.int64]:
    """(nodes, 2) positions in the list of all trees' nodes; a leaf is its own child."""
    both = np.stack([tree.children_left, tree.children_right], axis=1).astype(np.int64)
    own = np.arange(len(both))[:, None]
    children: NDArray[np.int64] = np.where(both < 0, own, both) + root
    return children


def _shares(tree: Any) -> NDArray[np.float32]:
    """(nodes, classes of the forest) that sum to one."""
    counts = tree.value[:, 0, :]
    shares: NDArray[np.float32] = (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def _shown(classes: list[NDArray[np.int64]]) -> Callable[[Any], NDArray[np.float32]]:
    """What gives the share of each label, (nodes, K), of a tree of many outputs of these classes.

    A label that all or no row has is one class there.
    """

    def shares(tree: Any) -> NDArray[np.float32]:
        counts = tree.value  # (nodes, K, most classes)
        parts = counts / counts.sum(axis=2, keepdims=True)
        both = [
            parts[:, label, own.tolist().index(1)] if 1 in own else np.zeros(len(parts))
            for label, own in enumerate(classes)
        ]
        return np.stack(both, axis=1).astype(np.float32)

    return shares


def _values(tree: Any) -> NDArray[np.float32]:
    """(nodes, 1) mean value."""
    values: NDArray[np.float32] = tree.value[:, :, 0].astype(np.float32)
    return values


_Contents = tuple[NDArray[np.int64], Callable[[Any], NDArray[np.float32]]]
_CONTENTS: Mapping[str, Callable[[Any], _Contents]] = {
    "log": lambda forest: (forest.classes_, _shares),
    "logit": lambda forest: (
        np.arange(len(_listed(forest.classes_))),
        _shown(_listed(forest.classes_)),
    ),
    "none": lambda forest: (np.zeros(1, np.int64), _values),
}
"""By the head's link: which outputs a fitted forest has, and what a tree's nodes hold of them."""


def _listed(classes: Any) -> list[NDArray[np.int64]]:
    """Classes of each output; scikit-learn lists them bare where there is but one."""
    return classes if isinstance(classes, list) else [classes]
