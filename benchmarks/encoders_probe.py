"""The linear probe of `benchmarks/encoders.py`, over rows of features, folds and few labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from earthloom.bench.tally import ClassTally
from earthloom.chips.folds import Fold, deal_folds
from earthloom.fit.shallow import Kind, Linear, Rows
from earthloom.tasks.linear import LinearHead

Budget = int | None
"""Labels of each class; None for all."""
MOST = 5000
"""Rows that a probe is fitted to."""
PROBE = Linear(balance=0.5)
_CHUNK = 8192


@dataclass(frozen=True)
class Truth:
    """What is known of N rows."""

    answers: NDArray[np.int64]
    """(N,) class indices."""
    groups: NDArray[np.str_]
    """(N,) what is held out together."""
    classes: int

    def floor(self, metric: str) -> float:
        """A metric had always the most frequent class been said."""
        most = int(np.bincount(self.answers).argmax())
        tally, said = ClassTally(self.classes), np.full(len(self.answers), most)
        sums = tally.of_decided(said, np.ones(len(said)), self.answers)
        return float(tally.metrics(sums)[metric])


@dataclass(frozen=True)
class Coded:
    """Features of all rows by one encoder."""

    values: NDArray[np.float16]
    """(views, N, F + L): features of the pixel, then those of the cells that it lies in, of every
    level of the encoder's pyramid. A view is a date that the encoder saw alone."""
    channels: int
    """F."""

    @property
    def readings(self) -> tuple[int, ...]:
        """Columns that a probe may see: the pixel's own features, and all of them."""
        return tuple(sorted({self.channels, self.values.shape[-1]}))

    def rows(self, at: NDArray[np.intp], columns: int) -> torch.Tensor:
        """(n, F') float32 of some rows: of two views, both and how far they are apart."""
        views = [torch.from_numpy(view[at, :columns].astype(np.float32)) for view in self.values]
        if len(views) == 2:
            views.append((views[1] - views[0]).abs())
        return torch.cat(views, dim=1)


@dataclass(frozen=True)
class Probe:
    """A fitted head, and the columns that it sees."""

    head: LinearHead
    columns: int

    def logits(self, coded: Coded, at: NDArray[np.intp]) -> NDArray[np.float32]:
        """(n, K) of some rows."""
        parts = []
        for first in range(0, len(at), _CHUNK):
            rows = coded.rows(at[first : first + _CHUNK], self.columns)
            parts.append(self.head(rows.T[None, :, :, None])[0, :, :, 0].T)
        logits: NDArray[np.float32] = torch.cat(parts).numpy()
        return logits


def fitted(coded: Coded, truth: Truth, at: NDArray[np.intp], seed: int) -> Probe:
    """The probe of some rows; of an encoder's readings that with the lowest held-out loss."""
    found: list[tuple[float, Probe]] = []
    for columns in coded.readings:
        rows = Rows(
            kind=Kind.CLASSES,
            features=coded.rows(at, columns),
            answers=torch.from_numpy(truth.answers[at]),
            weights=torch.ones(len(at), dtype=torch.float64),
            groups=truth.groups[at].tolist(),
            outputs=truth.classes,
        )
        head, solution = PROBE.solved(rows, seed)
        loss = solution["held_out_loss"]
        assert isinstance(loss, float)
        found.append((loss, Probe(head, columns)))
    return min(found, key=lambda each: each[0])[1]


def drawn(
    answers: NDArray[np.int64], train: NDArray[np.intp], budget: Budget, seed: int
) -> NDArray[np.intp]:
    """Rows with the labels of a budget, out of those of training."""
    shuffled = np.random.default_rng([seed, budget or 0]).permutation(train)
    if budget is None:
        return np.sort(shuffled[:MOST])
    codes = answers[shuffled]
    each = [shuffled[codes == code][:budget] for code in np.unique(codes)]
    return np.sort(np.concatenate(each))


def decided(
    probe: Probe, coded: Coded, truth: Truth, fold: Fold, logits: NDArray[np.float32], metric: str
) -> NDArray[np.intp]:
    """(n,) classes by logits (n, K): the likeliest; where F1 of a rare one counts, that one as
    often as it is among the training rows."""
    if metric != "f1":
        return logits.argmax(axis=1)
    some = drawn(truth.answers, fold.train, None, seed=0)
    margins = np.diff(probe.logits(coded, some), axis=1)[:, 0]
    least = np.quantile(margins, 1 - (truth.answers[fold.train] == 1).mean())
    return (np.diff(logits, axis=1)[:, 0] > least).astype(np.intp)


def scored(
    tested: Mapping[str, Coded], truth: Truth, folds: int, metric: str, budget: Budget, seed: int
) -> dict[str, float]:
    """A metric of the answers of all folds together, by condition. The probe learns from the first
    condition's features, and is tested on those of all."""
    coded = next(iter(tested.values()))
    tally = ClassTally(truth.classes)
    sums = dict.fromkeys(tested, np.zeros(tally.width))
    for fold in deal_folds(truth.groups.tolist(), folds, seed):
        probe = fitted(coded, truth, drawn(truth.answers, fold.train, budget, seed), seed)
        for condition, table in tested.items():
            logits = probe.logits(table, fold.test)
            said = decided(probe, coded, truth, fold, logits, metric)
            own = tally.of_decided(said, np.ones(len(said)), truth.answers[fold.test])
            sums[condition] = sums[condition] + own
    return {name: float(tally.metrics(each)[metric]) for name, each in sums.items()}
