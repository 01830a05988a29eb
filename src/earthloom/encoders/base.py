"""What every encoder has in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec, Shape2d
from earthloom.sample.batch import Batch, LayerBatch


@dataclass(frozen=True)
class Features:
    """What an encoder makes of a batch."""

    pixels: Tensor
    """(B, F, h, w) float32 on the encoder's own grid, see `Encoder.stride`."""
    seen: Tensor
    """(B, h, w) bool: False where there is nothing to predict from."""
    pyramid: tuple[Tensor, ...] = ()
    """(B, F_i, h_i, w_i) float32 of each of `Encoder.pyramid`, finest first; empty for an encoder
    without one."""
    vector: Tensor | None = None
    """(B, V) float32, one vector a chip; None for an encoder that has none of its own."""
    stride: int = 1
    """Pixels of the base grid, both ways, that one of `pixels` stands for."""
    shape: Shape2d | None = None
    """Of the base grid, where its size is no multiple of the stride; None where it is."""

    def on_base_grid(self, image: Tensor) -> Tensor:
        """(B, ..., H, W) of an image (B, ..., h, w) on the grid of `pixels`: numbers bilinear,
        masks repeated."""
        if self.stride == 1:
            return image
        rows, cols = (size * self.stride for size in image.shape[-2:])
        spread = mask_on_base_grid if image.dtype == torch.bool else on_base_grid
        onto = spread(image, Shape2d(rows, cols))
        return onto if self.shape is None else onto[..., : self.shape.rows, : self.shape.cols]

    def scene(self) -> Tensor:
        """(B, V) one vector a chip: the encoder's own, else the mean of its pixels where seen.

        0 where nothing was seen at all.
        """
        if self.vector is not None:
            return self.vector
        seen = self.seen[:, None].to(self.pixels.dtype)
        total = torch.where(self.seen[:, None], self.pixels, 0.0).sum(dim=(-2, -1))
        return total / seen.sum(dim=(-2, -1)).clamp(min=1)


@dataclass(frozen=True)
class Level:
    """One of the images of a pyramid."""

    channels: int
    """Features F_i."""
    stride: int
    """Pixels of the base grid, both ways, that one of its pixels stands for."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of a layer's bands over valid training pixels of all dates."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Encoder(nn.Module, ABC):
    """A chip to features.

    `layers` are what it was made for; `check` refuses anything else. `radius` is how many pixels of
    the base grid it looks beyond the pixel that a feature is of; 0 for a per-pixel encoder.
    """

    name: str
    needs_moments = False
    """Whether it asks for the moments of a chip's whole place."""

    def __init__(self, layers: tuple[LayerSpec, ...], statistics: Mapping[str, Statistics]) -> None:
        super().__init__()
        self.layers = layers
        for layer in layers:
            known = statistics[layer.key]
            self.register_buffer(f"mean_{_slug(layer.key)}", torch.tensor(known.mean))
            self.register_buffer(f"std_{_slug(layer.key)}", torch.tensor(known.std))

    @property
    @abstractmethod
    def radius(self) -> int: ...

    @property
    def stride(self) -> int:
        """Pixels of the base grid, both ways, that a feature stands for."""
        return 1

    @property
    def alignment(self) -> int:
        """Pixels of the base grid, both ways, on multiples of which a window of a larger image must
        start, so that the encoder's own coarser grids lie in it as they lie in the image."""
        return self.stride

    @property
    def is_local(self) -> bool:
        """Whether what lies beyond the radius has no effect at all. An encoder that is normalised
        over its whole input is not local."""
        return True

    @property
    @abstractmethod
    def channels(self) -> int:
        """Number of features F."""

    @property
    def pyramid(self) -> tuple[Level, ...]:
        """What `Features.pyramid` holds, finest first; empty for an encoder without one."""
        return ()

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """Parts that follow each other, from the input on, for rates of learning by depth; empty
        for an encoder that does not state any."""
        return ()

    @property
    def scene_channels(self) -> int:
        """Length V of what `Features.scene` gives."""
        return self.channels

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Arguments, as JSON values, that make the same encoder again (layers and statistics
        apart)."""

    @abstractmethod
    def forward(self, batch: Batch) -> Features: ...

    def check(self, specs: Mapping[str, LayerSpec]) -> None:
        """ContractError if the layers on offer are not those that the encoder was made for."""
        for layer in self.layers:
            if layer.key not in specs:
                raise ContractError(
                    f"the model expects layer {layer.key}; on offer are: {choices(specs)}"
                )
            layer.check(specs[layer.key])

    def mean_of(self, spec: LayerSpec) -> Tensor:
        """(C, 1, 1): mean of each band of a layer over the training pixels, in its unit."""
        return self.get_buffer(f"mean_{_slug(spec.key)}")[:, None, None]

    def normalised(self, spec: LayerSpec, layer: LayerBatch) -> Tensor:
        """(B, T, C, H, W) in standard deviations from the mean; 0, the mean, where not valid."""
        mean = self.mean_of(spec)
        std = self.get_buffer(f"std_{_slug(spec.key)}")[:, None, None]
        scaled = (layer.pixels - mean) / std
        return torch.where(layer.valid[:, :, None], scaled, 0.0)


def on_base_grid(pixels: Tensor, shape: Shape2d) -> Tensor:
    """(..., H, W) of a coarser layer on the base grid of `shape`, bilinear."""
    if pixels.shape[-2:] == tuple(shape):
        return pixels
    leading = pixels.shape[:-2]
    flat = pixels.reshape(-1, 1, *pixels.shape[-2:]).float()
    return F.interpolate(flat, size=tuple(shape), mode="bilinear").reshape(*leading, *shape)


def mask_on_base_grid(valid: Tensor, shape: Shape2d) -> Tensor:
    """(..., H, W) bool of a coarser layer on the base grid, each pixel repeated."""
    if valid.shape[-2:] == tuple(shape):
        return valid
    rows, cols = shape.rows // valid.shape[-2], shape.cols // valid.shape[-1]
    return valid.repeat_interleave(rows, dim=-2).repeat_interleave(cols, dim=-1)


def base_shape(layers: Sequence[LayerSpec], batch: Batch) -> Shape2d:
    """Rows and columns of the base grid under a batch; ContractError if its layers disagree."""
    # No set: while a network is exported, sizes are symbols, which cannot be hashed.
    shapes: list[Shape2d] = []
    for layer in layers:
        rows, cols = batch.layers[layer.key].valid.shape[-2:]
        shapes.append(Shape2d(rows * layer.factor, cols * layer.factor))
    if any(shape != shapes[0] for shape in shapes):
        listed = choices(f"{shape.rows} x {shape.cols}" for shape in sorted(set(shapes)))
        raise ContractError(f"the layers of a batch lie on different grids: {listed}")
    return shapes[0]


def seen_in(layers: Sequence[LayerSpec], batch: Batch) -> Tensor:
    """(B, H, W) bool: where any layer that changes in time was seen on any date.

    Elevation is known under every cloud, and says nothing about what was seen.
    """
    shape = base_shape(layers, batch)
    moving = [layer for layer in layers if layer.dates != ("static",)] or layers
    masks = [mask_on_base_grid(batch.layers[s.key].valid.any(dim=1), shape) for s in moving]
    return torch.stack(masks).any(dim=0)


def _slug(key: str) -> str:
    """A layer's key as a buffer's name, in which torch allows no dot."""
    return key.replace(".", "_")
