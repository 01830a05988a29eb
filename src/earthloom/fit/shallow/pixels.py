"""Which pixels of a chip are taken as rows, and the part of the chip that they need."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from earthloom.encoders.base import Encoder, Features
from earthloom.sample import UNLABELLED, Chip, Shape2d, Window
from earthloom.sample.fitted import cut_chip
from earthloom.sample.target import PixelValues

PER_CHIP_AND_CLASS = 32
"""Most pixels of a class that are taken from one chip; the others lie beside and look alike."""

PER_CHIP = 64
"""Most pixels that are taken from one chip whose pixels have values."""


@dataclass(frozen=True)
class Taken:
    """Pixels of one chip."""

    rows: NDArray[np.intp]
    """(n,) on the base grid."""
    cols: NDArray[np.intp]
    answers: NDArray[np.int64] | NDArray[np.float64]
    """(n,) class codes, or values."""
    weights: NDArray[np.float64]
    """(n,) how much each counts among the others."""
    repeats: NDArray[np.float64]
    """(n,) the weight of each one's label."""


class PixelAnswers(Protocol):
    """How the answers to pixels stand in chips."""

    def usable(self, chip: Chip) -> Chip | None:
        """The chip with nothing but answers that count; None for a chip without any."""
        ...

    def known(self, chip: Chip) -> NDArray[np.bool_]:
        """(H, W) where a usable chip has an answer."""
        ...

    def take(self, chip: Chip, seen: NDArray[np.bool_], seed: int) -> Taken:
        """The pixels that are taken, of those that were seen (H, W).

        The draw follows from the seed and the chip's name, so the order of chips plays no part.
        """
        ...


