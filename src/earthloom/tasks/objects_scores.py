"""How well things are found: average precision, precision, recall, and errors of counts.

Matching and averaging are those of COCO (Lin et al. 2014), without its limit of 100 things an image
unless one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError, choices
from earthloom.sample.batch import Batch
from earthloom.tasks.base import Score
from earthloom.tasks.objects import Answer, Known, Things

THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""Least overlaps that average precision is averaged over."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""Where precision is read off."""

Overlaps = Callable[[Things, Things], NDArray[np.float64]]
"""(N, M) intersection over union of things and things."""


@dataclass
class _Matches:
    """What was found of one class, over all chips."""

    scores: list[NDArray[np.float64]] = field(default_factory=list)
    hits: list[NDArray[np.bool_]] = field(default_factory=list)
    """(n, T): whether a thing is one of the known ones, for each least overlap."""
    known: int = 0

    def ranked(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Scores (n,), the greatest first, and hits (n, T)."""
        scores, hits = np.concatenate(self.scores), np.concatenate(self.hits)
        order = np.argsort(-scores, kind="stable")
        return scores[order], hits[order]


class ThingScore(Score[Answer]):
    """Scores of detectors over any number of chips.

    `names` are those of the classes by code; `overlaps` says how much two things have in common;
    `threshold` is the score from which a thing counts in precision, recall, f1 and counts;
    `thresholds` are least overlaps, the first of which those are of; of a chip and class the `most`
    surest things count.
    """

    def __init__(
        self,
        names: Mapping[int, str],
        known: Known,
        overlaps: Overlaps,
        threshold: float = 0.5,
        thresholds: tuple[float, ...] = THRESHOLDS,
        most: int | None = None,
    ) -> None:
        self._names, self._known, self._overlaps = dict(names), known, overlaps
        self._threshold, self._least, self._most = threshold, np.array(thresholds), most
        self._matches = {code: _Matches() for code in names}
        self._errors: dict[int, list[float]] = {code: [] for code in names}

    def update(self, answer: Answer, batch: Batch) -> None:
        """Takes the things of a batch; chips without a target are passed over."""
        if len(batch.targets) not in (0, len(answer)):
            raise ContractError(
                f"there are answers to {len(answer)} chips and targets of {len(batch.targets)}"
            )
        for found, target in zip(answer, batch.targets, strict=False):
            if target is not None:
                self.add(found, self._known(target))

    def add(self, found: Things, known: Things) -> None:
        """Takes the things that were found in one chip, and those that are there."""
        for code, matches in self._matches.items():
            ours, theirs = found.some(found.codes == code), known.some(known.codes == code)
            ours = ours.some(np.argsort(-ours.scores, kind="stable")[: self._most])
            scores = ours.scores.astype(np.float64)
            matches.scores.append(scores)
            overlaps = self._overlaps(ours, theirs)
            matches.hits.append(
                np.stack([matched(overlaps, least) for least in self._least], axis=1)
            )
            matches.known += len(theirs)
            self._errors[code].append(float((scores >= self._threshold).sum() - len(theirs)))

    def compute(self) -> Mapping[str, float]:
        """`map`, `map_50`, `map_75` and of each class `ap_NAME`, `ap_50_NAME`; `precision`,
        `recall` and `f1` of all classes together and `f1_NAME`, where things overlap by the first
        least overlap; `count_mae` and `count_bias`, things a chip."""
        figures: dict[str, float] = {}
        table = {code: self._precisions(code) for code in self._names}
        of_all = np.array(list(table.values())).reshape(len(table), len(self._least))
        figures["map"] = _mean(of_all)
        for at, least in enumerate(self._least):
            if round(least * 100) in (40, 50, 75):
                figures[f"map_{round(least * 100)}"] = _mean(of_all[:, at])
        for code, name in self._names.items():
            figures[f"ap_{name}"] = float(table[code].mean())
            figures[f"ap_50_{name}"] = self._at(table[code], 0.5)
        figures |= self._at_threshold()
        errors = [error for each in self._errors.values() for error in each]
        figures["count_mae"] = _mean(np.abs(errors))
        figures["count_bias"] = _mean(np.array(errors))
        return figures

    def best_threshold(self, least: float = 0.5) -> float:
        """The score from which `f1` of all classes is best; NaN where nothing was found."""
        at = int(np.argmin(np.abs(self._least - least)))
        hits = [h[:, at] for m in self._matches.values() for h in m.hits]
        known = sum(m.known for m in self._matches.values())
        if not known or not sum(map(len, hits)):
            return float("nan")
        scores = np.concatenate([s for m in self._matches.values() for s in m.scores])
        order = np.argsort(-scores, kind="stable")
        right = np.cumsum(np.concatenate(hits)[order])
        f1 = 2 * right / (np.arange(1, len(scores) + 1) + known)
        # Things of one score count together.
        last = np.append(np.diff(scores[order]) != 0, True)
        return float(scores[order][last][np.argmax(f1[last])])

    def _precisions(self, code: int) -> NDArray[np.float64]:
        """(T,) average precision of a class; NaN where there is none of it."""
        matches = self._matches[code]
        if not matches.known:
            return np.full(len(self._least), np.nan)
        _, hits = matches.ranked()
        return np.array([average_precision(each, matches.known) for each in hits.T])

    def _at(self, row: NDArray[np.float64], least: float) -> float:
        at = np.flatnonzero(np.isclose(self._least, least))
        return float(row[at[0]]) if len(at) else float("nan")

    def _at_threshold(self) -> dict[str, float]:
        right = found = known = 0
        figures = {}
        for code, name in self._names.items():
            own = self._matches[code]
            chosen = [scores >= self._threshold for scores in own.scores]
            hits = sum(int(h[c, 0].sum()) for h, c in zip(own.hits, chosen, strict=True))
            count = sum(int(c.sum()) for c in chosen)
            figures[f"f1_{name}"] = _ratio(2 * hits, count + own.known)
            right, found, known = right + hits, found + count, known + own.known
        return figures | {
            "precision": _ratio(right, found),
            "recall": _ratio(right, known),
            "f1": _ratio(2 * right, found + known),
        }


def matched(overlaps: NDArray[np.float64], least: float) -> NDArray[np.bool_]:
    """(N,) whether each thing, the surest first, takes a known one (N, M) that none took before:
    the one that it overlaps most, by `least` at least."""
    count, known = overlaps.shape
    free = np.ones(known, np.bool_)
    hits = np.zeros(count, np.bool_)
    for row in range(count if known else 0):
        open_ones = np.where(free, overlaps[row], -1.0)
        # Of equal ones the last, as COCO's own program has it.
        best = known - 1 - int(np.argmax(open_ones[::-1]))
        if open_ones[best] >= min(least, 1 - 1e-10):
            hits[row], free[best] = True, False
    return hits


def average_precision(hits: NDArray[np.bool_], known: int) -> float:
    """Mean over `RECALLS` of the best precision at that recall or more; hits (n,), the surest
    first, of `known` things."""
    right = np.cumsum(hits)
    recall = right / known
    precision = right / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS, side="left")
    read = np.append(envelope, 0.0)[np.minimum(at, len(envelope))]
    return float(read.mean())


def check_thresholds(thresholds: tuple[float, ...]) -> None:
    """ContractError for least overlaps that are none."""
    if not thresholds or any(not 0 < each <= 1 for each in thresholds):
        raise ContractError(
            f"least overlaps must lie above 0 and not above 1, but are {choices(thresholds)}"
        )


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
