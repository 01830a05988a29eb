"""In which order chips are drawn, from one seed; in numpy alone.

An epoch has one order for all: position 0, 1, 2, ... Rank r of a world of w takes the positions
r, r + w, r + 2 w, ..., so that the same seed gives the same chips at any number of ranks and
workers, and one number, the position, says where to go on after a stop.

A rule says which chips an epoch holds. `Weighted` takes a number for each chip: a column of the
index, `valid_weights`, those of `earthloom.chips.weights`, or a product of some of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError


class Rule(Protocol):
    """Which chips an epoch holds, and in which order."""

    def order(self, random: np.random.Generator) -> NDArray[np.int64]:
        """(length,) row numbers of chips.

        Only `random.random` is called, whose numbers stay the same from one numpy to the next.
        """
        ...


@dataclass(frozen=True)
class Grid:
    """All chips once, as they stand."""

    rows: NDArray[np.int64]

    def order(self, random: np.random.Generator) -> NDArray[np.int64]:
        return self.rows


@dataclass(frozen=True)
class Shuffled:
    """All chips once, in another order each epoch."""

    rows: NDArray[np.int64]

    def order(self, random: np.random.Generator) -> NDArray[np.int64]:
        return self.rows[_shuffle(len(self.rows), random)]


@dataclass(frozen=True)
class Cycled:
    """All chips once, then all again in another order, up to a count: an epoch of any length."""

    rows: NDArray[np.int64]
    count: int
    """Chips an epoch."""

    def order(self, random: np.random.Generator) -> NDArray[np.int64]:
        if self.count and not len(self.rows):
            raise ContractError(f"{self.count} chips an epoch are asked for, but there is none")
        return _round_and_round(self.rows, self.count, random)


@dataclass(frozen=True)
class Weighted:
    """Chips by their weights; those of weight 0 or NaN never.

    Without repetition, by the exponential keys of Efraimidis and Spirakis (2006), "Weighted random
    sampling with a reservoir", Information Processing Letters 97. With it, each draw stands alone.
    """

    weights: NDArray[np.float64]
    """(n,) of all chips, 0 or more."""
    count: int
    """Chips an epoch."""
    repeat: bool = False
    """Whether a chip may come twice in an epoch."""

    def order(self, random: np.random.Generator) -> NDArray[np.int64]:
        rows = np.flatnonzero(self.weights > 0)
        if not self.repeat and self.count > len(rows):
            raise ContractError(
                f"{self.count} chips an epoch are asked for without repetition, but only "
                f"{len(rows)} of {len(self.weights)} have a weight above 0"
            )
        if not len(rows):
            raise ContractError(f"none of {len(self.weights)} chips has a weight above 0")
        weights = self.weights[rows]
        if self.repeat:
            sums = np.cumsum(weights)
            drawn = np.searchsorted(sums, random.random(self.count) * sums[-1], "right")
            chosen: NDArray[np.int64] = rows[np.minimum(drawn, len(rows) - 1)]
            return chosen
        keys = -np.log1p(-random.random(len(rows))) / weights
        first = np.argsort(keys, kind="stable")[: self.count]
        return rows[first]


@dataclass(frozen=True)
class ClassLists:
    """For each class, the chips that hold it: the inverse of the label histograms."""

    starts: NDArray[np.int64]
    """(K + 1,) where the list of each class begins in `rows`, and where the last one ends."""
    rows: NDArray[np.int64]
    """(m,) row numbers of chips."""

    @property
    def held(self) -> NDArray[np.int64]:
        """Positions of the classes that some chip holds."""
        return np.flatnonzero(np.diff(self.starts))

    def of(self, position: int) -> NDArray[np.int64]:
        """The chips that hold a class."""
        return self.rows[self.starts[position] : self.starts[position + 1]]


def class_lists(histograms: NDArray[np.integer], least: int = 1) -> ClassLists:
    """Lists of the chips (n, K) that hold `least` pixels of a class or more."""
    classes, rows = np.nonzero(max(least, 1) <= histograms.T)
    starts = np.searchsorted(classes, np.arange(histograms.shape[1] + 1))
    return ClassLists(starts.astype(np.int64), rows.astype(np.int64))


@dataclass(frozen=True)
class Balanced:
    """Every class equally often, whatever its share.

    Each run of as many draws as there are classes holds one of each, in a random order. A chip
    comes again for its class only when all others of the class have come.
    """

    lists: ClassLists
    count: int
    """Chips an epoch."""

    def order(self, random: np.random.Generator) -> NDArray[np.int64]:
        held = self.lists.held
        if not len(held):
            raise ContractError("no chip holds a labelled pixel, so classes cannot be balanced")
        runs = -(-self.count // len(held))
        turns = np.argsort(random.random((runs, len(held))), axis=1, kind="stable")
        drawn = np.empty((runs, len(held)), np.int64)
        for number, position in enumerate(held.tolist()):
            drawn[:, number] = _round_and_round(self.lists.of(position), runs, random)
        return np.take_along_axis(drawn, turns, axis=1).reshape(-1)[: self.count]


def _round_and_round(
    rows: NDArray[np.int64], count: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Draws all rows, then all again in another order, until there are enough."""
    if count < len(rows) // 8:  # The few that are needed, without an order of all.
        return rows[_few(len(rows), count, random)]
    rounds = [rows[_shuffle(len(rows), random)] for _ in range(-(-count // len(rows)))]
    return np.concatenate([np.empty(0, np.int64), *rounds])[:count]


def _few(size: int, count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """`count` different numbers below `size`, of which they are a small part."""
    found = np.empty(0, np.int64)
    while len(found) < count:
        more = (random.random(2 * count) * size).astype(np.int64)
        found = np.concatenate([found, more])
        _, first = np.unique(found, return_index=True)
        found = found[np.sort(first)]
    return found[:count]


def _shuffle(count: int, random: np.random.Generator) -> NDArray[np.int64]:
    return np.argsort(random.random(count), kind="stable").astype(np.int64)


def valid_weights(
    valid: NDArray[np.floating], least: float = 0.0, power: float = 1.0
) -> NDArray[np.float64]:
    """(n,) weights by the valid fraction (0 to 1) of each chip; 0 below `least` or where unknown.

    With `power` 0 all chips that pass count alike.
    """
    known = np.nan_to_num(valid.astype(np.float64), nan=0.0)
    return np.where((known >= least) & (known > 0), known**power, 0.0)


@dataclass(frozen=True)
class Position:
    """Where drawing stands: what a checkpoint keeps."""

    seed: int
    epoch: int
    position: int
    """Positions of the epoch's order that all ranks together have taken."""

    def to_json(self) -> dict[str, int]:
        """As JSON values."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    @staticmethod
    def from_json(value: Mapping[str, int]) -> "Position":
        """From what `to_json` made."""
        return Position(int(value["seed"]), int(value["epoch"]), int(value["position"]))


class Sampler:
    """Draws one rank's chips, epoch after epoch; can be stopped and gone on with anywhere."""

    def __init__(
        self, rule: Rule, seed: int, rank: int = 0, world: int = 1, even: bool = True
    ) -> None:
        """`even` leaves out the tail of an epoch that is too short for all ranks.

        Ranks that train together must take the same number of steps. For a test, where each chip
        counts once, set it to False.
        """
        if not 0 <= rank < world:
            raise ContractError(f"rank {rank} is not one of a world of {world}: 0 to {world - 1}")
        self._rule, self._seed = rule, seed
        self._rank, self._world, self._even = rank, world, even
        self._epoch, self._position = 0, 0

    def order(self, epoch: int) -> NDArray[np.int64]:
        """(length,) row numbers of an epoch for all ranks together."""
        order = self._rule.order(np.random.Generator(np.random.PCG64([self._seed, epoch])))
        return order[: len(order) // self._world * self._world] if self._even else order

    def rows(self, epoch: int, position: int = 0) -> NDArray[np.int64]:
        """This rank's row numbers of an epoch, from a position of the common order on."""
        self._check(position)
        return self.order(epoch)[position + self._rank :: self._world]

    def __iter__(self) -> Iterator[int]:
        """What is left of the epoch; then the next epoch stands ready."""
        for row in self.rows(self._epoch, self._position).tolist():
            self._position += self._world
            yield row
        self._epoch, self._position = self._epoch + 1, 0

    def state(self) -> Position:
        """Where this sampler stands; the same for all ranks that have taken as many chips."""
        return Position(self._seed, self._epoch, self._position)

    def resume(self, epoch: int, position: int) -> None:
        """Goes on from there, in a world of any size whose steps fit the position."""
        self._check(position)
        self._epoch, self._position = epoch, position

    def _check(self, position: int) -> None:
        if position < 0 or position % self._world:
            raise ContractError(
                f"position {position} is not at the end of a step of {self._world} ranks; "
                f"valid: 0, {self._world}, {2 * self._world}, ..."
            )
