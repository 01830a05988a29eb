"""Labels of whole images: one class, or every class that an image shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earthloom.chips.label_vocabulary import IGNORE, Vocabulary
from earthloom.errors import LabelError, choices
from earthloom.sample import UNLABELLED


@dataclass(frozen=True)
class SceneLabels:
    """Classes of N images, among K."""

    images: tuple[str, ...]
    """(N,) their names."""
    codes: tuple[int, ...]
    """(K,) the class codes that the columns of `shown` stand for."""
    shown: NDArray[np.bool_]
    """(N, K) True where an image shows a class."""

    def single(self) -> NDArray[np.uint8]:
        """The one class (N,) of each image; LabelError if an image has several, or none."""
        counts = self.shown.sum(axis=1)
        wrong = np.flatnonzero(counts != 1)
        if wrong.size:
            raise LabelError(
                f"the image {self.images[wrong[0]]} has {counts[wrong[0]]} classes, not one; "
                f"{wrong.size} of {len(self.images)} images are so"
            )
        codes: NDArray[np.uint8] = np.asarray(self.codes, np.uint8)[self.shown.argmax(axis=1)]
        return codes


def class_shares(label: NDArray[np.uint8], codes: Sequence[int]) -> NDArray[np.float64]:
    """Share (K,) of each class among the pixels (H, W) that have one; zeros where none has."""
    counts = np.bincount(label.ravel(), minlength=IGNORE + 1)[list(codes)]
    return counts / max(int(counts.sum()), 1)


def scene_class(label: NDArray[np.uint8], codes: Sequence[int], least: float = 0.5) -> int:
    """The class of more than `least` of the labelled pixels (H, W), else `UNLABELLED`."""
    shares = class_shares(label, codes)
    best = int(shares.argmax())
    return codes[best] if shares[best] > least else UNLABELLED


def scene_classes(
    label: NDArray[np.uint8], codes: Sequence[int], least: float = 0.0
) -> NDArray[np.bool_]:
    """Which classes (K,) have more than `least` of the labelled pixels (H, W)."""
    return class_shares(label, codes) > least


def read_scene_labels(
    path: Path, image: str, column: str, vocabulary: Vocabulary, between: str = "|"
) -> SceneLabels:
    """Classes of images from a CSV with a row for each image, or several.

    `column` holds one class or several with `between` between them; `image` names the images.
    LabelError for a column that is missing, a row without an image, an unknown class.
    """
    try:
        table = pd.read_csv(path, dtype=str)
    except (OSError, UnicodeError, ValueError) as error:
        words = " ".join(str(error).split())
        raise LabelError(f"the labels {path} cannot be read: {words}") from error
    for name in (image, column):
        if name not in table.columns:
            raise LabelError(
                f"the labels {path} have no column '{name}'; they have: {choices(table.columns)}"
            )
    found: dict[str, set[int]] = {}
    for number, (name, classes) in enumerate(zip(table[image], table[column]), start=1):
        if pd.isna(name) or pd.isna(classes):
            raise LabelError(f"row {number} of the labels {path} has no image or no class")
        codes = found.setdefault(str(name), set())
        for one in str(classes).split(between):
            code = vocabulary.code(one)
            if code is None:
                raise vocabulary.unknown(one, f"row {number} of the labels {path}")
            codes.add(code)
    if not found:
        raise LabelError(f"the labels {path} hold no images")
    known = sorted(set(vocabulary.codes.values()) - {UNLABELLED, IGNORE})
    shown = np.array([[code in codes for code in known] for codes in found.values()], np.bool_)
    return SceneLabels(tuple(found), tuple(known), shown.reshape(len(found), len(known)))
