"""Fitting without gradient descent: features of the labelled pixels, then one solve."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.encoders.base import Encoder
from earthloom.encoders.time_features import TimeFeatures
from earthloom.errors import LabelError, choices
from earthloom.fit.forest import grow_forest
from earthloom.fit.model import Member, Model
from earthloom.fit.ridge import BALANCE, solve_ridge
from earthloom.fit.statistics import statistics_of
from earthloom.sample import UNLABELLED, Chip, Layer, Samples, Shape2d, Window, chips_of
from earthloom.sample.batch import collate
from earthloom.tasks import Head, PixelClasses

if TYPE_CHECKING:
    from earthloom.progress import Tick
    from earthloom.project import ForestModel, RidgeModel

PER_CHIP_AND_CLASS = 32
"""Most pixels of a class that are taken from one chip; the others lie beside and look alike."""

_MOST = 12_000
"""Most pixels in all; beyond, those of the classes that have most are thinned."""

_BATCH_PIXELS = 65_536


@dataclass(frozen=True)
class _Labelled:
    """Features of labelled pixels."""

    features: Tensor
    """(N, F) float32."""
    classes: Tensor
    """(N,) int64 class indices."""
    weights: Tensor
    """(N,) float64: how much a pixel counts; n pixels of one class in one chip count as sqrt(n).
    What their labels weigh, `repeats`, is not in it."""
    groups: list[str]
    counts: Mapping[str, int]
    """Labelled pixels of each class, those that were not taken included."""
    repeats: Tensor | None = None
    """(N,) float64: the weight of each pixel's label; None where no chip has any."""


def fit_closed_form(
    samples: Samples,
    task: PixelClasses,
    choice: RidgeModel | ForestModel,
    seed: int,
    tick: Tick | None = None,
) -> Model:
    """A model of the samples' labelled pixels; LabelError if they show fewer than two classes."""
    layers = tuple(samples.specs.values())
    statistics = statistics_of(samples)
    encoder: Encoder
    if choice.name == "forest":
        encoder = TimeFeatures(layers, statistics, only_bands=True)
    else:
        encoder = TimeFeatures(layers, statistics, radius=choice.radius)
    labelled = _collect(samples, task, encoder.eval(), seed, tick)
    head: Head
    if choice.name == "forest":
        head, found = _forest(labelled, task, choice, seed)
    else:
        head, found = _ridge(labelled, task, choice, seed)
    record = {
        "labels": dict(labelled.counts),
        "pixels": len(labelled.classes),
        "settings": choice.as_inputs(),
        "seed": seed,
        "solution": found,
    }
    return Model((Member(encoder, head.eval()),), task, threshold=None, record=record)


def _ridge(
    labelled: _Labelled, task: PixelClasses, choice: RidgeModel, seed: int
) -> tuple[Head, dict[str, float]]:
    solved = solve_ridge(
        labelled.features,
        labelled.classes,
        labelled.groups,
        labelled.weights,
        class_count=len(task.codes),
        random_features=choice.random_features,
        seed=seed,
        repeats=labelled.repeats,
    )
    return solved.head, {
        "balance": BALANCE,
        "penalty": solved.penalty,
        "temperature": solved.temperature,
        "held_out_loss": solved.held_out_loss,
        "held_out_accuracy": solved.held_out_accuracy,
    }


def _forest(
    labelled: _Labelled, task: PixelClasses, choice: ForestModel, seed: int
) -> tuple[Head, dict[str, float]]:
    head = grow_forest(
        labelled.features,
        labelled.classes,
        class_count=len(task.codes),
        trees=choice.trees,
        seed=seed,
        weights=labelled.repeats,
    )
    return head, {"nodes": head.nodes, "depth": int(head.depths.max())}


@torch.inference_mode()
def _collect(
    samples: Samples, task: PixelClasses, encoder: Encoder, seed: int, tick: Tick | None
) -> _Labelled:
    """Features of the labelled pixels, as many of each chip and class as count."""
    counts = np.zeros(256, dtype=np.int64)
    features, classes, weights, repeats, groups = [], [], [], [], []
    weighted = False
    for done, chips in _batches(samples, encoder.radius, counts):
        encoded = encoder(collate(chips))
        for number, chip in enumerate(chips):
            rows, cols, codes, weight, repeat = _chosen(chip, encoded.seen[number].numpy(), seed)
            features.append(encoded.pixels[number][:, rows, cols].T)
            classes.append(task.indices(codes))
            weights.append(weight)
            repeats.append(repeat)
            weighted |= chip.weight is not None
            groups += [chip.group] * len(codes)
        if tick:
            tick(done, len(samples))
    named = {name: int(counts[code]) for code, name in zip(task.codes, task.names, strict=True)}
    _check(named, len(samples))
    return _thinned(
        _Labelled(
            torch.cat(features),
            torch.cat(classes),
            torch.cat(weights),
            groups,
            named,
            torch.cat(repeats) if weighted else None,
        ),
        seed,
    )


def _check(counts: Mapping[str, int], chips: int) -> None:
    """LabelError unless two classes or more are labelled."""
    present = [name for name, count in counts.items() if count]
    if len(present) < 2:
        raise LabelError(
            f"a model needs labels of two classes or more; the {chips} training chips have labels "
            f"of: {choices(present)}; the project's classes are: {choices(counts)}"
        )


