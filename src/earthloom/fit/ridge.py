"""Solving a `RidgeHead`: one eigendecomposition gives every penalty's held-out scores exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from earthloom.chips.folds import deal_groups
from earthloom.tasks.ridge import RidgeHead

BALANCE = 0.5
"""A class of n pixels gets weight n^(1 - BALANCE): 0 serves overall accuracy alone, 1 serves all
classes alike; one half is the compromise that the defaults were chosen with."""

_PENALTIES = tuple(10.0**power for power in (-6, -5, -4.5, -4, -3.5, -3, -2.5, -2))
_VALUE_PENALTIES = (*_PENALTIES, 10.0**-1.5, 0.1, 10.0**-0.5, 1.0)
"""Numbers can be noisier than classes."""

_TEMPERATURES = tuple(float(t) for t in np.geomspace(0.02, 1.0, 40))
_INNER_FOLDS = 10
"""A tenth of the groups is held out at a time, by the closed form."""


@dataclass(frozen=True)
class RidgeSolution:
    """A solved head and what decided it."""

    head: RidgeHead
    penalty: float
    temperature: float
    held_out_loss: float
    """Mean negative log probability of the true class, over inner folds that hold out groups."""
    held_out_accuracy: float


@dataclass(frozen=True)
class _Problem:
    """Weighted least squares, turned to the eigenvectors of its Gram matrix."""

    rows: Tensor
    """(N, R) float64: left singular vectors U of the weighted features."""
    spectrum: Tensor
    """(R,) eigenvalues of the weighted features' Gram matrix over N."""
    basis: Tensor
    """(D, R): right singular vectors."""
    target: Tensor
    """(N, K): weighted one-hot classes."""
    root: Tensor
    """(N, 1): square root of each row's weight."""


def solve_ridge(
    features: Tensor,
    classes: Tensor,
    groups: Sequence[str],
    weights: Tensor,
    *,
    class_count: int,
    random_features: int,
    seed: int,
    repeats: Tensor | None = None,
) -> RidgeSolution:
    """Solves a head on features (N, F) of pixels of class index (N,).

    `groups` are held out together to choose the penalty and the temperature; `weights` (N,) say
    how much each pixel counts among those of its class. `repeats` (N,) say how many pixels each
    stands for, in everything: one of 2 is the same pixel twice, one of 0 is none, and None is one
    each. The same arguments give the same head.
    """
    if repeats is not None:
        kept = repeats > 0
        groups = [group for group, used in zip(groups, kept.tolist(), strict=True) if used]
        features, classes, repeats = features[kept], classes[kept], repeats[kept].double()
        weights = weights[kept].double() * repeats
    head = _standardised(features, class_count, random_features, seed, repeats)
    head.absent.copy_(torch.bincount(classes, minlength=class_count) == 0)
    target = F.one_hot(classes, class_count).double()
    balanced = weights.double() * _class_weights(classes, weights, class_count)[classes]
    problem = _decompose(head.expand(features).double(), target, balanced)
    folds = torch.from_numpy(_inner_folds(groups, seed))
    found = [
        (penalty, *_calibrated(_held_out(problem, penalty, folds), head, classes, weights, repeats))
        for penalty in _PENALTIES
    ]
    penalty, loss, temperature, accuracy = min(found, key=lambda each: each[1])
    head.weights.copy_(_solution(problem, penalty))
    head.temperature.fill_(temperature)
    return RidgeSolution(head, penalty, temperature, loss, accuracy)


@dataclass(frozen=True)
class ValueSolution:
    """A head solved for numbers and what decided it."""

    head: RidgeHead
    penalty: float
    held_out_error: float
    """Mean squared error over inner folds that hold out groups."""
    held_out: Tensor
    """(N, K) float64: what each row that counts was said to be while it was held out."""


def solve_ridge_values(
    features: Tensor,
    values: Tensor,
    groups: Sequence[str],
    weights: Tensor,
    *,
    random_features: int,
    seed: int,
    repeats: Tensor | None = None,
) -> ValueSolution:
    """Solves a head on features (N, F) of rows with K numbers each, values (N, K).

    The other arguments are those of `solve_ridge`.
    """
    if repeats is not None:
        kept = repeats > 0
        groups = [group for group, used in zip(groups, kept.tolist(), strict=True) if used]
        features, values, repeats = features[kept], values[kept], repeats[kept].double()
        weights = weights[kept].double() * repeats
    values, weights = values.double(), weights.double()
    head = _standardised(features, values.shape[1], random_features, seed, repeats)
    # Numbers are solved as distances from their mean, so that no penalty draws them to 0.
    share = weights / weights.sum()
    mean = share @ values
    problem = _decompose(head.expand(features).double(), values - mean, weights)
    folds = torch.from_numpy(_inner_folds(groups, seed))

    def held_out(penalty: float) -> tuple[float, Tensor]:
        found = _held_out(problem, penalty, folds) + mean
        return float((share[:, None] * (found - values) ** 2).sum() / values.shape[1]), found

    tried = [(penalty, *held_out(penalty)) for penalty in _VALUE_PENALTIES]
    penalty, error, found = min(tried, key=lambda each: each[1])
    head.weights.copy_(_solution(problem, penalty))
    head.weights[0] += mean.float()
    return ValueSolution(head, penalty, error, found)


