"""Nearest neighbours: how many, and how much they say, by held-out groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from earthloom.fit.ridge import mean_and_scale
from earthloom.fit.shallow.base import Shallow, Solution
from earthloom.fit.shallow.calibration import LIKELIHOODS, accuracy, held_out_loss, one_hot
from earthloom.fit.shallow.rows import Kind, Rows, folds_of
from earthloom.tasks.links import link_of
from earthloom.tasks.neighbours import NeighboursHead, mean_answers, smoothed

NEIGHBOURS = (1, 3, 5, 10, 20, 50)
_SMOOTHINGS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""How many neighbours all training rows together count for: with none at all, a class that is not
among the neighbours would be impossible."""

_FOLDS = 10
_ROWS = 1_024
_LINKS = {Kind.CLASSES: "log", Kind.LABELS: "logit", Kind.VALUES: "none"}


@final
@dataclass(frozen=True)
class Neighbours(Shallow):
    """The nearest training rows decide; the features are standardised first."""

    cosine: bool = True
    """Whether near is what lies in the same direction from the mean, else by Euclid."""

    name: ClassVar[str] = "knn"
    kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)
    most: ClassVar[int] = 20_000

    @classmethod
    def settings(cls) -> Sequence[Neighbours]:
        return [cls(), cls(cosine=False)]

    def solved(self, rows: Rows, seed: int) -> tuple[NeighboursHead, Solution]:
        return fit_neighbours(rows, self.cosine, NEIGHBOURS, seed)


def fit_neighbours(
    rows: Rows, cosine: bool, choices: Sequence[int], seed: int
) -> tuple[NeighboursHead, Solution]:
    """A head that holds the rows; how many neighbours are asked is one of the `choices`."""
    largest = _head(rows, cosine, max(choices))
    found = list(_tried(rows, largest, choices, seed))
    loss, neighbours, smoothing, means = min(found, key=lambda each: each[0])
    head = _head(rows, cosine, neighbours)
    head.smoothing.fill_(smoothing)
    solution: Solution = {"neighbours": neighbours, "smoothing": smoothing, "held_out_loss": loss}
    if rows.kind is not Kind.VALUES:
        logits = link_of(head.link)(means)
        right = accuracy(rows.kind, logits, rows.answers, rows.standing_for)
        solution |= {"held_out_accuracy": right}
    return head, solution


def _head(rows: Rows, cosine: bool, neighbours: int) -> NeighboursHead:
    """A head without smoothing."""
    width, link = rows.features.shape[1], _LINKS[rows.kind]
    head = NeighboursHead(width, rows.outputs, len(rows), neighbours, cosine, link)
    mean, scale = mean_and_scale(rows.features, rows.repeats)
    head.mean.copy_(mean)
    head.scale.copy_(scale)
    head.rows.copy_(head.place(rows.features))
    head.answers.copy_(one_hot(rows.kind, rows.answers, rows.outputs))
    head.repeats.copy_(rows.standing_for)
    share = (rows.standing_for / rows.standing_for.sum()).float()
    head.prior.copy_(share @ head.answers)
    return head


def _tried(
    rows: Rows, head: NeighboursHead, choices: Sequence[int], seed: int
) -> Iterator[tuple[float, int, float, Tensor]]:
    """Held-out loss, neighbours, smoothing and held-out means (N, K) of every choice."""
    nearest, reachable = _nearest(rows, head, seed)
    answers, repeats = head.answers[nearest], head.repeats[nearest] * reachable
    for neighbours in sorted(choices):
        near = slice(0, neighbours)
        plain = mean_answers(answers[:, near], repeats[:, near], neighbours)
        for smoothing in (0.0,) if rows.kind is Kind.VALUES else _SMOOTHINGS:
            means = smoothed(plain, torch.tensor(smoothing), head.prior, neighbours)
            yield _loss(rows, means), neighbours, smoothing, means


def _nearest(rows: Rows, head: NeighboursHead, seed: int) -> tuple[Tensor, Tensor]:
    """(N, k) numbers of each row's nearest rows of other folds, and whether they are of others."""
    folds = torch.from_numpy(folds_of(rows, _FOLDS, seed))
    count = min(head.neighbours, len(rows))
    found, reachable = [], []
    for part, own in zip(torch.split(head.rows, _ROWS), torch.split(folds, _ROWS), strict=True):
        distances = head.distances(part).masked_fill(own[:, None] == folds, torch.inf)
        near = distances.topk(count, largest=False, sorted=True)
        found.append(near.indices)
        reachable.append(near.values.isfinite())
    return torch.cat(found), torch.cat(reachable)


def _loss(rows: Rows, means: Tensor) -> float:
    """Mean negative log-likelihood of held-out rows, or the squared error of values."""
    repeats = rows.standing_for
    if rows.kind is Kind.VALUES:
        return float(((means[:, 0] - rows.answers).square() * repeats).sum() / repeats.sum())
    answers = one_hot(rows.kind, rows.answers, rows.outputs)
    logits = link_of(_LINKS[rows.kind])(means)
    return held_out_loss(LIKELIHOODS[rows.kind], logits, answers, repeats)
