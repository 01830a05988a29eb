"""Which samples are held out together: by group, or by blocks of the Earth dealt to a few folds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import LabelError


@dataclass(frozen=True)
class Fold:
    """One division of samples into those to train on and those to test on."""

    name: str
    train: NDArray[np.intp]
    test: NDArray[np.intp]


def leave_group_out(groups: Sequence[str]) -> tuple[Fold, ...]:
    """A fold for each group, in the order of their names; LabelError if there is but one."""
    names = sorted(set(groups))
    return _folds(names, np.searchsorted(names, groups))


def deal_folds(groups: Sequence[str], folds: int, seed: int) -> tuple[Fold, ...]:
    """Groups dealt to folds of about equal size; a group is never split.

    The seed decides the order in which groups are dealt; each goes to the fold that has the fewest
    samples by then. There are fewer folds than asked for where there are fewer groups.
    """
    numbers = deal_groups(groups, folds, seed)
    return _folds([str(number + 1) for number in range(int(numbers.max()) + 1)], numbers)


def deal_groups(groups: Sequence[str], folds: int, seed: int) -> NDArray[np.intp]:
    """(n,) the number of each sample's fold, from 0; see `deal_folds`."""
    names, member, sizes = np.unique(
        np.asarray(groups, dtype=np.str_), return_inverse=True, return_counts=True
    )
    filled = np.zeros(min(folds, len(names)), dtype=np.intp)
    fold_of = np.zeros(len(names), dtype=np.intp)
    for group in np.random.default_rng(seed).permutation(len(names)):
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return fold_of[member]


def _folds(names: Sequence[str], numbers: NDArray[np.intp]) -> tuple[Fold, ...]:
    if len(names) < 2:
        raise LabelError(
            f"all {len(numbers)} samples belong to one group, so none can be held out; "
            "label more places, or assess by smaller blocks"
        )
    return tuple(
        Fold(name, np.flatnonzero(numbers != number), np.flatnonzero(numbers == number))
        for number, name in enumerate(names)
    )