def _standardised(
    features: Tensor, classes: int, random_features: int, seed: int, repeats: Tensor | None
) -> RidgeHead:
    """A head with its features' mean and scale, and seeded random frequencies."""
    head = RidgeHead(features.shape[1], classes, random_features)
    mean, scale = mean_and_scale(features, repeats)
    head.mean.copy_(mean)
    head.scale.copy_(scale)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(head.frequencies.shape, generator=generator)
    head.frequencies.copy_(drawn / _typical_distance(head.standardise(features), repeats))
    return head


def mean_and_scale(rows: Tensor, repeats: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean (F,) of rows (N, F) and one over their deviation; 0 for a feature that never varied."""
    var, mean = var_mean(rows, repeats)
    std = var.sqrt()
    return mean, torch.where(std > 1e-6 * (1 + mean.abs()), 1 / std.clamp(min=1e-12), 0.0)


def var_mean(rows: Tensor, repeats: Tensor | None) -> tuple[Tensor, Tensor]:
    """Variance and mean (F,) float64 of rows (N, F), each of which stands for `repeats` (N,)."""
    rows = rows.double()
    if repeats is None:
        var, mean = torch.var_mean(rows, dim=0, correction=0)
        return var, mean
    share = (repeats / repeats.sum())[:, None]
    mean = (share * rows).sum(dim=0)
    return (share * (rows - mean) ** 2).sum(dim=0), mean


def _typical_distance(rows: Tensor, repeats: Tensor | None) -> Tensor:
    """Root mean square distance between standardised pixels, the width of the Gaussian kernel.

    Within 6 % of the usual median distance on the tables of `benchmarks/crops.py`, but exact
    without drawing pairs, and the same whatever the order of the pixels.
    """
    spread = var_mean(rows, repeats)[0].sum()
    return (2 * spread).sqrt().clamp(min=1e-3).float()


def _class_weights(classes: Tensor, weights: Tensor, class_count: int) -> Tensor:
    """(K,) float64: n^-BALANCE of each class, n its weight among the pixels."""
    total = torch.zeros(class_count, dtype=torch.float64)
    total.index_add_(0, classes, weights.double())
    return total.clamp(min=1e-9) ** -BALANCE


def _decompose(rows: Tensor, target: Tensor, weights: Tensor) -> _Problem:
    """The smaller of the two Gram matrices is decomposed; both give the same singular vectors."""
    count, width = rows.shape
    root = (weights / weights.mean()).sqrt()[:, None]
    scaled = rows * root
    if count >= width:
        spectrum, basis = torch.linalg.eigh(scaled.T @ scaled / count)
        spectrum, basis = _leading(spectrum, basis)
        left = scaled @ basis / (count * spectrum).sqrt()
    else:
        spectrum, left = torch.linalg.eigh(scaled @ scaled.T / count)
        spectrum, left = _leading(spectrum, left)
        basis = scaled.T @ left / (count * spectrum).sqrt()
    return _Problem(left, spectrum, basis, target * root, root)


def _leading(spectrum: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenpairs above rounding error."""
    kept = spectrum > 1e-12 * spectrum[-1]
    return spectrum[kept], vectors[:, kept]


def _solution(problem: _Problem, penalty: float) -> Tensor:
    """(D, K) weights that minimise the weighted squared error plus the penalty."""
    count = len(problem.rows)
    shrunk = problem.spectrum.sqrt() / (problem.spectrum + penalty) / count**0.5
    solution: Tensor = problem.basis @ (shrunk[:, None] * (problem.rows.T @ problem.target))
    return solution


def _held_out(problem: _Problem, penalty: float, folds: Tensor) -> Tensor:
    """(N, K) scores of each row by the solution on the other folds' rows.

    Exact without solving again: for a fold with hat-matrix block H the held-out residual is
    (I - H)^-1 times the fitted one (the block form of leave-one-out; An, Liu and Venkatesh 2007).
    """
    shrink = problem.spectrum / (problem.spectrum + penalty)
    fitted = problem.rows @ (shrink[:, None] * (problem.rows.T @ problem.target))
    scores = torch.empty_like(fitted)
    for fold in torch.unique(folds):
        inside = folds == fold
        rows = problem.rows[inside]
        own = torch.eye(len(rows), dtype=rows.dtype) - (rows * shrink) @ rows.T
        residual = problem.target[inside] - fitted[inside]
        held_out = problem.target[inside] - torch.linalg.solve(own, residual)
        scores[inside] = held_out / problem.root[inside]
    return scores


def _calibrated(
    scores: Tensor, head: RidgeHead, classes: Tensor, weights: Tensor, repeats: Tensor | None
) -> tuple[float, float, float]:
    """Held-out loss at the best temperature, that temperature, and the accuracy."""
    scores = scores.masked_fill(head.absent, -torch.inf)
    # Not balanced: a probability of 0.8 is to be right in 8 of 10 labels as they came.
    share = weights / weights.sum()
    losses = [
        float((F.cross_entropy(scores / t, classes, reduction="none") * share).sum())
        for t in _TEMPERATURES
    ]
    best = int(np.argmin(losses))
    right = (scores.argmax(1) == classes).double()
    accuracy = float(var_mean(right[:, None], repeats)[1])
    return losses[best], _TEMPERATURES[best], accuracy


def _inner_folds(groups: Sequence[str], seed: int) -> NDArray[np.intp]:
    """Folds that hold out whole groups; single pixels where there is but one group."""
    if len(set(groups)) > 1:
        return deal_groups(groups, _INNER_FOLDS, seed)
    return np.random.default_rng(seed).permutation(len(groups)) % _INNER_FOLDS
