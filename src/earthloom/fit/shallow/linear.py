"""Logistic regression with a penalty that held-out groups choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.fit.ridge import mean_and_scale
from earthloom.fit.shallow.base import Shallow, Solution
from earthloom.fit.shallow.calibration import (
    LIKELIHOODS,
    accuracy,
    best_temperature,
    held_out_loss,
    one_hot,
)
from earthloom.fit.shallow.logistic import Logistic
from earthloom.fit.shallow.rows import Kind, Rows, folds_of
from earthloom.tasks.linear import LinearHead

PENALTIES = tuple(float(penalty) for penalty in np.geomspace(3.0, 1e-4, 10))
"""On half the squared weights beside the mean loss, strongest first: in scikit-learn's terms C is
one over (rows times penalty)."""

_MANY = 4_000
"""Rows from which on three folds tell as much as five."""

_NEAR = 5e-3
"""Share of the loss that knows nothing, to which a penalty is solved while it is only tried."""

_NEARER = 1e-3
"""The same for the penalty that was chosen, whose held-out logits give the temperature."""

_EXACT = 1e-6
"""The same for the head itself."""

_STEPS, _LAST_STEPS = 60, 500


@final
@dataclass(frozen=True)
class Linear(Shallow):
    """Logistic regression: softmax over classes, or each label against the rest.

    The features are standardised. Penalties are solved from the strongest to the weakest, each
    from where the one before ended, for all folds at once.
    """

    balance: float = 0.0
    """A class of n rows gets weight n^(1 - balance): 0 as they came, 1 serves all classes alike."""

    name: ClassVar[str] = "linear"
    kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.CLASSES, Kind.LABELS})
    most: ClassVar[int] = 30_000

    @classmethod
    def settings(cls) -> Sequence[Linear]:
        return [cls(), cls(balance=0.5), cls(balance=1.0)]

    def solved(self, rows: Rows, seed: int) -> tuple[LinearHead, Solution]:
        importance = _balanced(rows, self.balance)
        return fit_logistic(rows, importance, PENALTIES, seed)


def fit_logistic(
    rows: Rows,
    importance: Tensor,
    penalties: Sequence[float],
    seed: int,
    tolerance: float = _EXACT,
) -> tuple[LinearHead, Solution]:
    """A head for rows of classes or labels; `importance` (N,) is what each counts in the loss.

    The penalty is the one with the lowest loss on held-out groups; with it the loss is solved to
    about `tolerance` of that of a head that knows nothing. The products are made on a GPU
    where there is one.
    """
    head = LinearHead(rows.features.shape[1], rows.outputs)
    mean, scale = mean_and_scale(rows.features, rows.repeats)
    head.mean.copy_(mean)
    head.scale.copy_(scale)
    answers = one_hot(rows.kind, rows.answers, rows.outputs)
    head.absent.copy_(answers.sum(dim=0) == 0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    standard = ((rows.features - head.mean) * head.scale).to(device)
    whole = (importance / importance.sum()).float().to(device)[:, None]
    placed, spectrum, basis = _turned(standard, whole)
    likelihood = LIKELIHOODS[rows.kind]
    folds = torch.from_numpy(folds_for(rows, seed)).to(device)
    kept = whole * (folds[:, None] != torch.arange(int(folds.max()) + 1, device=device))
    kept = kept / kept.sum(dim=0).clamp(min=1e-30)
    tried = Logistic(placed, answers.to(device), kept, spectrum, likelihood)
    repeats, blind = rows.standing_for, _blind(tried)
    penalty, weights = _chosen(tried, folds, penalties, answers, repeats)
    weights, _ = tried.minimised(weights, penalty, _NEARER * blind, _STEPS)
    logits = _held_out(tried, weights, folds)
    temperature, loss = best_temperature(likelihood, logits, answers, repeats)
    last = Logistic(placed, answers.to(device), whole, spectrum, likelihood)
    weights, _ = last.minimised(
        weights.mean(dim=1, keepdim=True), penalty, tolerance * blind, _LAST_STEPS
    )
    head.weights.copy_(basis @ weights[1:, 0])
    head.bias.copy_(weights[0, 0])
    head.temperature.fill_(temperature)
    right = accuracy(rows.kind, logits.masked_fill(head.absent, -torch.inf), rows.answers, repeats)
    return head, {
        "penalty": penalty,
        "temperature": temperature,
        "held_out_loss": loss,
        "held_out_accuracy": right,
    }


def folds_for(rows: Rows, seed: int) -> NDArray[np.intp]:
    """(N,) the number of the fold in which each row is held out."""
    return folds_of(rows, 3 if len(rows) > _MANY else 5, seed)


def _chosen(
    problem: Logistic, folds: Tensor, penalties: Sequence[float], answers: Tensor, repeats: Tensor
) -> tuple[float, Tensor]:
    """The penalty whose held-out loss is lowest, and its weights (R, B, K)."""
    found: list[tuple[float, float, Tensor]] = []
    weights, near = problem.start(), _NEAR * _blind(problem)
    for penalty in penalties:
        weights, _ = problem.minimised(weights, penalty, near, _STEPS)
        logits = _held_out(problem, weights, folds)
        loss = held_out_loss(problem.likelihood, logits, answers, repeats)
        found.append((loss, penalty, weights))
    _, penalty, weights = min(found, key=lambda each: each[0])
    return penalty, weights


def _held_out(problem: Logistic, weights: Tensor, folds: Tensor) -> Tensor:
    """(N, K) logits of each row by the weights of its fold, in memory of the processor."""
    row = torch.arange(len(folds), device=folds.device)
    return problem.logits(weights)[row, folds].cpu()


def _blind(problem: Logistic) -> float:
    """The loss of logits of 0."""
    blank = problem.answers.new_zeros(1, 1, problem.answers.shape[1])
    return float(problem.likelihood.losses(blank, problem.answers[:1, None]).mean())


def _turned(rows: Tensor, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (N, 1 + R) along their principal axes behind a constant, the columns' mean squares
    (1 + R,), and the axes (F, R)."""
    if len(rows) < rows.shape[1]:
        # Many equal eigenvalues, all 0: on such a matrix eigh need not converge.
        _, values, turned = torch.linalg.svd(rows * shares.sqrt(), full_matrices=False)
        spectrum, basis = values.flip(0).square(), turned.flip(0).T
    else:
        spectrum, basis = torch.linalg.eigh((rows * shares).T @ rows)
    kept = spectrum > 1e-7 * spectrum[-1].clamp(min=1e-30)
    spectrum, basis = spectrum[kept], basis[:, kept]
    constant = torch.ones_like(rows[:, :1])
    return (
        torch.cat([constant, rows @ basis], dim=1),
        torch.cat([torch.ones_like(spectrum[:1]), spectrum]),
        basis,
    )


def _balanced(rows: Rows, balance: float) -> Tensor:
    """(N,) float64: what each row counts, with its class's share evened out."""
    importance = rows.importance
    if not balance or rows.kind is not Kind.CLASSES:
        return importance
    total = torch.zeros(rows.outputs, dtype=torch.float64)
    total.index_add_(0, rows.answers, importance)
    return importance * total.clamp(min=1e-9)[rows.answers] ** -balance
