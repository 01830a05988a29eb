"""What changed between two dates, as features of small cells and their surroundings."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from earthloom.encoders.base import Encoder, Features, Statistics
from earthloom.errors import ContractError
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch

_SPREAD_FLOOR = 0.005
"""Reflectance added to a band's spread, so that noise in a flat band is not blown up."""
_MOST = 6.0
"""Standard deviations beyond which a value says no more."""
_RIDGE = 0.02
"""Added to the diagonal of the difference's covariance before it is inverted."""
_BOXES = (3, 7, 15)
"""Sides, in cells, of the surroundings that differences are averaged over."""
_CONTEXT = 5
"""The same for the two dates themselves; in fine pixels, the side that texture is taken over."""
_VISIBLE_NM = (400.0, 700.0)


class ChangeFeatures(Encoder):
    """Each date standardised over its place, their difference, and how unusual it is there.

    A place's seasons and light move all its bands together. The covariance of the difference over
    the whole place tells that from change: the difference is whitened by it, in the manner of the
    Mahalanobis distance and of multivariate alteration detection (Nielsen et al. 1998), which needs
    no labels. Features stand for cells of the coarsest layer; with them go the texture of the
    visible brightness, and means over boxes around the cell.
    """

    name = "change-features"
    needs_moments = True

    def __init__(self, layers: tuple[LayerSpec, ...], statistics: Mapping[str, Statistics]) -> None:
        super().__init__(layers, statistics)
        for layer in layers:
            if len(layer.dates) != 2:
                raise ContractError(
                    f"a change model compares two dates; layer {layer.key} has {len(layer.dates)}; "
                    "choose two dates, or another model"
                )
        self.finest = min(layers, key=lambda layer: layer.factor)
        self._bands = sum(len(layer.bands) for layer in layers)

    @property
    def stride(self) -> int:
        return max(layer.factor for layer in self.layers)

    @property
    def radius(self) -> int:
        return (max(_BOXES) // 2 + 1) * self.stride

    @property
    def channels(self) -> int:
        n = self._bands
        own = 3 * n + 1 + 3
        return own + len(_BOXES) * (n + 2) + 2 * n + n + 1 + n

    def config(self) -> dict[str, Any]:
        return {}

    def forward(self, batch: Batch) -> Features:
        if batch.mean is None or batch.covariance is None:
            raise ContractError("the change model needs the moments of the chips' places")
        scale = 1 / (batch.covariance.diagonal(dim1=-2, dim2=-1).sqrt() + _SPREAD_FLOOR)
        fine = self._standardised(batch, batch.mean, scale)
        seen = self._seen(batch)
        first, second = (
            torch.cat([self._to_cells(fine[key][:, time], key) for key in fine], dim=1)
            for time in (0, 1)
        )
        change = second - first
        length = change.square().mean(dim=1, keepdim=True).sqrt()
        spread, inverse = self._whitening(batch.covariance, scale)
        relative = change / spread[:, :, None, None]
        unusual = torch.einsum("bihw,bij,bjhw->bhw", change, inverse, change)
        unusual = (unusual / self._bands).clamp_min(0).sqrt()[:, None]
        texture = self._texture(fine)
        around = torch.cat([change, length, unusual], dim=1)
        features = [first, second, change, length, texture, relative, unusual]
        features += [_box_mean(around, seen, side) for side in _BOXES]
        features += [_box_mean(torch.cat([first, second], dim=1), seen, _CONTEXT)]
        features += [_box_mean(relative.abs(), seen, _CONTEXT)]
        return Features(torch.cat(features, dim=1), seen, stride=self.stride)

    def _standardised(self, batch: Batch, mean: Tensor, scale: Tensor) -> dict[str, Tensor]:
        """Each layer (B, 2, C, H, W) in its place's standard deviations from its mean."""
        standardised, at = {}, 0
        for spec in self.layers:
            layer, bands = batch.layers[spec.key], len(spec.bands)
            part = slice(at, at + 2 * bands)
            centre = mean[:, part].reshape(-1, 2, bands, 1, 1)
            factor = scale[:, part].reshape(-1, 2, bands, 1, 1)
            values = ((layer.pixels - centre) * factor).clamp(-_MOST, _MOST)
            standardised[spec.key] = torch.where(layer.valid[:, :, None], values, 0.0)
            at += 2 * bands
        return standardised

    def _to_cells(self, image: Tensor, key: str) -> Tensor:
        """(B, C, H, W) of a layer to the mean over each cell."""
        factor = next(spec.factor for spec in self.layers if spec.key == key)
        step = self.stride // factor
        return F.avg_pool2d(image, step) if step > 1 else image

    def _seen(self, batch: Batch) -> Tensor:
        """(B, h, w) bool: cells that every layer saw wholly on both dates."""
        masks = []
        for spec in self.layers:
            both = batch.layers[spec.key].valid.all(dim=1).float()[:, None]
            masks.append(self._to_cells(both, spec.key)[:, 0] == 1)
        return torch.stack(masks).all(dim=0)

    def _whitening(self, covariance: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Spread of each band's difference over the place (B, n), and the inverse of the
        difference's covariance (B, n, n)."""
        size = covariance.shape[-1]
        difference = torch.zeros(self._bands, size)
        row, at = 0, 0
        for spec in self.layers:
            bands = len(spec.bands)
            for band in range(bands):
                difference[row + band, at + band] = -1
                difference[row + band, at + bands + band] = 1
            row, at = row + bands, at + 2 * bands
        scaled = difference.to(scale) * scale[:, None, :]
        matrix = scaled.double() @ covariance.double() @ scaled.double().mT
        matrix = matrix + _RIDGE * torch.eye(self._bands).to(matrix)
        spread = matrix.diagonal(dim1=-2, dim2=-1).sqrt()
        return spread.float(), torch.linalg.inv(matrix).float()

    def _texture(self, fine: dict[str, Tensor]) -> Tensor:
        """(B, 3, h, w): spread of the visible brightness around each fine pixel, averaged over the
        cell, on both dates, and how it changed."""
        low, high = _VISIBLE_NM
        visible = [n for n, w in enumerate(self.finest.wavelengths_nm) if w and low <= w <= high]
        bands = visible or list(range(len(self.finest.bands)))
        bright = fine[self.finest.key][:, :, bands].mean(dim=2)  # (B, 2, H, W)
        everywhere = torch.ones_like(bright[:, 0], dtype=torch.bool)
        mean = _box_mean(bright, everywhere, _CONTEXT)
        square = _box_mean(bright.square(), everywhere, _CONTEXT)
        spread = (square - mean.square()).clamp_min(0).sqrt()
        cells = self._to_cells(spread, self.finest.key)
        return torch.cat([cells, cells[:, 1:] - cells[:, :1]], dim=1)


def _box_mean(image: Tensor, seen: Tensor, side: int) -> Tensor:
    """(B, C, h, w): mean over a box around each cell of what was seen; 0 where nothing was."""
    weight = seen[:, None].to(image.dtype)
    total = F.avg_pool2d(image * weight, side, stride=1, padding=side // 2)
    share = F.avg_pool2d(weight, side, stride=1, padding=side // 2)
    return total / share.clamp_min(1e-6)
