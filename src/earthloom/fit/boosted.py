"""Boosting trees with scikit-learn, and copying them into a `BoostedHead`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earthloom.fit.forest import round_down
from earthloom.tasks.boosted import BoostedHead


def boost(
    features: NDArray[np.float32],
    second: NDArray[np.bool_],
    *,
    trees: int,
    learning_rate: float,
    seed: int,
    weights: NDArray[np.float32] | None = None,
) -> BoostedHead:
    """Histogram gradient boosting (Ke et al. 2017) on features (N, F): is a row of the second
    class?

    Small trees, many samples to a leaf and few features to a split, since samples of one place
    resemble each other. `weights` (N,) say how much each row counts; None is 1 each.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    if weights is not None:
        # Rows of weight 0 would still count as samples of a leaf.
        kept = weights > 0
        features, second, weights = features[kept], second[kept], weights[kept]
    boosted = HistGradientBoostingClassifier(
        max_iter=trees,
        learning_rate=learning_rate,
        max_leaf_nodes=15,
        min_samples_leaf=100,
        l2_regularization=10,
        max_features=0.3,
        early_stopping=False,
        random_state=seed,
    )
    boosted.fit(features, second, sample_weight=weights)
    return head_of(boosted, features.shape[1])


def head_of(
    boosted: Any, channels: int, present: Sequence[int] | None = None, outputs: int | None = None
) -> BoostedHead:
    """The head that predicts what a fitted scikit-learn booster, of classes or of a value, does.

    Its outputs are in the order of the booster's classes; where these are but the `present` ones of
    more, the other outputs are never chosen.
    """
    grown = [tree.nodes for iteration in boosted._predictors for tree in iteration]
    leaves = max(int(nodes["is_leaf"].sum()) for nodes in grown)
    sums = int(boosted.n_trees_per_iteration_)
    found = len(getattr(boosted, "classes_", ())) or 1
    columns = list(range(found)) if not present else list(present)
    head = BoostedHead(
        channels,
        len(grown),
        max(leaves, 2),
        sums,
        len(columns) == 2,
        outputs or len(columns),
        columns,
    )
    for tree, nodes in enumerate(grown):
        _copy_tree(head, tree, nodes)
    start = torch.from_numpy(np.asarray(boosted._baseline_prediction, np.float64).ravel())
    head.start.copy_(start.reshape(head.start.shape))
    return head.eval()


def _copy_tree(head: BoostedHead, tree: int, nodes: NDArray[Any]) -> None:
    """Walks down a tree of scikit-learn's and writes its questions and leaves."""
    questions = leaves = 0
    # A node with the way to it: the questions passed, and the side that was taken at each.
    below: list[tuple[int, list[tuple[int, float]]]] = [(0, [])]
    while below:
        at, way = below.pop()
        node = nodes[at]
        if node["is_leaf"]:
            for question, side in way:
                head.sides[tree, question, leaves] = side
            head.lefts[tree, leaves] = sum(side > 0 for _, side in way)
            head.values[tree, leaves] = float(node["value"])
            leaves += 1
            continue
        head.feature[tree, questions] = int(node["feature_idx"])
        threshold = round_down(np.atleast_1d(node["num_threshold"]).astype(np.float64))
        head.threshold[tree, questions] = float(threshold[0])
        below.append((int(node["left"]), [*way, (questions, 1.0)]))
        below.append((int(node["right"]), [*way, (questions, -1.0)]))
        questions += 1
