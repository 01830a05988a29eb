"""Which part of the training samples judges settings: whole groups, something of every class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Table = NDArray[np.int64]
"""(G, K): what each group holds of each class, and of samples in the last column."""


def held_out(
    groups: Sequence[str], counts: NDArray[np.int64], seed: int, share: float = 0.25
) -> NDArray[np.bool_]:
    """(N,) which samples are held out: whole groups, about `share` of each class and of all.

    `counts` (N, K) say what a sample holds of each class. As in iterative stratification (Sechidis,
    Tsoumakas and Vlahavas 2011) the classes are served from the rarest on, by groups in the order
    that the seed gives. A class of two groups or more gets one held out, unless that would leave
    another class with none to learn from; a class of one group stays to be learnt. Where every
    group holds a class that no other has, the group that takes the fewest classes away is held out.
    None is where there is but one group.
    """
    names, member = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    if len(names) < 2:
        return np.zeros(len(groups), np.bool_)
    held = np.column_stack([counts, np.ones(len(groups), np.int64)])
    table = np.zeros((len(names), held.shape[1]), np.int64)
    np.add.at(table, member, held)
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = np.zeros(len(names), np.bool_)
    chosen[order] = _chosen(table[order], share)
    found: NDArray[np.bool_] = chosen[member]
    return found


def _chosen(table: _Table, share: float) -> NDArray[np.bool_]:
    """(G,) which groups are held out."""
    chosen = np.zeros(len(table), np.bool_)
    left = table.sum(axis=0)
    for column in np.argsort((table > 0).sum(axis=0), kind="stable"):
        _top_up(table, int(column), share, chosen, left)
    if not chosen.any():
        lost = ((table > 0) & (table == left)).sum(axis=1)
        chosen[np.lexsort((table[:, -1], lost))[0]] = True
    return chosen


def _top_up(
    table: _Table, column: int, share: float, chosen: NDArray[np.bool_], left: _Table
) -> None:
    """Holds groups out until there is about `share` of one class, and something of it; `left` (K,)
    is what remains to be learnt from."""
    total = int(table[:, column].sum())
    having = np.flatnonzero((table[:, column] > 0) & ~chosen)

    def takes(group: int) -> None:
        chosen[group] = True
        left[:] -= table[group]

    def spared(group: int) -> bool:
        return bool(((table[group] == 0) | (table[group] < left)).all())

    for group in having.tolist():
        lacking = share * total - (total - left[column])
        if lacking <= 0:
            return
        nearer = abs(table[group, column] - lacking) < lacking
        if nearer and spared(group):
            takes(group)
    if left[column] == total:
        for group in having[np.argsort(table[having, column], kind="stable")].tolist():
            if spared(group):
                takes(group)
                return
