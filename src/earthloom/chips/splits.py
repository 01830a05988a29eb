"""Which chips are trained on, which choose the model, and which test it; in numpy alone.

A rule is a small frozen dataclass; `assign` applies it. The same seed gives each chip the same
split in whatever order the chips come. Chips that lie in the buffer about a held-out chip, or in
the gap between two dates, are in no split: their split is `none`.

Chips near each other look alike, so a random split tells how well a model fills in, not how well it
does elsewhere: Roberts et al. (2017), "Cross-validation strategies for data with temporal, spatial,
hierarchical, or phylogenetic structure", Ecography 40; Ploton et al. (2020), Nature Communications
11:4540.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from earthloom.chips.footprints import Footprints, near
from earthloom.errors import ContractError, choices

TRAIN, VAL, TEST, NONE = "train", "val", "test", "none"
SPLITS = (TRAIN, VAL, TEST, NONE)

_CODES = {name: code for code, name in enumerate(SPLITS)}
_EARTH_KM = 6378.137
"""Radius of the sphere on which the Major TOM grid is defined."""

T = TypeVar("T")


@dataclass(frozen=True)
class ChipTable:
    """What a split can go by, of n chips; absent where it is not known."""

    ids: NDArray[np.str_]
    """(n,) no two alike."""
    corners: NDArray[np.float64] | None = None
    """(n, 4, 2) longitude and latitude of the chips' corners in degrees."""
    days: NDArray[np.int32] | None = None
    """(n, 2) first and last day since 1970-01-01."""
    regions: NDArray[np.str_] | None = None
    """(n,) the value of a column: an area, a country, a biome."""
    groups: NDArray[np.str_] | None = None
    """(n,) what must not be parted."""
    histograms: NDArray[np.int64] | None = None
    """(n, K) labelled pixels of each class."""

    def __post_init__(self) -> None:
        names, counts = np.unique(self.ids, return_counts=True)
        if (counts > 1).any():
            raise ContractError(f"{counts.max()} chips have the id '{names[counts.argmax()]}'")
        for name in ("corners", "days", "regions", "groups", "histograms"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.ids):
                raise ContractError(f"{len(self.ids)} chips, but {len(values)} {name}")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.integer]) -> "ChipTable":
        """Some of the chips, in this order."""
        return ChipTable(
            ids=self.ids[rows],
            corners=None if self.corners is None else self.corners[rows],
            days=None if self.days is None else self.days[rows],
            regions=None if self.regions is None else self.regions[rows],
            groups=None if self.groups is None else self.groups[rows],
            histograms=None if self.histograms is None else self.histograms[rows],
        )


@dataclass(frozen=True)
class Shares:
    """What part of the chips is held out; the rest is trained on."""

    val: float = 0.1
    test: float = 0.2

    def __post_init__(self) -> None:
        if not (self.val >= 0 and self.test >= 0 and self.val + self.test < 1):
            raise ContractError(
                f"shares of {self.val:g} (val) and {self.test:g} (test) leave nothing to train "
                "on; valid: each 0 or more, together below 1"
            )

    @property
    def all(self) -> NDArray[np.float64]:
        """(3,) of train, val and test."""
        return np.array([1 - self.val - self.test, self.val, self.test])

    @property
    def least(self) -> float:
        """The smallest share that is not 0."""
        return float(self.all[self.all > 0].min())


class Rule(Protocol):
    """How chips are divided."""

    def codes(self, chips: ChipTable, seed: int) -> NDArray[np.int8]:
        """(n,) positions in `SPLITS`; the same for a chip wherever it stands in the table."""
        ...


def assign(chips: ChipTable, rule: Rule, seed: int) -> NDArray[np.str_]:
    """(n,) the split of each chip: `train`, `val`, `test` or `none`.

    ContractError where the table lacks what the rule goes by.
    """
    return np.array(SPLITS)[rule.codes(chips, seed)]


@dataclass(frozen=True)
class RandomSplit:
    """Each chip by itself. Neighbours part, so a score on such a test is too good."""

    shares: Shares = field(default_factory=Shares)

    def codes(self, chips: ChipTable, seed: int) -> NDArray[np.int8]:
        return _deal(chips.ids, self.shares, seed)


@dataclass(frozen=True)
class GroupSplit:
    """The chips' own groups are dealt whole."""

    shares: Shares = field(default_factory=Shares)

    def codes(self, chips: ChipTable, seed: int) -> NDArray[np.int8]:
        return _deal(_needed(chips.groups, "groups"), self.shares, seed)


