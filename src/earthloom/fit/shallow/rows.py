"""Rows of features with their answers: what a head is fitted to without gradient descent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.chips.folds import deal_groups


class Kind(Enum):
    """What the answers of rows are."""

    CLASSES = "classes"
    """(N,) int64, one class index a row."""
    LABELS = "labels"
    """(N, K) bool, which classes a row shows."""
    VALUES = "values"
    """(N,) float64, a number a row."""


@dataclass(frozen=True)
class Rows:
    """Features of labelled pixels, or of labelled chips as a whole."""

    kind: Kind
    features: Tensor
    """(N, F) float32."""
    answers: Tensor
    """As `Kind` says."""
    weights: Tensor
    """(N,) float64: how much a row counts; n pixels of one class in one chip count as sqrt(n).
    What their labels weigh, `repeats`, is not in it."""
    groups: Sequence[str]
    """(N,) what must be held out together."""
    outputs: int
    """Classes K, or 1."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Labelled pixels or chips of each class, those that were not taken included."""
    repeats: Tensor | None = None
    """(N,) float64: the weight of each row's label; None where none has any."""

    def __len__(self) -> int:
        return len(self.features)

    def at(self, index: Tensor) -> "Rows":
        """Some of the rows, by a mask (N,) or by numbers."""
        numbers = index.nonzero()[:, 0] if index.dtype == torch.bool else index
        return replace(
            self,
            features=self.features[numbers],
            answers=self.answers[numbers],
            weights=self.weights[numbers],
            groups=[self.groups[number] for number in numbers.tolist()],
            repeats=None if self.repeats is None else self.repeats[numbers],
        )

    def counted(self) -> "Rows":
        """Those whose label counts at all."""
        return self if self.repeats is None else self.at(self.repeats > 0)

    @property
    def standing_for(self) -> Tensor:
        """(N,) float64: how many rows each stands for, 1 where nothing is said."""
        if self.repeats is None:
            return torch.ones(len(self), dtype=torch.float64)
        return self.repeats.double()

    @property
    def importance(self) -> Tensor:
        """(N,) float64: what a row counts in a loss, its label's weight included; 1 on average."""
        repeats = self.standing_for
        both = self.weights.double() * repeats
        return both / (both.sum() / repeats.sum())


def folds_of(rows: Rows, most: int, seed: int) -> NDArray[np.intp]:
    """(N,) number of the fold of each row; whole groups are held out, each as large as any other.

    A row that stands for two then changes no fold. Single rows are dealt where there is but one
    group.
    """
    if len(set(rows.groups)) > 1:
        names, member = np.unique(np.asarray(rows.groups, dtype=np.str_), return_inverse=True)
        folds: NDArray[np.intp] = deal_groups(names.tolist(), most, seed)[member]
        return folds
    order = np.random.default_rng(seed).permutation(len(rows))
    return (order % min(most, len(rows))).astype(np.intp)


def thinned(rows: Rows, most: int, seed: int) -> Rows:
    """At most `most` rows; classes are cut to one common size, the rare ones stay whole."""
    if len(rows) <= most:
        return rows
    rng = np.random.default_rng(seed)
    if rows.kind is not Kind.CLASSES:
        return rows.at(torch.from_numpy(np.sort(rng.permutation(len(rows))[:most])))
    numbers = rows.answers.numpy()
    sizes = np.bincount(numbers)
    limit = common_limit(sizes.tolist(), most)
    kept = torch.from_numpy(
        np.sort(
            np.concatenate(
                [rng.permutation(np.flatnonzero(numbers == k))[:limit] for k in range(len(sizes))]
            )
        )
    )
    # What was left out still counts, through the weight of what was kept.
    lost = torch.tensor([max(size / limit, 1.0) for size in sizes.tolist()], dtype=torch.float64)
    fewer = rows.at(kept)
    return replace(fewer, weights=fewer.weights * lost[fewer.answers])


def common_limit(sizes: list[int], most: int) -> int:
    """The largest L with sum(min(size, L)) <= most."""
    left, still = most, sorted(sizes)
    for position, size in enumerate(still):
        share = left // (len(still) - position)
        if size > share:
            return share
        left -= size
    return max(sizes)
