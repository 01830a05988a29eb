"""What the answers of a dataset are, read once: for budgets of labels, and for what to beat."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.bench.pieces import FewLabels
from earthloom.errors import LabelError
from earthloom.sample import Chip, Samples, Subset
from earthloom.sample.target import (
    Boxes,
    Counts,
    Instances,
    PixelValues,
    SceneClasses,
    SceneValue,
)
from earthloom.tasks.base import is_counted

VALUE_BINS = 5
"""Values have no classes: a budget of n labels a class is n of each fifth of training values."""


@dataclass(frozen=True)
class Truth:
    """Of N samples."""

    counts: NDArray[np.int64]
    """(N, K) labelled pixels, or things, or 0 and 1 for whole chips, of each class by its index;
    K = 0 for values."""
    values: NDArray[np.float64]
    """(N,) the value, or the mean value of the pixels; NaN for classes."""
    of_pixels: bool
    """Whether answers are class codes of pixels."""
    weights: NDArray[np.float64]
    """(N,) how much a label of each sample counts, on average."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) how many labels each sample has."""
        if self.counts.shape[1]:
            return np.asarray(self.counts.sum(axis=1))
        return np.isfinite(self.values).astype(np.int64)

    @property
    def strata(self) -> NDArray[np.int64]:
        """(N, K) what each sample holds of what both parts of a division should have: of each
        class, or of each fifth of the values."""
        return self.counts if self.counts.shape[1] else _fifths(self.values).astype(np.int64)


def read_truth(samples: Samples, classes: int) -> Truth:
    """Reads every sample once; what weighs nothing is no answer."""
    counts = np.zeros((len(samples), classes), np.int64)
    values, weights = np.full(len(samples), np.nan), np.ones(len(samples))
    of_pixels = False
    for index in range(len(samples)):
        chip = samples[index]
        label = chip.usable_label
        if label is not None and chip.target is None:
            of_pixels = True
            counts[index] = np.bincount(label.ravel(), minlength=classes + 1)[1 : classes + 1]
        elif is_counted(chip):
            _note(chip, counts[index], values, index)
        if chip.weight is not None:
            weights[index] = _mean_weight(chip)
    return Truth(counts, values, of_pixels, weights)


def few(samples: Samples, truth: Truth, rows: NDArray[np.intp], budget: int, seed: int) -> Samples:
    """`budget` labels of each class out of the samples `rows`, or all of a class that has fewer.

    Of pixels, single ones are kept, drawn from all that are labelled; of whole chips, chips; of
    values, chips of each fifth. The seed decides. LabelError where nothing is left.
    """
    random = np.random.default_rng([seed, budget])
    if truth.of_pixels:
        return _few_pixels(samples, truth.counts, rows, budget, random)
    member = truth.counts[rows] > 0 if truth.counts.shape[1] else _fifths(truth.values[rows])
    kept: set[int] = set()
    for column in member.T:
        having = np.flatnonzero(column)
        kept |= set(random.permutation(having)[:budget].tolist())
    if not kept:
        raise LabelError(f"none of the {len(rows)} training samples has an answer")
    return Subset(samples, [int(rows[at]) for at in sorted(kept)])


def _few_pixels(
    samples: Samples,
    counts: NDArray[np.int64],
    rows: NDArray[np.intp],
    budget: int,
    random: np.random.Generator,
) -> Samples:
    """Single pixels, each of a class as likely as the other."""
    drawn: dict[int, list[tuple[int, NDArray[np.int64]]]] = {}
    for column in range(counts.shape[1]):
        ends = np.cumsum(counts[rows, column])
        total = int(ends[-1]) if len(ends) else 0
        picked = np.sort(random.choice(total, min(budget, total), replace=False))
        owner = np.searchsorted(ends, picked, side="right")
        within = picked - (ends[owner] - counts[rows[owner], column])
        for at in np.unique(owner):
            drawn.setdefault(int(rows[at]), []).append((column + 1, within[owner == at]))
    if not drawn:
        raise LabelError(f"none of the {len(rows)} training samples has a label")
    kept = {number: _positions(samples, number, wanted) for number, wanted in drawn.items()}
    return FewLabels(samples, kept, tuple(sorted(kept)))


def _positions(
    samples: Samples, number: int, wanted: Sequence[tuple[int, NDArray[np.int64]]]
) -> NDArray[np.int64]:
    """Flat positions of the n-th pixels of each code."""
    label = samples[number].usable_label
    assert label is not None
    found = [np.flatnonzero(label.ravel() == code)[which] for code, which in wanted]
    return np.sort(np.concatenate(found))


def _fifths(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N, 5) which fifth of the known values each is in."""
    known = np.isfinite(values)
    cuts = np.linspace(0, 1, VALUE_BINS + 1)[1:-1]
    edges = np.quantile(values[known], cuts) if known.any() else cuts
    number = np.searchsorted(edges, values, side="right")
    fifths: NDArray[np.bool_] = (number[:, None] == np.arange(VALUE_BINS)) & known[:, None]
    return fifths


def _note(chip: Chip, counts: NDArray[np.int64], values: NDArray[np.float64], index: int) -> None:
    """Puts an answer's classes into `counts` (K,), or its value into `values`."""
    target = chip.target
    match target:
        case SceneClasses():
            counts[[code - 1 for code in target.codes]] = 1
        case SceneValue():
            values[index] = target.value
        case PixelValues():
            known = _labelled(chip)
            each = None if chip.weight is None else chip.weight[known]
            if known.any():
                values[index] = np.average(target.values[known], weights=each)
        case Boxes() | Instances():
            np.add.at(counts, target.codes.astype(np.intp) - 1, 1)
        case Counts():
            counts[target.codes.astype(np.intp) - 1] = np.ceil(target.numbers).astype(np.int64)
        case None:
            pass


def _mean_weight(chip: Chip) -> float:
    """Of what is labelled in a chip, or of all of it where it is labelled as a whole."""
    assert chip.weight is not None
    known = _labelled(chip)
    return float(chip.weight[known].mean()) if known.any() else 0.0


def _labelled(chip: Chip) -> NDArray[np.bool_]:
    """(H, W) pixels that have an answer of their own which counts; all, where the chip has one as a
    whole."""
    counting = np.ones(tuple(chip.shape), np.bool_) if chip.weight is None else chip.weight > 0
    label = chip.usable_label
    if isinstance(chip.target, PixelValues):
        return np.isfinite(chip.target.values) & counting
    if chip.target is None and label is not None:
        return np.asarray(label > 0)
    return np.ones(tuple(chip.shape), np.bool_)