def _batches(
    samples: Samples, radius: int, counts: NDArray[np.int64]
) -> Iterator[tuple[int, list[Chip]]]:
    """Labelled chips, cut to what their labels need, those of one shape side by side.

    Their labels have `UNLABELLED` for pixels that do not count, see `Chip.usable_label`.
    Adds their labelled pixels to `counts` by class code, and says how many chips were read.
    """
    waiting: dict[Shape2d, list[Chip]] = {}
    for done, chip in enumerate(chips_of(samples), start=1):
        label = chip.usable_label
        if label is None or not label.any():
            continue
        counts += np.bincount(label[label != UNLABELLED], minlength=256)
        cut = _cut(replace(chip, label=label), radius)
        alike = waiting.setdefault(cut.shape, [])
        alike.append(cut)
        if len(alike) * cut.shape.rows * cut.shape.cols >= _BATCH_PIXELS:
            yield done, waiting.pop(cut.shape)
    for alike in waiting.values():
        yield len(samples), alike


def _cut(chip: Chip, radius: int) -> Chip:
    """The part of a chip that holds its labels and what the encoder looks at around them.

    A chip with one labelled point then costs little more than a point.
    """
    assert chip.label is not None
    step = max(layer.spec.factor for layer in chip.layers.values())
    rows, cols = np.nonzero(chip.label)
    row, height = _span(rows, chip.shape.rows, radius, step)
    col, width = _span(cols, chip.shape.cols, radius, step)
    window = Window(row, col, Shape2d(height, width))
    inside = slice(row, row + height), slice(col, col + width)
    label = chip.label[inside]
    weight = None if chip.weight is None else chip.weight[inside]
    layers = {key: _cut_layer(layer, window) for key, layer in chip.layers.items()}
    return replace(chip, shape=window.shape, layers=layers, label=label, weight=weight, place=None)


def _span(labelled: NDArray[np.intp], size: int, radius: int, step: int) -> tuple[int, int]:
    """First position and length of the labelled span and its surroundings, on whole `step`s."""
    first = max(int(labelled.min()) - radius, 0) // step * step
    last = -(-min(int(labelled.max()) + 1 + radius, size) // step) * step
    return first, last - first


def _cut_layer(layer: Layer, window: Window) -> Layer:
    at = window.coarser(layer.spec.factor)
    rows = slice(at.row, at.row + at.shape.rows)
    cols = slice(at.col, at.col + at.shape.cols)
    return replace(layer, pixels=layer.pixels[..., rows, cols], valid=layer.valid[..., rows, cols])


def _chosen(
    chip: Chip, seen: NDArray[np.bool_], seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Rows, columns, codes, weights and repeats of the labelled pixels that are taken from a chip.

    Pixels that were never seen are not. The draw follows from the seed and the chip's name, so
    the order of chips plays no part.
    """
    assert chip.label is not None
    key = int.from_bytes(hashlib.sha256(f"{seed} {chip.id}".encode()).digest()[:8])
    rng = np.random.default_rng(key)
    label = np.where(seen, chip.label, UNLABELLED)
    repeat = np.ones(label.size) if chip.weight is None else chip.weight.ravel().astype(np.float64)
    taken, weights = [np.empty(0, dtype=np.intp)], [np.empty(0)]
    for code in np.unique(label[label != UNLABELLED]):
        all_of = np.flatnonzero(label == code)
        some = np.sort(rng.permutation(all_of)[:PER_CHIP_AND_CLASS])
        taken.append(some)
        weights.append(np.full(len(some), repeat[some].sum() ** -0.5))
    flat = np.concatenate(taken)
    rows, cols = (torch.from_numpy(at) for at in np.unravel_index(flat, label.shape))
    codes = torch.from_numpy(label.ravel()[flat].astype(np.int64))
    even, repeats = torch.from_numpy(np.concatenate(weights)), torch.from_numpy(repeat[flat])
    return rows, cols, codes, even, repeats


def _thinned(labelled: _Labelled, seed: int) -> _Labelled:
    """At most `_MOST` pixels: classes are cut to one common size, the rare ones stay whole."""
    sizes = torch.bincount(labelled.classes)
    if int(sizes.sum()) <= _MOST:
        return labelled
    limit = _common_limit(sizes.tolist(), _MOST)
    rng = np.random.default_rng(seed)
    numbers = labelled.classes.numpy()
    kept = np.sort(
        np.concatenate(
            [rng.permutation(np.flatnonzero(numbers == k))[:limit] for k in range(len(sizes))]
        )
    )
    # What was left out still counts, through the weight of what was kept.
    lost = torch.tensor([max(size / limit, 1.0) for size in sizes.tolist()], dtype=torch.float64)
    classes = labelled.classes[kept]
    return _Labelled(
        labelled.features[kept],
        classes,
        labelled.weights[kept] * lost[classes],
        [labelled.groups[i] for i in kept],
        labelled.counts,
        None if labelled.repeats is None else labelled.repeats[kept],
    )


def _common_limit(sizes: list[int], most: int) -> int:
    """The largest L with sum(min(size, L)) <= most."""
    left, still = most, sorted(sizes)
    for position, size in enumerate(still):
        share = left // (len(still) - position)
        if size > share:
            return share
        left -= size
    return max(sizes)
