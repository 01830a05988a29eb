"""Random convolutional features: an encoder that needs no training (MOSAIKS, Rolf et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from earthloom.encoders.base import Encoder, Features, Statistics, seen_in
from earthloom.encoders.planes import bands_of, masks_of
from earthloom.errors import ContractError
from earthloom.sample import LayerSpec, Samples
from earthloom.sample.batch import Batch
from earthloom.sample.room import collate_ragged

_FLOOR = 1e-3
"""Added to the eigenvalues of the patches' covariance before they are inverted, as in the paper."""
_TRIES = 20
"""Chips looked at for each patch that is wanted, before what was found must do."""
_NORM_FLOOR = 1e-8


@final
class RandomConv(Encoder):
    """Responses to random filters, and the same responses turned over, averaged around each pixel.

    Each of the K filters gives two features, relu(x - 1) and relu(-x - 1), where x is its response
    in standard deviations; with them go the mask channels. All are means of what was seen in a
    window around the pixel, and over the whole chip in `Features.scene`, as in the paper. Made
    anew, the filters are Gaussian; `draw` takes whitened patches of training chips instead. They
    are buffers, so that a saved model has them, and no training moves them.
    """

    name = "random-conv"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        filters: int = 128,
        size: int = 3,
        window: int = 9,
        seed: int = 0,
    ) -> None:
        """`filters`: K. `size`: side of a filter, and `window`: side of the square that responses
        are averaged over, both in pixels of the base grid, and odd. ContractError otherwise."""
        super().__init__(layers, statistics)
        for what, side in (("size", size), ("window", window)):
            if side < 1 or side % 2 == 0:
                raise ContractError(f"{what} is {side}; valid are odd numbers of pixels from 1")
        self.filters, self.size, self.window, self.seed = filters, size, window, seed
        bands = sum(len(layer.dates) * len(layer.bands) for layer in layers)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(filters, bands, size, size, generator=generator)
        self.register_buffer("weight", drawn / (bands * size**2) ** 0.5)

    @property
    def radius(self) -> int:
        coarsest = max(layer.factor for layer in self.layers)
        return self.size // 2 + self.window // 2 + (coarsest if coarsest > 1 else 0)

    @property
    def alignment(self) -> int:
        return max(layer.factor for layer in self.layers)

    @property
    def channels(self) -> int:
        return 2 * self.filters + sum(len(layer.dates) for layer in self.layers)

    def config(self) -> dict[str, Any]:
        return {
            "filters": self.filters,
            "size": self.size,
            "window": self.window,
            "seed": self.seed,
        }

    def draw(self, samples: Samples) -> RandomConv:
        """Takes the filters from patches of chips, whitened over all patches (ZCA); gives itself.

        The middle of a patch was seen. A filter's scale is such that its response to the
        patches has a standard deviation of 1. ContractError if the samples hold no patch of this
        size that was seen.
        """
        filters = torch.from_numpy(_whitened(self._patches(samples)))
        weight = self.get_buffer("weight")
        weight.copy_(filters.reshape(weight.shape))
        return self

    def forward(self, batch: Batch) -> Features:
        seen = seen_in(self.layers, batch)
        bands = torch.cat([each.flatten(1, 2) for each in bands_of(self, batch)], dim=1)
        response = F.conv2d(bands, self.get_buffer("weight"), padding=self.size // 2)
        masks = torch.cat(masks_of(self, batch), dim=1)
        kept = torch.cat([F.relu(response - 1), F.relu(-response - 1), masks], dim=1)
        return Features(self._around(kept, seen), seen)

    def _around(self, image: Tensor, seen: Tensor) -> Tensor:
        """(B, F, H, W): mean over the window around each pixel of what was seen; 0 without any."""
        weight, half = seen[:, None].to(image.dtype), self.window // 2
        total = F.avg_pool2d(image * weight, self.window, stride=1, padding=half)
        share = F.avg_pool2d(weight, self.window, stride=1, padding=half)
        return total / share.clamp_min(0.5 / self.window**2)

    def _patches(self, samples: Samples) -> NDArray[np.float32]:
        """(K, D) of standardised bands, D in the order of a filter's weights."""
        random = np.random.default_rng(self.seed)
        found: list[NDArray[np.float32]] = []
        each = max(1, -(-self.filters // max(len(samples), 1)))
        for _ in range(_TRIES * self.filters):
            if len(found) >= self.filters:
                return np.stack(found[: self.filters])
            chip = samples[int(random.integers(len(samples)))]
            batch = collate_ragged([chip], samples.specs)
            image = torch.cat([b.flatten(1, 2) for b in bands_of(self, batch)], dim=1)[0].numpy()
            seen = seen_in(self.layers, batch)[0].numpy()
            found += _patches_in(image, seen, self.size, each, random)
        if not found:
            raise ContractError(
                f"the samples hold no patch of {self.size} x {self.size} pixels that was seen; "
                "give larger chips, or a smaller size"
            )
        again = random.integers(len(found), size=self.filters)
        return np.stack([found[at] for at in again])


def _patches_in(
    image: NDArray[np.float32],
    seen: NDArray[np.bool_],
    size: int,
    most: int,
    random: np.random.Generator,
) -> list[NDArray[np.float32]]:
    """At most so many patches (D,) of an image (C, H, W) around pixels that were seen."""
    half = size // 2
    inner = seen[half : seen.shape[0] - half, half : seen.shape[1] - half]
    rows, cols = np.nonzero(inner)
    if not len(rows):
        return []
    chosen = random.choice(len(rows), size=min(most, len(rows)), replace=False)
    return [
        image[:, rows[at] : rows[at] + size, cols[at] : cols[at] + size].reshape(-1)
        for at in chosen
    ]


def _whitened(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Filters (K, D) from patches (K, D): centred, of unit length, whitened, scaled to a response
    to the patches of standard deviation 1."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), _NORM_FLOOR)
    left, singular, right = np.linalg.svd(unit.astype(np.float64), full_matrices=False)
    # A patch is compared with images that are not whitened: both turns go into the filter.
    filters = left * (singular / (singular**2 / len(unit) + _FLOOR)) @ right
    spread = (patches @ filters.T).std(axis=0)
    return np.asarray(filters / np.maximum(spread, _NORM_FLOOR)[:, None], np.float32)
