"""Batches made new by what leaves their meaning alone, on the GPU if that is where they lie.

Pixels, masks, labels with their weights, answers and places move together. What happens to a chip
follows from the seed, its id and the epoch alone, so neither the batch it is in nor the worker that
read it plays a part.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from earthloom.encoders import Statistics
from earthloom.errors import ContractError
from earthloom.sample import UNLABELLED, LayerSpec, Place, Shape2d
from earthloom.sample.batch import Batch, LayerBatch, targets_side_by_side
from earthloom.sample.moving import LEAST_SEEN, move_target
from earthloom.sample.target import Counts

_SEEN = 0.5
"""A resampled pixel is valid where valid pixels make more than this share of it."""


@dataclass(frozen=True)
class Augment:
    """What may happen to a chip. Everything but flips and turns is off unless asked for."""

    specs: Mapping[str, LayerSpec]
    seed: int
    flips: bool = True
    turns: bool = True
    """By right angles; chips that are not square are turned by half turns alone."""
    crop: int | None = None
    """Rows and columns of the base grid that are kept, at random; a multiple of every factor."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Least and greatest zoom about a chip's middle; below 1 the margin is not valid."""
    drop_dates: float = 0.0
    """Share of the dates that are hidden; one that the chip has is always kept."""
    drop_bands: float = 0.0
    """Share of the bands that are hidden: they hold the mean of `statistics` then."""
    brightness: float = 0.0
    """Greatest relative change of a layer's reflectance, the same on all of its dates."""
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    """Of the training pixels, by layer."""
    least_seen: float = LEAST_SEEN
    """Boxes and instances of which less than this share is left in a chip are dropped."""

    def __post_init__(self) -> None:
        if self.crop is not None:
            step = math.lcm(*(spec.factor for spec in self.specs.values()))
            if self.crop < 1 or self.crop % step:
                raise ContractError(f"crop is {self.crop}, but the layers need multiples of {step}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ContractError(f"scale is {self.scale}; it needs 0 < least <= greatest")
        for name in ("drop_dates", "drop_bands", "brightness", "least_seen"):
            if not 0 <= getattr(self, name) < 1:
                raise ContractError(f"{name} is {getattr(self, name)}; valid are 0 to below 1")
        missing = [key for key in self.specs if key not in self.statistics]
        if self.drop_bands and missing:
            raise ContractError(
                f"hidden bands hold the mean of the training pixels, which is not given for: "
                f"{', '.join(missing)}"
            )

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        """The batch of this epoch.

        Answers move with the pixels, see `earthloom.sample.moving.move_target`. Counts are None for
        chips of which a zoom shows a part; ContractError if a crop would leave none.
        """
        shape = self._shape(batch)
        plans = [self._plan(name, epoch, shape) for name in batch.ids]
        layers = {
            key: _stacked(
                [
                    self._layer(_one(batch.layers[key], number), spec, plan)
                    for number, plan in enumerate(plans)
                ]
            )
            for key, spec in self.specs.items()
        }
        label, weight = (
            None
            if whole is None
            else torch.stack(
                [plan.move_label(each) for plan, each in zip(plans, whole, strict=True)]
            )
            for whole in (batch.label, batch.weight)
        )
        places = tuple(
            None if place is None else plan.move_place(place)
            for plan, place in zip(plans, batch.places, strict=bool(batch.places))
        )
        targets = targets_side_by_side(
            move_target(target, plan, self.least_seen)
            for plan, target in zip(plans, batch.targets, strict=bool(batch.targets))
        )
        return replace(
            batch, layers=layers, label=label, weight=weight, places=places, targets=targets
        )

    def _shape(self, batch: Batch) -> Shape2d:
        key, spec = next(iter(self.specs.items()))
        rows, cols = batch.layers[key].valid.shape[-2:]
        shape = Shape2d(rows * spec.factor, cols * spec.factor)
        if self.crop is not None and self.crop > min(shape):
            raise ContractError(f"crop is {self.crop}, but chips have {shape.rows} x {shape.cols}")
        cut = self.crop is not None and self.crop < max(shape)
        if cut and any(isinstance(target, Counts) for target in batch.targets):
            raise ContractError(
                f"crop is {self.crop}, but counts of whole chips say nothing of a part of one; "
                "leave it out, or give boxes or instances, which are counted after the crop"
            )
        return shape

    def _plan(self, name: str, epoch: int, shape: Shape2d) -> "_Plan":
        # Everything is drawn, whether it is used or not: switching one off moves no other.
        random = _generator(self.seed, name, epoch)
        at, quarters = random.random(2), int(random.integers(0, 4))
        mirrored, share = bool(random.integers(0, 2)), float(random.random())
        step = math.lcm(*(spec.factor for spec in self.specs.values()))
        size = shape if self.crop is None else Shape2d(self.crop, self.crop)
        row, col = (
            int(part * ((whole - kept) // step + 1)) * step
            for part, whole, kept in zip(at, shape, size, strict=True)
        )
        if size.rows != size.cols:
            quarters = quarters // 2 * 2
        low, high = self.scale
        return _Plan(
            row=row,
            col=col,
            size=size,
            quarters=quarters if self.turns else 0,
            mirrored=mirrored and self.flips,
            zoom=low * (high / low) ** share,
            whole=shape,
            key=(self.seed, name, epoch),
        )

    def _layer(self, layer: LayerBatch, spec: LayerSpec, plan: "_Plan") -> LayerBatch:
        """One chip's layer, without the batch's dimension."""
        pixels, valid = plan.move(layer.pixels, layer.valid, spec.factor)
        random = _generator(*plan.key, spec.key)
        dates, bands = random.random(len(layer.days)), random.random(len(spec.bands))
        gain = 1.0 + self.brightness * (2.0 * float(random.random()) - 1.0)
        assert layer.dated is not None
        assert layer.measured is not None
        shown, measured = layer.dated, layer.measured
        if self.drop_dates and spec.dates != ("static",):
            shown = _kept(shown, dates, self.drop_dates)
            valid = valid & shown[:, None, None]
            pixels = torch.where(shown[:, None, None, None], pixels, torch.nan)
        # Only light has a brightness, and only reflectance, whose unit is 1, is made of light.
        if self.brightness and spec.unit == "1" and None not in spec.wavelengths_nm:
            pixels = pixels * gain
        if self.drop_bands:
            measured = _kept(measured, bands, self.drop_bands)
            mean = torch.tensor(self.statistics[spec.key].mean, device=pixels.device)
            hidden = ~measured[:, None, None] & valid[:, None]
            pixels = torch.where(hidden, mean[:, None, None], pixels)
        return LayerBatch(pixels, valid, layer.days, shown, measured)


@dataclass(frozen=True)
class _Plan:
    """How one chip is moved: cropped, turned, mirrored, then zoomed; a `Mover` of its answer."""

    row: int
    col: int
    size: Shape2d
    quarters: int
    mirrored: bool
    zoom: float
    whole: Shape2d
    """Of the chip before."""
    key: tuple[int, str, int]

    @property
    def shape(self) -> Shape2d:
        return Shape2d(*self.size[::-1]) if self.quarters % 2 else self.size

    @property
    def cuts(self) -> bool:
        return self.size != self.whole or self.zoom > 1.0

    @property
    def mirrors(self) -> bool:
        return self.mirrored

    @property
    def matrix(self) -> NDArray[np.float64]:
        rows, cols = self.shape
        affine = _shift(self.row, self.col) @ _turn(self.quarters, self.size)
        if self.mirrored:
            affine = affine @ np.array([[-1, 0, cols], [0, 1, 0], [0, 0, 1]], np.float64)
        middle = _shift(rows / 2, cols / 2)
        zoomed = middle @ np.diag([1 / self.zoom, 1 / self.zoom, 1.0]) @ np.linalg.inv(middle)
        return np.asarray(affine @ zoomed)

    def nearest(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        return self.move_label(torch.from_numpy(numbers.copy())).numpy().copy()

    def smooth(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(values.copy())[None, None]
        return self.move(pixels, ~torch.isnan(pixels[0]), 1)[0][0, 0].numpy().copy()

    def cut(self, values: Tensor, factor: int) -> Tensor:
        """(..., h, w) without the zoom."""
        row, col = self.row // factor, self.col // factor
        rows, cols = self.size.rows // factor, self.size.cols // factor
        values = values[..., row : row + rows, col : col + cols]
        if self.quarters:
            values = torch.rot90(values, self.quarters, dims=(-2, -1))
        return values.flip(-1) if self.mirrored else values

    def move(self, pixels: Tensor, valid: Tensor, factor: int) -> tuple[Tensor, Tensor]:
        """Pixels (T, C, h, w) and mask (T, h, w); bilinear over valid pixels where zoomed."""
        pixels, valid = self.cut(pixels, factor), self.cut(valid, factor)
        if self.zoom == 1.0:
            return pixels, valid
        seen = valid[:, None].to(pixels.dtype)
        known = torch.where(valid[:, None], pixels, 0.0)
        grid = self._grid(valid.shape[-2], valid.shape[-1], len(valid), pixels.device)
        share = F.grid_sample(seen, grid, mode="bilinear", align_corners=False)
        total = F.grid_sample(known, grid, mode="bilinear", align_corners=False)
        valid = share[:, 0] > _SEEN
        return torch.where(valid[:, None], total / share, torch.nan), valid

    def move_label(self, label: Tensor) -> Tensor:
        """(h, w) codes, or their weights; those of the nearest pixel where zoomed."""
        label = self.cut(label, 1)
        if self.zoom == 1.0:
            return label
        grid = self._grid(label.shape[0], label.shape[1], 1, label.device)
        # Codes up to 2 ** 24 are exact in float32; outside the chip a sample is 0, `UNLABELLED`.
        assert UNLABELLED == 0
        floats = label[None, None].float()
        return F.grid_sample(floats, grid, mode="nearest", align_corners=False)[0, 0].to(label)

    def move_place(self, place: Place) -> Place:
        """The place of the moved chip; its rows may run up, and its columns down."""
        (a, b, c), (d, e, f) = (_matrix(place) @ self.matrix)[:2].tolist()
        return Place(place.crs, (a, b, c, d, e, f), self.shape)

    def _grid(self, rows: int, cols: int, count: int, device: torch.device) -> Tensor:
        theta = torch.tensor([[1 / self.zoom, 0, 0], [0, 1 / self.zoom, 0]], device=device)
        return F.affine_grid(
            theta[None].expand(count, 2, 3), [count, 1, rows, cols], align_corners=False
        )


def _generator(*key: object) -> np.random.Generator:
    digest = hashlib.sha256(" ".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8]))


def _matrix(place: Place) -> NDArray[np.float64]:
    a, b, c, d, e, f = place.transform
    return np.array([[a, b, c], [d, e, f], [0, 0, 1]])


def _shift(row: float, col: float) -> NDArray[np.float64]:
    return np.array([[1, 0, col], [0, 1, row], [0, 0, 1]], np.float64)


def _turn(quarters: int, size: Shape2d) -> NDArray[np.float64]:
    """(column, row) of a chip turned by `torch.rot90` to those of the chip before, on edges."""
    rows, cols = size
    made = np.eye(3)
    for _ in range(quarters):
        made = made @ np.array([[0, -1, cols], [1, 0, 0], [0, 0, 1]], np.float64)
        rows, cols = cols, rows
    return made


def _kept(there: Tensor, draws: NDArray[np.float64], share: float) -> Tensor:
    """Which of those that are there (n,) are left; always one, if there was one."""
    shown = there.cpu().numpy()
    left = shown & (draws >= share)
    if shown.any() and not left.any():
        left[np.argmax(np.where(shown, draws, -1.0))] = True
    return torch.from_numpy(left).to(there.device)


def _one(layer: LayerBatch, number: int) -> LayerBatch:
    """One chip's layer, with every flag."""
    device, (times, bands) = layer.pixels.device, layer.pixels.shape[1:3]
    dated, measured = layer.dated, layer.measured
    return LayerBatch(
        layer.pixels[number],
        layer.valid[number],
        layer.days[number],
        torch.ones(times, dtype=torch.bool, device=device) if dated is None else dated[number],
        torch.ones(bands, dtype=torch.bool, device=device)
        if measured is None
        else measured[number],
    )


def _stacked(layers: list[LayerBatch]) -> LayerBatch:
    return LayerBatch(
        torch.stack([each.pixels for each in layers]),
        torch.stack([each.valid for each in layers]),
        torch.stack([each.days for each in layers]),
        torch.stack([each.dated for each in layers if each.dated is not None]),
        torch.stack([each.measured for each in layers if each.measured is not None]),
    )
