"""Support vector machines on an encoder's features, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.fit.ridge import mean_and_scale
from earthloom.fit.shallow.base import Shallow, Solution
from earthloom.fit.shallow.calibration import LIKELIHOODS, accuracy, best_temperature, one_hot
from earthloom.fit.shallow.rows import Kind, Rows, folds_of
from earthloom.tasks.machine import MachineHead

_FOLDS = 3


@final
@dataclass(frozen=True)
class Machine(Shallow):
    """A support vector machine with a Gaussian kernel on standardised features.

    What it takes rises with the square of the rows, so there are fewer at most. Of classes, scores
    become probabilities by one temperature from held-out groups.
    """

    cost: float = 10.0
    """C of scikit-learn, what a row on the wrong side costs."""
    width: float = 1.0
    """The kernel's gamma times the number of features."""

    name: ClassVar[str] = "svm"
    kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.CLASSES, Kind.VALUES})
    most: ClassVar[int] = 5_000

    @classmethod
    def settings(cls) -> Sequence[Machine]:
        return [cls(), cls(cost=1.0), cls(cost=100.0), cls(width=0.3), cls(width=3.0)]

    def solved(self, rows: Rows, seed: int) -> tuple[MachineHead, Solution]:
        head, _ = self.machine(rows)
        solution: Solution = {"vectors": head.vectors}
        if rows.kind is Kind.CLASSES:
            logits = self._held_out(rows, seed)
            truth = one_hot(rows.kind, rows.answers, rows.outputs)
            repeats = rows.standing_for
            temperature, loss = best_temperature(
                LIKELIHOODS[rows.kind], logits.double(), truth.double(), repeats
            )
            head.temperature.fill_(temperature)
            right = accuracy(rows.kind, logits, rows.answers, repeats)
            solution |= {
                "temperature": temperature,
                "held_out_loss": loss,
                "held_out_accuracy": right,
            }
        return head, solution

    def machine(self, rows: Rows) -> tuple[MachineHead, Any]:
        """A head without a temperature, and the scikit-learn machine that it equals."""
        from sklearn.svm import SVC, SVR

        mean, scale = mean_and_scale(rows.features, rows.repeats)
        standard = ((rows.features.double() - mean) * scale).float()
        gamma = self.width / rows.features.shape[1]
        kind = {Kind.CLASSES: SVC, Kind.VALUES: SVR}[rows.kind]
        machine = kind(C=self.cost, gamma=gamma, kernel="rbf", cache_size=500)
        weights = rows.importance.numpy()
        machine.fit(standard.numpy(), rows.answers.numpy(), sample_weight=weights)
        head = head_of(machine, rows.outputs)
        head.mean.copy_(mean)
        head.scale.copy_(scale)
        return head, machine

    def _held_out(self, rows: Rows, seed: int) -> Tensor:
        """(N, K) scores of each row by a machine of the other folds' rows."""
        folds = torch.from_numpy(folds_of(rows, _FOLDS, seed))
        logits = torch.zeros(len(rows), rows.outputs)
        for fold in torch.unique(folds):
            inside = folds == fold
            others = rows.at(~inside)
            if len(torch.unique(others.answers)) < 2:
                continue
            head, _ = self.machine(replace(others, outputs=rows.outputs))
            logits[inside] = head(rows.features[inside].T[None, :, :, None])[0, :, :, 0].T
        return logits


def head_of(machine: Any, outputs: int) -> MachineHead:
    """The head that scores what a fitted scikit-learn SVC or SVR does, features as they are."""
    classes = getattr(machine, "classes_", None)
    sizes = [] if classes is None else machine.n_support_.tolist()
    support = np.asarray(machine.support_vectors_, np.float32)
    head = MachineHead(support.shape[1], outputs, sizes, len(support))
    head.support.copy_(torch.from_numpy(support))
    # Those with an underscore are the solver's own: scikit-learn turns the sign for two classes.
    head.dual.copy_(torch.from_numpy(_dense(machine._dual_coef_)))
    head.intercept.copy_(torch.from_numpy(np.atleast_1d(machine._intercept_)))
    head.gamma.fill_(float(machine._gamma))
    if classes is not None:
        head.present.copy_(torch.from_numpy(np.asarray(classes, np.int64)))
    return head.eval()


def _dense(values: Any) -> NDArray[np.float64]:
    return np.asarray(values.todense() if hasattr(values, "todense") else values, np.float64)
