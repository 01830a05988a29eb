"""What held-out rows say: their loss, and the temperature at which it is lowest."""

import math

import torch
from torch import Tensor

from earthloom.fit.shallow.logistic import EACH_ALONE, ONE_OF_MANY, Likelihood
from earthloom.fit.shallow.rows import Kind

_LOWEST, _HIGHEST = math.log(0.01), math.log(100.0)

LIKELIHOODS = {Kind.CLASSES: ONE_OF_MANY, Kind.LABELS: EACH_ALONE}


def held_out_loss(
    likelihood: Likelihood, logits: Tensor, answers: Tensor, repeats: Tensor
) -> float:
    """Mean negative log-likelihood of rows (N, K) that stand for `repeats` (N,) each."""
    each = likelihood.losses(logits[:, None], answers[:, None].to(logits))[:, 0]
    return float((each.double() * repeats.to(each.device)).sum() / repeats.sum())


def best_temperature(
    likelihood: Likelihood, logits: Tensor, answers: Tensor, repeats: Tensor
) -> tuple[float, float]:
    """What to divide held-out logits (N, K) by, and the loss then (Guo et al. 2017).

    Of 0.01 to 100; the loss has one lowest point, as it is convex in one over the temperature.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return held_out_loss(likelihood, scaled, answers, repeats)

    found = minimize_scalar(
        loss, bounds=(_LOWEST, _HIGHEST), method="bounded", options={"xatol": 1e-3}
    )
    return math.exp(float(found.x)), float(found.fun)


def one_hot(kind: Kind, answers: Tensor, outputs: int) -> Tensor:
    """(N, K) float32: 1 for each class that a row is of; values as they are, (N, 1)."""
    if kind is Kind.CLASSES:
        return torch.nn.functional.one_hot(answers, outputs).float()
    return answers.float().reshape(len(answers), outputs)


def accuracy(kind: Kind, logits: Tensor, answers: Tensor, repeats: Tensor) -> float:
    """Share of rows, or of labels of rows, that are right."""
    if kind is Kind.CLASSES:
        right = (logits.argmax(dim=1) == answers).double()
    else:
        right = ((logits > 0) == answers).double().mean(dim=1)
    return float((right * repeats).sum() / repeats.sum())
