"""Logistic regression on many folds at once: one matrix product serves them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_MEMORY = 8
"""Steps that the quasi-Newton matrix is made of."""

_ENOUGH = 1e-4
"""Share of the decrease that a line promises which a step must give (Armijo 1966)."""

_HALVINGS = 20


@dataclass(frozen=True)
class Likelihood:
    """What logits of one block, (N, K), say of the answers."""

    shares: Callable[[Tensor], Tensor]
    """(N, B, K) logits to probabilities."""
    losses: Callable[[Tensor, Tensor], Tensor]
    """(N, B, K) logits and (N, 1, K) answers to negative log-likelihoods, (N, B)."""


def _softmax_losses(logits: Tensor, answers: Tensor) -> Tensor:
    return logits.logsumexp(dim=-1) - (logits * answers).sum(dim=-1)


def _sigmoid_losses(logits: Tensor, answers: Tensor) -> Tensor:
    return (F.softplus(logits) - logits * answers).sum(dim=-1)


ONE_OF_MANY = Likelihood(lambda logits: logits.softmax(dim=-1), _softmax_losses)
"""Each row is of one class."""

EACH_ALONE = Likelihood(torch.sigmoid, _sigmoid_losses)
"""A row may be of any classes: one regression of each class against the rest."""


@dataclass(frozen=True)
class Logistic:
    """The mean loss over rows plus penalty / 2 times the squared weights, for B sets of rows.

    Columns of `rows` are uncorrelated, the first is constant and goes without penalty, so that the
    curvature is about diagonal.
    """

    rows: Tensor
    """(N, R)."""
    answers: Tensor
    """(N, K) of the rows' dtype."""
    shares: Tensor
    """(N, B) how much of a block's mean each row is; columns sum to one, 0 where it is held out."""
    spectrum: Tensor
    """(R,) mean square of each column."""
    likelihood: Likelihood

    def start(self) -> Tensor:
        """(R, B, K) zeros."""
        sizes = self.rows.shape[1], self.shares.shape[1], self.answers.shape[1]
        return self.rows.new_zeros(sizes)

    def logits(self, weights: Tensor) -> Tensor:
        """(N, B, K)."""
        flat = self.rows @ weights.flatten(1)
        return flat.reshape(len(flat), *weights.shape[1:])

    def at(self, weights: Tensor, penalty: float) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (B,) float64, its gradient (R, B, K), and the mean variance of an answer (B,)."""
        logits, answers = self.logits(weights), self.answers[:, None]
        each = self.likelihood.losses(logits, answers)
        shares = self.likelihood.shares(logits)
        variance = torch.einsum("nbk,nb->b", shares - shares.square(), self.shares)
        slope = (shares - answers).mul_(self.shares[:, :, None])
        gradient = (self.rows.T @ slope.flatten(1)).reshape(weights.shape)
        gradient[1:] += penalty * weights[1:]
        loss = (each * self.shares).sum(dim=0, dtype=torch.float64)
        squares = weights[1:].square().sum(dim=(0, 2), dtype=torch.float64)
        return loss + penalty / 2 * squares, gradient, variance / self.answers.shape[1]

    def minimised(
        self, weights: Tensor, penalty: float, tolerance: float, steps: int
    ) -> tuple[Tensor, int]:
        """The weights (R, B, K) that minimise each block's loss, and the evaluations it took.

        L-BFGS (Liu and Nocedal 1989) that starts from the curvature which the columns' spectrum
        and the mean variance of the answers give. It stops where another step would lower the loss
        by less than about `tolerance`.
        """
        loss, gradient, variance = self.at(weights, penalty)
        history: list[tuple[Tensor, Tensor, Tensor]] = []
        evaluations = 1
        for _ in range(steps):
            inverse = self._inverse(variance, penalty)
            step = -_two_loops(gradient, inverse, history)
            promised = _inner(gradient, step)
            if bool((-promised / 2 <= tolerance).all()):
                break
            size = torch.ones_like(loss)
            for _ in range(_HALVINGS):
                tried = weights + size[None, :, None].to(weights.dtype) * step
                new_loss, new_gradient, variance = self.at(tried, penalty)
                evaluations += 1
                # The last digits of a float32 loss are noise.
                bound = loss + _ENOUGH * size * promised + 1e-7 * loss
                if bool((new_loss <= bound).all()):
                    break
                size = torch.where(new_loss <= bound, size, size / 2)
            history = [*history[1 - _MEMORY :], _pair(tried - weights, new_gradient - gradient)]
            weights, loss, gradient = tried, new_loss, new_gradient
        return weights, evaluations

    def _inverse(self, variance: Tensor, penalty: float) -> Tensor:
        """(R, B, 1): one over the curvature's diagonal."""
        curvature = self.spectrum[:, None] * variance.clamp(min=1e-6)
        curvature[1:] += penalty
        return 1 / curvature[:, :, None]


def _inner(first: Tensor, second: Tensor) -> Tensor:
    """(B,) float64 inner products of (R, B, K)."""
    return torch.einsum("rbk,rbk->b", first, second).double()


def _pair(step: Tensor, change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A step, the gradient's change along it, and one over their product; 0 where it is not up."""
    product = _inner(step, change)
    return step, change, torch.where(product > 0, 1 / product.clamp(min=1e-300), 0.0)


def _two_loops(
    gradient: Tensor, inverse: Tensor, history: list[tuple[Tensor, Tensor, Tensor]]
) -> Tensor:
    """The gradient times the inverse curvature that the last steps showed."""
    found, taken = gradient, []
    for step, change, scale in reversed(history):
        share = (scale * _inner(step, found)).to(found.dtype)[None, :, None]
        found = found - share * change
        taken.append(share)
    found = inverse * found
    for (step, change, scale), share in zip(history, reversed(taken)):
        back = (scale * _inner(change, found)).to(found.dtype)[None, :, None]
        found = found + (share - back) * step
    return found
