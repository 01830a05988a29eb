"""Which class each small patch of a cluster joins."""

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from earthloom.cube.compiled import compiled

Ints = NDArray[np.int64]


class Cluster(NamedTuple):
    """Small patches, in the order of their first pixels, and what lies beside them."""

    sizes: Ints
    """(N,), whole numbers."""
    codes: NDArray[np.uint8]
    """(N,)."""
    beside: Ints
    """(E, 3): two of the patches that touch, and how many pixel sides they share."""
    large: Ints
    """(L, 3): a patch, the code of a class of which a large patch touches it, and shared sides."""


def together(count: int, pairs: Ints) -> Ints:
    """The group of each of `count` things, of which `pairs` (P, 2) belong together; groups are
    numbered in the order of their first members."""
    if not len(pairs):
        return np.arange(count)
    graph = coo_array((np.ones(len(pairs), np.bool_), (pairs[:, 0], pairs[:, 1])), (count, count))
    _, found = connected_components(graph, directed=False)
    _, first, group = np.unique(found, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[group]


def settle(cluster: Cluster, least: int) -> NDArray[np.uint8]:
    """The class (N,) that each patch ends with; 0 for one that nothing borders on.

    The smallest patch goes first, of two alike the one whose first pixel comes first. It takes the
    class that shares most sides with it, of two alike the lower code, and becomes one with all
    patches of that class beside it. Where they are `least` in size, or one of them is large, they
    stay; else they go on as one patch.
    """
    count = len(cluster.codes)
    both = np.concatenate([cluster.beside, cluster.beside[:, [1, 0, 2]]])
    start, near = _rows(count, both)
    large_start, large = _rows(count, cluster.large)
    codes = cluster.codes.copy()
    _settle(cluster.sizes.copy(), codes, start, near, large_start, large, least)
    return codes


def _rows(count: int, triples: Ints) -> tuple[Ints, Ints]:
    """Triples in the order of their first numbers, the others alone; and where each begins."""
    order = np.lexsort((triples[:, 1], triples[:, 0]))
    start = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(triples[:, 0], minlength=count), out=start[1:])
    return start, np.ascontiguousarray(triples[order, 1:])


@compiled
def _find(parent: Ints, one: int) -> int:
    while parent[one] != one:
        parent[one] = parent[parent[one]]
        one = parent[one]
    return one


@compiled
def _borders(
    root: int,
    codes: NDArray[np.uint8],
    parent: Ints,
    following: Ints,
    start: Ints,
    near: Ints,
    large_start: Ints,
    large: Ints,
) -> Ints:
    """(256,): how many sides a group of patches shares with each class."""
    border = np.zeros(256, np.int64)
    member = root
    while True:
        for at in range(large_start[member], large_start[member + 1]):
            border[large[at, 0]] += large[at, 1]
        for at in range(start[member], start[member + 1]):
            other = _find(parent, near[at, 0])
            if other != root:
                border[codes[other]] += near[at, 1]
        member = following[member]
        if member == root:
            return border


@compiled
def _join_class(
    root: int,
    sizes: Ints,
    codes: NDArray[np.uint8],
    parent: Ints,
    lead: Ints,
    following: Ints,
    stays: NDArray[np.bool_],
    start: Ints,
    near: Ints,
    large_start: Ints,
    large: Ints,
) -> None:
    """Makes a group one with all groups of its class beside it."""
    met = [root]
    member = root
    while True:
        for at in range(large_start[member], large_start[member + 1]):
            if large[at, 0] == codes[root]:
                stays[root] = True
        for at in range(start[member], start[member + 1]):
            met.append(near[at, 0])  # noqa: PERF401 (numba lists do not extend by generators)
        member = following[member]
        if member == root:
            break
    for one in met:
        other = _find(parent, one)
        if other != root and codes[other] == codes[root]:
            parent[other] = root
            sizes[root] += sizes[other]
            lead[root] = min(lead[root], lead[other])
            stays[root] = stays[root] or stays[other]
            following[root], following[other] = following[other], following[root]


@compiled
def _settle(
    sizes: Ints,
    codes: NDArray[np.uint8],
    start: Ints,
    near: Ints,
    large_start: Ints,
    large: Ints,
    least: int,
) -> None:
    """See `settle`; changes `codes`."""
    count = sizes.size
    parent = np.arange(count)
    lead = np.arange(count)
    following = np.arange(count)
    stays = np.zeros(count, np.bool_)
    heap = [(sizes[at], at, at) for at in range(count)]
    heapq.heapify(heap)
    while len(heap) > 0:
        size, _, root = heapq.heappop(heap)
        if parent[root] != root or stays[root] or sizes[root] != size:
            continue
        border = _borders(root, codes, parent, following, start, near, large_start, large)
        best = np.argmax(border)
        if border[best] == 0:
            codes[root] = 0
            stays[root] = True
            continue
        codes[root] = best
        _join_class(
            root, sizes, codes, parent, lead, following, stays, start, near, large_start, large
        )
        if not stays[root] and sizes[root] < least:
            heapq.heappush(heap, (sizes[root], lead[root], root))
        else:
            stays[root] = True
    for at in range(count):
        codes[at] = codes[_find(parent, at)]