@dataclass(frozen=True)
class BlockSplit:
    """Square blocks of the Earth are dealt whole, with a buffer about what is held out."""

    block_m: float
    buffer_m: float = 0.0
    shares: Shares = field(default_factory=Shares)

    def codes(self, chips: ChipTable, seed: int) -> NDArray[np.int8]:
        places = Footprints(_needed(chips.corners, "corners"))
        blocks = cell_names(places.degrees, self.block_m / 1000)
        return keep_apart(_deal(blocks, self.shares, seed), places, self.buffer_m)


@dataclass(frozen=True)
class CellSplit:
    """Cells of the Major TOM grid are dealt whole, so that data sets on that grid agree."""

    distance_km: float = 10.0
    buffer_m: float = 0.0
    shares: Shares = field(default_factory=Shares)

    def codes(self, chips: ChipTable, seed: int) -> NDArray[np.int8]:
        return BlockSplit(self.distance_km * 1000, self.buffer_m, self.shares).codes(chips, seed)


@dataclass(frozen=True)
class RegionSplit:
    """Regions are held out by name; those not named are dealt whole where shares are given."""

    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    buffer_m: float | None = None
    """Metres about what is held out; None where nothing is kept apart, as without places."""
    shares: Shares = field(default_factory=lambda: Shares(0.0, 0.0))

    def codes(self, chips: ChipTable, seed: int) -> NDArray[np.int8]:
        regions = _needed(chips.regions, "regions")
        unknown = sorted({*self.val, *self.test} - set(regions.tolist()))
        if unknown:
            known = choices(sorted(set(regions.tolist())))
            raise ContractError(f"no chip lies in region '{unknown[0]}'; regions are: {known}")
        codes = np.full(len(chips), _CODES[TRAIN], np.int8)
        free = ~np.isin(regions, [*self.val, *self.test])
        codes[free] = _deal(regions[free], self.shares, seed)
        codes[np.isin(regions, self.val)] = _CODES[VAL]
        codes[np.isin(regions, self.test)] = _CODES[TEST]
        if self.buffer_m is None:
            return codes
        places = Footprints(_needed(chips.corners, "corners"))
        return keep_apart(codes, places, self.buffer_m)


@dataclass(frozen=True)
class TimeSplit:
    """Train before, test after; chips whose days reach over a cut or into the gap are left out."""

    test_from: int
    """Day since 1970-01-01."""
    val_from: int | None = None
    """Day on which validation begins; None where there is none."""
    gap_days: int = 0
    """Whole days between the last day of one split and the first of the next."""

    def codes(self, chips: ChipTable, seed: int) -> NDArray[np.int8]:
        days = _needed(chips.days, "days")
        if self.val_from is not None and self.val_from >= self.test_from:
            raise ContractError(
                f"validation begins on day {self.val_from}, which is not before the test's day "
                f"{self.test_from}"
            )
        first, last = days[:, 0], days[:, 1]
        cut = self.test_from if self.val_from is None else self.val_from
        codes = np.full(len(chips), _CODES[NONE], np.int8)
        codes[last < cut - self.gap_days] = _CODES[TRAIN]
        if self.val_from is not None:
            inside = (first >= self.val_from) & (last < self.test_from - self.gap_days)
            codes[inside] = _CODES[VAL]
        codes[first >= self.test_from] = _CODES[TEST]
        return codes


@dataclass(frozen=True)
class StratifiedSplit:
    """Groups are dealt whole such that each split has its share of every class's pixels.

    Greedy, what is rare first, as the iterative stratification of Sechidis, Tsoumakas and Vlahavas
    (2011), "On the stratification of multi-label data", ECML PKDD, but by all classes together.
    """

    shares: Shares = field(default_factory=Shares)
    buffer_m: float | None = None
    """Metres about what is held out; None where nothing is kept apart."""

    def codes(self, chips: ChipTable, seed: int) -> NDArray[np.int8]:
        groups = chips.ids if chips.groups is None else chips.groups
        histograms = _needed(chips.histograms, "histograms")
        names, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        totals = np.zeros((len(names), histograms.shape[1] + 1))
        np.add.at(totals[:, :-1], member, histograms)
        totals[:, -1] = sizes  # The chips themselves are shared out last, as a class of all.
        codes = _stratified(totals, _ranks(names, seed), self.shares)[member]
        if self.buffer_m is None:
            return codes
        return keep_apart(codes, Footprints(_needed(chips.corners, "corners")), self.buffer_m)


