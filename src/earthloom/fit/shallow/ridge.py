"""Ridge regression in closed form, for classes, labels and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from earthloom.fit.ridge import BALANCE, solve_ridge, solve_ridge_values
from earthloom.fit.shallow.base import Shallow, Solution
from earthloom.fit.shallow.calibration import LIKELIHOODS, accuracy, best_temperature
from earthloom.fit.shallow.rows import Kind, Rows
from earthloom.tasks.ridge import RidgeHead


@final
@dataclass(frozen=True)
class Ridge(Shallow):
    """Least squares with a penalty, on features and random Fourier features of them."""

    random_features: int = 512
    """0 for a map that is linear in the features."""

    name: ClassVar[str] = "ridge"
    kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)

    @classmethod
    def settings(cls) -> Sequence[Ridge]:
        return [cls(), cls(random_features=0), cls(random_features=2048)]

    def solved(self, rows: Rows, seed: int) -> tuple[RidgeHead, Solution]:
        if rows.kind is Kind.CLASSES:
            return self._classes(rows, seed)
        return self._numbers(rows, seed)

    def _classes(self, rows: Rows, seed: int) -> tuple[RidgeHead, Solution]:
        solved = solve_ridge(
            rows.features,
            rows.answers,
            rows.groups,
            rows.weights,
            class_count=rows.outputs,
            random_features=self.random_features,
            seed=seed,
            repeats=rows.repeats,
        )
        return solved.head, {
            "balance": BALANCE,
            "penalty": solved.penalty,
            "temperature": solved.temperature,
            "held_out_loss": solved.held_out_loss,
            "held_out_accuracy": solved.held_out_accuracy,
        }

    def _numbers(self, rows: Rows, seed: int) -> tuple[RidgeHead, Solution]:
        solved = solve_ridge_values(
            rows.features,
            rows.answers.double().reshape(len(rows), rows.outputs),
            rows.groups,
            rows.weights,
            random_features=self.random_features,
            seed=seed,
            repeats=rows.repeats,
        )
        found: Solution = {"penalty": solved.penalty, "held_out_error": solved.held_out_error}
        if rows.kind is Kind.VALUES:
            return solved.head, found
        # A label is likelier than not from one half on.
        logits, repeats = solved.held_out - 0.5, rows.standing_for
        temperature, loss = best_temperature(
            LIKELIHOODS[rows.kind], logits, rows.answers.double(), repeats
        )
        solved.head.weights[0] -= 0.5
        solved.head.temperature.fill_(temperature)
        right = accuracy(rows.kind, logits, rows.answers, repeats)
        found |= {"temperature": temperature, "held_out_loss": loss, "held_out_accuracy": right}
        return solved.head, found
