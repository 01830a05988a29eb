"""A random forest as plain tensors: no pickle is kept, and no scikit-learn is needed to predict."""

from typing import Any, final

import torch
from torch import Tensor

from earthloom.tasks.heads import DenseHead
from earthloom.tasks.links import link_of

_ROWS = 8_192
"""Pixels that go down the trees at a time: few enough for a cache to hold their features."""


@final
class ForestHead(DenseHead):
    """Decision trees whose class shares, or values, are averaged (Breiman 2001).

    The nodes of all trees stand in one list; a leaf is its own child, so all pixels can take the
    same number of steps. Its tensors come from `earthloom.fit.forest.grow_forest`.
    """

    name = "forest"

    roots: Tensor
    """(trees,) int64: node where each tree begins."""
    feature: Tensor
    """(nodes,) int64: which feature a node asks for; 0 in a leaf."""
    threshold: Tensor
    """(nodes,) float32: a pixel goes left if its feature is not above it."""
    depths: Tensor
    """(trees,) int64: steps from each root to its farthest leaf."""
    branches: Tensor
    """(nodes, 2) int64: left and right."""
    shares: Tensor
    """(nodes, K) float32: share of each class among the training pixels there, or their mean."""

    def __init__(
        self, channels: int, classes: int, trees: int, nodes: int, link: str = "log"
    ) -> None:
        super().__init__()
        self.link, self._linked = link, link_of(link)
        self.channels, self.classes = channels, classes
        self.trees, self.nodes = trees, nodes
        self.register_buffer("roots", torch.zeros(trees, dtype=torch.int64))
        self.register_buffer("depths", torch.zeros(trees, dtype=torch.int64))
        self.register_buffer("feature", torch.zeros(nodes, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(nodes))
        self.register_buffer("branches", torch.zeros(nodes, 2, dtype=torch.int64))
        self.register_buffer("shares", torch.zeros(nodes, classes))

    def config(self) -> dict[str, Any]:
        return {
            "channels": self.channels,
            "classes": self.classes,
            "trees": self.trees,
            "nodes": self.nodes,
            "link": self.link,
        }

    def forward(self, features: Tensor) -> Tensor:
        rows = features.movedim(1, -1).reshape(-1, self.channels)
        shares = torch.cat([self._mean_shares(part) for part in torch.split(rows, _ROWS)])
        batch, _, *size = features.shape
        return self._linked(shares).reshape(batch, *size, self.classes).movedim(-1, 1)

    def _mean_shares(self, rows: Tensor) -> Tensor:
        """(N, F) to the mean over trees of the class shares in the leaf, (N, K)."""
        count = len(rows)
        total = torch.zeros(count, self.classes, device=rows.device)
        turned = rows.T.contiguous().flatten()  # feature f of row n at f * N + n
        start, branches = self.feature * count, self.branches.flatten()
        here = torch.arange(count, device=rows.device)
        for root, depth in zip(self.roots.tolist(), self.depths.tolist(), strict=True):
            node = torch.full_like(here, root)
            for _ in range(depth):
                value = turned.index_select(0, start.index_select(0, node).add_(here))
                right = value > self.threshold.index_select(0, node)
                node = branches.index_select(0, node.mul_(2).add_(right))
            total += self.shares.index_select(0, node)
        return total / self.trees