def keep_apart(codes: NDArray[np.int8], places: Footprints, buffer_m: float) -> NDArray[np.int8]:
    """Puts into no split what lies within the buffer of what is held out.

    The test keeps all its chips; validation gives way to it, and training to both. No two chips of
    different splits then lie nearer to each other than `buffer_m` metres, or overlap.
    """
    kept = codes.copy()
    for yields, holds in ((VAL, (TEST,)), (TRAIN, (TEST, VAL))):
        rows = np.flatnonzero(kept == _CODES[yields])
        held = np.flatnonzero(np.isin(kept, [_CODES[name] for name in holds]))
        lost = near(places.of(rows), places.of(held), buffer_m)
        kept[rows[lost]] = _CODES[NONE]
    return kept


def cell_names(degrees: NDArray[np.float64], distance_km: float) -> NDArray[np.str_]:
    """(n,) names of the Major TOM cells that hold points (n, 2) of longitude and latitude.

    The grid of Francis and Czerkawski (2024), as `earthloom.grid.major_tom` has it.
    """
    rows = math.ceil(math.pi * _EARTH_KM / distance_km)
    row = np.floor(degrees[:, 1] * rows / 180 + 1e-9).astype(np.int64)
    row = np.clip(row, -(rows // 2), rows - 1 - rows // 2)
    circle = 2 * math.pi * _EARTH_KM * np.cos(np.radians(row * 180 / rows))
    columns = np.maximum(1, np.ceil(circle / distance_km)).astype(np.int64)
    col = np.floor(degrees[:, 0] * columns / 360 + 1e-9).astype(np.int64)
    col = (col + columns // 2) % columns - columns // 2
    cells, member = np.unique(np.stack([row, col], axis=1), axis=0, return_inverse=True)
    names = [
        f"{abs(r)}{'D' if r < 0 else 'U'}_{abs(c)}{'L' if c < 0 else 'R'}"
        for r, c in cells.tolist()
    ]
    return np.array(names, dtype=np.str_)[member.reshape(-1)] if names else np.array([], np.str_)


def _needed(values: T | None, what: str) -> T:
    if values is None:
        raise ContractError(f"this split goes by the chips' {what}, which the table lacks")
    return values


def _ranks(names: Iterable[str], seed: int) -> NDArray[np.uint64]:
    """(n,) a number for each name, that only the name and the seed decide."""
    digests = (hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(b"".join(digests), dtype="<u8")


def _deal(groups: NDArray[np.str_], shares: Shares, seed: int) -> NDArray[np.int8]:
    """(n,) codes; whole groups, in an order of the seed, each to the split that lacks most.

    No split misses its share by more than twice the largest group. Each split with a share gets a
    group where there are enough of them.
    """
    names, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(_ranks(names.tolist(), seed), kind="stable")
    if len(names) == len(groups) and len(names) * shares.least >= 1:
        return _cut(order, shares)[member]
    lacks = shares.all * len(groups)
    waiting = lacks > 0
    code = np.zeros(len(names), np.int8)
    for done, group in enumerate(order.tolist()):
        left = len(names) - done
        allowed = np.where(waiting, lacks, -np.inf) if left <= waiting.sum() else lacks
        code[group] = best = int(np.argmax(allowed))
        lacks[best] -= sizes[group]
        waiting[best] = False
    return code[member]


def _cut(order: NDArray[np.intp], shares: Shares) -> NDArray[np.int8]:
    """(n,) codes of single chips in their order: first the test, then validation, then the rest."""
    count = len(order)
    test = math.floor(count * shares.test + 0.5)
    val = math.floor(count * (shares.test + shares.val) + 0.5) - test
    codes = np.full(count, _CODES[TRAIN], np.int8)
    codes[order[:test]] = _CODES[TEST]
    codes[order[test : test + val]] = _CODES[VAL]
    return codes


def _stratified(
    totals: NDArray[np.float64], ranks: NDArray[np.uint64], shares: Shares
) -> NDArray[np.int8]:
    """(g,) codes of groups with their totals (g, columns).

    Each group goes where it brings the sums of all columns nearest to what they should be, by
    squares of what is lacking over the split's share. Groups that matter most to any column go
    first; the seed decides among those that matter about as much.
    """
    parts = totals / np.maximum(totals.sum(axis=0), 1)
    lacks = np.repeat(shares.all[:, None], totals.shape[1], axis=1)
    codes = np.zeros(len(totals), np.int8)
    matters = -np.floor(np.log2(parts.max(axis=1)))
    for group in np.lexsort((ranks, matters)).tolist():
        part = parts[group]
        gains = (2 * lacks @ part - part @ part) / np.maximum(shares.all, 1e-300)
        best = int(np.argmax(np.where(shares.all > 0, gains, -np.inf)))
        codes[group] = best
        lacks[best] -= part
    return codes
