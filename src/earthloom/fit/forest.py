"""Growing a `ForestHead` with scikit-learn, whose trees are then copied into tensors."""

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


def head_of(forest: Any, channels: int, class_count: int) -> ForestHead:
    """The head that predicts what a fitted scikit-learn forest of trees (random or extra) does."""
    grown = [estimator.tree_ for estimator in forest.estimators_]
    sizes = [tree.node_count for tree in grown]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    head = ForestHead(channels, class_count, len(grown), sum(sizes))
    head.depths.copy_(torch.tensor([tree.max_depth for tree in grown]))
    head.roots.copy_(torch.from_numpy(roots))
    head.feature.copy_(torch.from_numpy(np.concatenate([t.feature.clip(min=0) for t in grown])))
    thresholds = np.concatenate([tree.threshold for tree in grown])
    head.threshold.copy_(torch.from_numpy(round_down(thresholds)))
    children = [_children(tree, root) for tree, root in zip(grown, roots, strict=True)]
    head.branches.copy_(torch.from_numpy(np.concatenate(children)))
    head.shares[:, torch.from_numpy(forest.classes_)] = torch.from_numpy(
        np.concatenate([_shares(tree) for tree in grown])
    )
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
