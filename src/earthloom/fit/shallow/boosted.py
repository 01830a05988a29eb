"""Gradient boosting for classes and values, stopped by held-out groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from earthloom.fit.boosted import head_of
from earthloom.fit.shallow.base import Shallow, Solution
from earthloom.fit.shallow.rows import Kind, Rows, folds_of
from earthloom.tasks.boosted import BoostedHead

_FOLDS = 5


@final
@dataclass(frozen=True)
class Boosted(Shallow):
    """Histogram gradient boosting (Ke et al. 2017).

    A fifth of the groups says how many rounds are best; then all rows are boosted so often. A round
    grows a tree for each class, which takes long where there are many.
    """

    rounds: int = 100
    """At most."""
    learning_rate: float = 0.1
    leaves: int = 15
    features: float = 0.3
    """Share of the features that a split looks at."""

    name: ClassVar[str] = "boosted"
    kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.CLASSES, Kind.VALUES})

    @classmethod
    def settings(cls) -> Sequence[Boosted]:
        return [cls(), cls(rounds=300, learning_rate=0.05), cls(leaves=31)]

    def solved(self, rows: Rows, seed: int) -> tuple[BoostedHead, Solution]:
        features, answers = rows.features.numpy(), rows.answers.numpy()
        weights = rows.importance.numpy()
        present = _present(rows)
        answers = answers if rows.kind is Kind.VALUES else np.searchsorted(present, answers)
        kept = folds_of(rows, _FOLDS, seed) != 0
        rounds, loss = self._best_rounds(rows.kind, features, answers, weights, kept, seed)
        booster = self._booster(rows.kind, rounds, len(features), seed)
        booster.fit(features, answers, sample_weight=weights)
        head = head_of(booster, features.shape[1], present.tolist(), rows.outputs)
        return head, {"rounds": rounds, "held_out_loss": loss}

    def _best_rounds(
        self,
        kind: Kind,
        features: NDArray[np.float32],
        answers: NDArray[Any],
        weights: NDArray[np.float64],
        kept: NDArray[np.bool_],
        seed: int,
    ) -> tuple[int, float]:
        """How many rounds are best on the rows that are not kept, and their loss then."""
        booster = self._booster(kind, self.rounds, int(kept.sum()), seed)
        if kind is Kind.CLASSES and len(np.unique(answers[kept])) < 2:
            return self.rounds, float("nan")
        booster.fit(features[kept], answers[kept], sample_weight=weights[kept])
        held_out, truth, share = features[~kept], answers[~kept], weights[~kept]
        losses = [
            float(np.average(each, weights=share))
            for each in _staged_losses(kind, booster, held_out, truth)
        ]
        best = int(np.argmin(losses))
        return best + 1, losses[best]

    def _booster(self, kind: Kind, rounds: int, rows: int, seed: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        chosen = {
            Kind.CLASSES: HistGradientBoostingClassifier,
            Kind.VALUES: HistGradientBoostingRegressor,
        }[kind]
        return chosen(
            max_iter=rounds,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves,
            # Few rows must be told apart by small leaves, many of one place resemble each other.
            min_samples_leaf=int(np.clip(rows // 100, 3, 20)),
            l2_regularization=1.0,
            max_features=self.features,
            early_stopping=False,
            random_state=seed,
        )


def _present(rows: Rows) -> NDArray[np.int64]:
    """Class indices that there are rows of; empty for values."""
    if rows.kind is Kind.VALUES:
        return np.empty(0, np.int64)
    found: NDArray[np.int64] = np.unique(rows.answers.numpy())
    return found


def _staged_losses(
    kind: Kind, booster: Any, features: NDArray[np.float32], truth: NDArray[Any]
) -> list[NDArray[np.float64]]:
    """(N,) loss of each row after each round; a class that was never seen is held impossible."""
    if kind is Kind.VALUES:
        return [(found - truth) ** 2 for found in booster.staged_predict(features)]
    known = booster.classes_.tolist()
    column = np.array([known.index(each) if each in known else -1 for each in truth.tolist()])
    row = np.arange(len(truth))
    return [
        -np.log(np.where(column < 0, 1e-9, found[row, column]).clip(1e-9))
        for found in booster.staged_predict_proba(features)
    ]
