"""Scores by leaving out one group after the other, and the baselines beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray

from earthloom.assess.change_vectors import change_by_vectors
from earthloom.assess.estimate import or_none
from earthloom.assess.extent import common_multiple
from earthloom.chips.labels import Labels
from earthloom.cube import Cube
from earthloom.fit import Model
from earthloom.grid import Area
from earthloom.sample import Samples, Shape2d, Window, chips_of
from earthloom.sample.batch import collate
from earthloom.tasks import PixelClasses, decide
from earthloom.tasks.class_scores import Confusion, confusion_of


@dataclass(frozen=True)
class FoldScores:
    """Scores of one way of predicting, fold by fold."""

    confusions: Mapping[str, NDArray[np.int64]]
    """By fold: (K, K) counts, rows predicted, columns true."""

    @property
    def pooled(self) -> Confusion:
        """Of all folds together, every pixel counting the same."""
        return Confusion(np.sum(list(self.confusions.values()), axis=0))

    def summary(self, task: PixelClasses, focus: str | None) -> dict[str, Any]:
        """Pooled and per-fold figures as JSON values."""
        pooled = self.pooled
        figures: dict[str, Any] = {
            "accuracy": pooled.accuracy,
            "macro_f1": pooled.macro_f1,
            "class_f1": dict(zip(task.names, map(or_none, pooled.f1))),
            "confusion": pooled.matrix.tolist(),
            "folds": {
                name: {"accuracy": Confusion(c).accuracy, "confusion": c.tolist()}
                for name, c in self.confusions.items()
            },
        }
        if focus is not None:
            index = task.names.index(focus)
            figures |= {"f1": float(pooled.f1[index]), "iou": float(pooled.iou[index])}
            for name, counts in self.confusions.items():
                figures["folds"][name]["f1"] = or_none(Confusion(counts).f1[index])
        return figures


def score_samples(model: Model, samples: Samples) -> NDArray[np.int64]:
    """(K, K) counts over the labelled pixels of held-out chips."""
    codes = model.classes.codes
    total = np.zeros((len(codes), len(codes)), np.int64)
    chips = list(chips_of(samples))
    for first in range(0, len(chips), 256):
        batch = collate(chips[first : first + 256])
        label = batch.usable_label
        assert label is not None
        probabilities = model.probabilities(batch).to(torch.float32).numpy()
        chosen = np.stack([decide(p, codes, model.threshold) for p in probabilities])
        total += confusion_of(chosen, label.numpy().astype(np.uint8), codes)
    return total


def score_map(map_path: Path, area: Area, labels: Labels, task: PixelClasses) -> NDArray[np.int64]:
    """(K, K) counts over the labelled pixels of an area, from the map that was made of it."""
    with rasterio.open(map_path) as source:
        mapped = source.read(1)
    return confusion_of(mapped, labels.onto(area.box), task.codes)


def score_change_vectors(
    cube: Cube, area: Area, labels: Labels, task: PixelClasses
) -> NDArray[np.int64]:
    """(K, K) counts of change-vector analysis over an area, which needs no labels to predict."""
    layers = cube.window(Window(0, 0, _padded(cube)))
    rows, cols = cube.shape
    changed = change_by_vectors(layers.values())[:rows, :cols]
    chosen = np.where(changed, task.codes[1], task.codes[0]).astype(np.uint8)
    return confusion_of(chosen, labels.onto(area.box), task.codes)


def _padded(cube: Cube) -> Shape2d:
    """The base grid's shape, grown to a whole number of pixels of every layer."""
    multiple = common_multiple(cube)
    return Shape2d(*(-(-size // multiple) * multiple for size in cube.shape))
