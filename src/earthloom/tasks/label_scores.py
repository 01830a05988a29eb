"""Scores of several labels at once, each of which a chip has or has not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from earthloom.tasks.class_scores import (
    calibration_error,
    confidence_bins,
    mean_of_known,
    ratio,
    slugs,
)

THRESHOLD = 0.5
"""Probability from which a label is told, in F1."""


@final
class LabelTally:
    """Keeps all answers (N, K): average precision needs them in order."""

    def __init__(self, names: Sequence[str]) -> None:
        self._slugs = slugs(names)
        self._shares: list[NDArray[np.float32]] = [np.zeros((0, len(names)), np.float32)]
        self._truth: list[NDArray[np.bool_]] = [np.zeros((0, len(names)), bool)]
        self._counts: list[NDArray[np.float64]] = [np.zeros(0)]

    def add(self, shares: Tensor, truth: Tensor, counts: Tensor | None = None) -> None:
        """Probabilities (N, K), truth (N, K) bool, and how much each row counts (N,), None for
        once; rows of NaN are counted as not seen."""
        self._shares.append(shares.detach().cpu().numpy().astype(np.float32))
        self._truth.append(truth.cpu().numpy())
        each = np.ones(len(truth)) if counts is None else counts.double().cpu().numpy()
        self._counts.append(each)

    def metrics(self) -> dict[str, float]:
        """By name:

        `macro_ap`, the mean of the average precision of each label that some chip has, and
        `micro_ap`, that of all labels as if they were one: what frequent labels lead; `macro_f1`
        and `micro_f1`, where labels are told from a probability of 0.5 on; `brier`, the mean
        squared error of probabilities; `ece`, their expected calibration error; `seen`, the share
        of labelled chips that have an answer; `ap_LABEL` and `f1_LABEL`. NaN where nothing was.
        """
        shares, truth = np.concatenate(self._shares), np.concatenate(self._truth)
        counts = np.concatenate(self._counts)
        seen = ~np.asarray(np.isnan(shares).any(axis=1))
        told, true, each = shares[seen], truth[seen], counts[seen]
        columns = range(true.shape[1])
        precision = np.array([_average_precision(told[:, k], true[:, k], each) for k in columns])
        hit = each @ ((told >= THRESHOLD) & true)
        wrong = each @ ((told >= THRESHOLD) != true)
        of_all = np.repeat(each, len(columns))
        squares = (told.astype(np.float64) - true) ** 2
        with np.errstate(invalid="ignore"):
            f1 = 2 * hit / (2 * hit + wrong)
        metrics = {
            "macro_ap": mean_of_known(precision),
            "micro_ap": _average_precision(told.ravel(), true.ravel(), of_all),
            "macro_f1": mean_of_known(f1),
            "micro_f1": ratio(2.0 * hit.sum(), 2.0 * hit.sum() + wrong.sum()),
            "brier": ratio(float((each @ squares).sum()), float(of_all.sum())),
            "ece": calibration_error(confidence_bins(told.ravel(), true.ravel(), of_all)),
            "seen": ratio(float(each.sum()), float(counts.sum())),
        }
        for what, values in (("ap", precision), ("f1", f1)):
            metrics |= {f"{what}_{s}": float(v) for s, v in zip(self._slugs, values, strict=True)}
        return metrics


def _average_precision(
    told: NDArray[np.float32], true: NDArray[np.bool_], each: NDArray[np.float64]
) -> float:
    """The area under precision and recall, as steps, of probabilities (N,) that count `each` (N,);
    NaN where none of truth (N,) is."""
    from sklearn.metrics import average_precision_score

    if not true.any():
        return float("nan")
    return float(average_precision_score(true, told, sample_weight=each))
