"""Fitting the change model: cells drawn from every place, then boosted trees."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from earthloom.encoders.change_features import ChangeFeatures
from earthloom.errors import ContractError, LabelError
from earthloom.fit.boosted import boost
from earthloom.fit.model import Member, Model
from earthloom.fit.statistics import statistics_of
from earthloom.sample import UNLABELLED, Chip, Samples, chips_of
from earthloom.sample.batch import collate
from earthloom.tasks import PixelClasses

if TYPE_CHECKING:
    from earthloom.progress import Tick
    from earthloom.project import BoostedChangeModel

_UNCHANGED_PER_CHANGED = 4
"""How many cells without change are drawn for one with change: change is rare, and a model that is
shown it so rarely forgets it."""

Cells = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Of one place: the chip and the flat cell of each candidate."""


def fit_boosted_change(
    samples: Samples, task: PixelClasses, choice: BoostedChangeModel, seed: int, tick: Tick
) -> Model:
    """A model of the task's second class, change, against its first.

    As many cells are drawn from each group of samples, a place, so that no large place drowns a
    small one. A cell is changed if half of it or more is, unchanged if none of it is; its weight
    is the mean of its labels' weights. LabelError if there is no changed or no unchanged cell.
    """
    if len(task.codes) != 2:
        raise ContractError(
            f"a change model tells two classes, no change and change; the project has "
            f"{len(task.codes)}: {', '.join(task.names)}"
        )
    encoder = ChangeFeatures(tuple(samples.specs.values()), statistics_of(samples)).eval()
    drawn = _draw(samples, task, encoder, choice.cells, seed)
    features, changed, weights = _features(samples, encoder, drawn, tick)
    head = boost(
        features,
        changed,
        trees=choice.trees,
        learning_rate=choice.learning_rate,
        seed=seed,
        weights=weights,
    )
    record = {
        "cells": {task.names[1]: int(changed.sum()), task.names[0]: int((~changed).sum())},
        "settings": choice.as_inputs(),
        "seed": seed,
    }
    return Model((Member(encoder, head),), task, threshold=None, record=record)


def _draw(
    samples: Samples, task: PixelClasses, encoder: ChangeFeatures, cells: int, seed: int
) -> dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each chip: the changed and the unchanged cells that are taken from it."""
    found: dict[str, list[list[Cells]]] = defaultdict(lambda: [[], []])
    for number, chip in enumerate(chips_of(samples)):
        label = chip.usable_label
        assert label is not None
        state = _cell_states(label, task, encoder)
        for changed in (0, 1):
            flat = np.flatnonzero(state == changed)
            found[chip.group][changed].append((np.full(len(flat), number), flat))
    drawn: dict[int, list[list[NDArray[np.int64]]]] = defaultdict(lambda: [[], []])
    random = np.random.default_rng([seed, 0xC4])
    for group in sorted(found):
        for changed in (0, 1):
            chips, flat = (np.concatenate(each) for each in zip(*found[group][changed]))
            most = cells if changed else cells * _UNCHANGED_PER_CHANGED
            taken = random.choice(len(flat), min(most, len(flat)), replace=False)
            for number in np.unique(chips[taken]):
                drawn[int(number)][changed].append(flat[taken[chips[taken] == number]])
    return {number: (_joined(both[1]), _joined(both[0])) for number, both in sorted(drawn.items())}


def _cell_states(
    label: NDArray[np.uint8], task: PixelClasses, encoder: ChangeFeatures
) -> NDArray[np.int8]:
    """(h, w) 1 changed, 0 unchanged, -1 neither or too near the chip's edge to be seen around."""
    step, margin = encoder.stride, -(-encoder.radius // encoder.stride)
    rows, cols = (length // step for length in label.shape)
    if min(rows, cols) <= 2 * margin:
        raise ContractError(
            f"chips of {label.shape[0]} px are too small for the change model, which looks "
            f"{encoder.radius} px around; chips.size must be above {2 * margin * step}"
        )
    parts = _parts(label, step)
    state = np.full((rows, cols), -1, np.int8)
    state[(parts == task.codes[1]).mean(axis=-1) >= 0.5] = 1
    state[(parts == task.codes[0]).all(axis=-1)] = 0
    inside = np.zeros((rows, cols), np.bool_)
    inside[margin : rows - margin, margin : cols - margin] = True
    return np.where(inside, state, -1).astype(np.int8)


@torch.inference_mode()
def _features(
    samples: Samples,
    encoder: ChangeFeatures,
    drawn: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]],
    tick: Tick,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32] | None]:
    """Features (N, F) of the drawn cells that were seen, whether each changed (N,), and how much
    each counts (N,), None where no chip has weights."""
    rows, states, weights, weighted = [], [], [], False
    for done, (number, (changed, unchanged)) in enumerate(drawn.items(), start=1):
        chip = samples[number]
        encoded = encoder(collate([chip]))
        seen = encoded.seen[0].flatten().numpy()
        flat = np.concatenate([changed, unchanged])
        state = np.arange(len(flat)) < len(changed)
        rows.append(encoded.pixels[0].flatten(1).numpy()[:, flat[seen[flat]]].T)
        states.append(state[seen[flat]])
        weights.append(_cell_weights(chip, encoder)[flat[seen[flat]]])
        weighted |= chip.weight is not None
        tick(done, len(drawn))
    features = np.concatenate(rows) if rows else np.zeros((0, encoder.channels), np.float32)
    state = np.concatenate(states) if states else np.zeros(0, np.bool_)
    if not state.any() or state.all():
        raise LabelError(
            f"a change model needs labels of both classes; of {len(state)} usable cells "
            f"{int(state.sum())} show change"
        )
    return features, state, np.concatenate(weights) if weighted else None


def _cell_weights(chip: Chip, encoder: ChangeFeatures) -> NDArray[np.float32]:
    """(h * w,) the mean weight of the pixels of each cell whose label counts; 0 without any."""
    label, step = chip.usable_label, encoder.stride
    assert label is not None
    weight = np.ones(label.shape, np.float32) if chip.weight is None else chip.weight
    counts = _parts(label != UNLABELLED, step)
    total = (_parts(weight, step) * counts).sum(axis=-1)
    mean: NDArray[np.float32] = total / np.maximum(counts.sum(axis=-1), 1)
    return mean.ravel().astype(np.float32)


def _parts(values: NDArray[Any], step: int) -> NDArray[Any]:
    """Pixels (H, W) as cells (h, w, step * step)."""
    rows, cols = (length // step for length in values.shape)
    return values.reshape(rows, step, cols, step).swapaxes(1, 2).reshape(rows, cols, -1)


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