@final
@dataclass(frozen=True)
class ClassedPixels:
    """Class codes in `Chip.label`; counts all of them as they go by."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    """(256,) labelled pixels by class code, those that are not taken included."""

    def usable(self, chip: Chip) -> Chip | None:
        label = chip.usable_label
        if label is None or not label.any():
            return None
        self.counts[:] += np.bincount(label[label != UNLABELLED], minlength=256)
        return replace(chip, label=label)

    def known(self, chip: Chip) -> NDArray[np.bool_]:
        assert chip.label is not None
        labelled: NDArray[np.bool_] = chip.label != UNLABELLED
        return labelled

    def take(self, chip: Chip, seen: NDArray[np.bool_], seed: int) -> Taken:
        assert chip.label is not None
        rng = _random(chip, seed)
        label = np.where(seen, chip.label, UNLABELLED)
        repeat = _repeats(chip)
        taken, weights = [np.empty(0, dtype=np.intp)], [np.empty(0)]
        for code in np.unique(label[label != UNLABELLED]):
            all_of = np.flatnonzero(label == code)
            some = np.sort(rng.permutation(all_of)[:PER_CHIP_AND_CLASS])
            taken.append(some)
            weights.append(np.full(len(some), repeat[some].sum() ** -0.5))
        flat = np.concatenate(taken)
        rows, cols = np.unravel_index(flat, label.shape)
        codes = label.ravel()[flat].astype(np.int64)
        return Taken(rows, cols, codes, np.concatenate(weights), repeat[flat])


@final
@dataclass(frozen=True)
class ValuedPixels:
    """Values of pixels in a `PixelValues` target."""

    unit: str | None = None
    """What they must be in; None for any."""

    def usable(self, chip: Chip) -> Chip | None:
        known = self._values(chip)
        return None if known is None or not np.isfinite(known).any() else chip

    def known(self, chip: Chip) -> NDArray[np.bool_]:
        values = self._values(chip)
        assert values is not None
        finite: NDArray[np.bool_] = np.isfinite(values)
        return finite

    def take(self, chip: Chip, seen: NDArray[np.bool_], seed: int) -> Taken:
        values = self._values(chip)
        assert values is not None
        rng = _random(chip, seed)
        flat = np.sort(rng.permutation(np.flatnonzero(np.isfinite(values) & seen))[:PER_CHIP])
        rows, cols = np.unravel_index(flat, values.shape)
        repeat = _repeats(chip)[flat]
        weights = np.full(len(flat), repeat.sum() ** -0.5 if len(flat) else 1.0)
        return Taken(rows, cols, values.ravel()[flat].astype(np.float64), weights, repeat)

    def _values(self, chip: Chip) -> NDArray[np.float32] | None:
        target = chip.target
        if not isinstance(target, PixelValues):
            return None
        check_unit(chip.id, target.unit, self.unit)
        if chip.weight is None:
            return target.values
        return np.where(chip.weight > 0, target.values, np.float32(np.nan))


def check_unit(chip: str, given: str, wanted: str | None) -> None:
    """ContractError if the answers are not in the unit that the task is in."""
    from earthloom.errors import ContractError

    if wanted is not None and given != wanted:
        raise ContractError(f"chip {chip} has values in '{given}'; the task is in '{wanted}'")


def cut(chip: Chip, known: NDArray[np.bool_], radius: int) -> Chip:
    """The part of a chip that holds its answers and what the encoder looks at around them.

    A chip with one labelled point then costs little more than a point.
    """
    step = max(layer.spec.factor for layer in chip.layers.values())
    rows, cols = np.nonzero(known)
    row, height = _span(rows, chip.shape.rows, radius, step)
    col, width = _span(cols, chip.shape.cols, radius, step)
    window = Window(row, col, Shape2d(height, width))
    return replace(cut_chip(chip, window), place=None)


def may_be_cut(encoder: Encoder) -> bool:
    """Whether a feature is the same whatever part of the chip is there beyond the radius."""
    return encoder.is_local and encoder.stride == 1 and encoder.alignment == 1


def seen_pixels(encoded: Features, number: int) -> NDArray[np.bool_]:
    """(H, W) on the base grid: where a chip of a batch was seen."""
    seen: NDArray[np.bool_] = encoded.on_base_grid(encoded.seen[number][None])[0].cpu().numpy()
    return seen


def features_at(encoded: Features, number: int, taken: Taken) -> Tensor:
    """(n, F) features of pixels of the base grid; between coarser ones as `on_base_grid` has it."""
    pixels = encoded.pixels[number]
    rows, cols = torch.from_numpy(taken.rows), torch.from_numpy(taken.cols)
    if encoded.stride == 1:
        return pixels[:, rows, cols].T
    height, width = (size * encoded.stride for size in pixels.shape[-2:])
    across = (2 * cols + 1) / width - 1
    down = (2 * rows + 1) / height - 1
    where = torch.stack([across, down], dim=-1).to(pixels)[None, None]
    found = F.grid_sample(
        pixels[None], where, mode="bilinear", padding_mode="border", align_corners=False
    )
    return found[0, :, 0].T


def counts_by_name(
    counts: NDArray[np.int64], codes: Sequence[int], names: Sequence[str]
) -> Mapping[str, int]:
    """Counts (256,) of class codes by the classes' names."""
    return {name: int(counts[code]) for code, name in zip(codes, names, strict=True)}


def _random(chip: Chip, seed: int) -> np.random.Generator:
    key = int.from_bytes(hashlib.sha256(f"{seed} {chip.id}".encode()).digest()[:8])
    return np.random.default_rng(key)


def _repeats(chip: Chip) -> NDArray[np.float64]:
    """(H * W,) weights of labels, 1 where nothing is said."""
    if chip.weight is None:
        return np.ones(chip.shape.rows * chip.shape.cols)
    return chip.weight.ravel().astype(np.float64)


def _span(labelled: NDArray[np.intp], size: int, radius: int, step: int) -> tuple[int, int]:
    """First position and length of the labelled span and its surroundings, on whole `step`s."""
    first = max(int(labelled.min()) - radius, 0) // step * step
    last = -(-min(int(labelled.max()) + 1 + radius, size) // step) * step
    return first, last - first
