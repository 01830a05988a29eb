"""An encoder's features as fewer numbers: along the principal axes of a scene's own pixels."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor

from earthloom.errors import ContractError, DataError
from earthloom.stages import write_atomic

DIMENSIONS = 64
"""Of a field, unless the caller or the encoder says fewer."""


@dataclass(frozen=True)
class Projection:
    """Features less their mean, along axes at right angles; both float32."""

    mean: NDArray[np.float32]
    """(F,)."""
    axes: NDArray[np.float32]
    """(F, D), columns of length one at right angles."""

    @staticmethod
    def none(features: int) -> "Projection":
        """Features as they are."""
        return Projection(np.zeros(features, np.float32), np.eye(features, dtype=np.float32))

    @property
    def features(self) -> int:
        """Numbers F that it takes."""
        return len(self.mean)

    @property
    def dimensions(self) -> int:
        """Numbers D that it gives."""
        return int(self.axes.shape[1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its numbers."""
        shape = f"{self.features} {self.dimensions} ".encode()
        return hashlib.sha256(shape + self.mean.tobytes() + self.axes.tobytes()).hexdigest()

    def project(self, pixels: Tensor) -> Tensor:
        """(B, D, H, W) float32 of features (B, F, H, W); ContractError for another F."""
        if pixels.shape[1] != self.features:
            raise ContractError(
                f"the projection takes {self.features} features; the encoder gives "
                f"{pixels.shape[1]}"
            )
        middle = torch.from_numpy(self.mean)[:, None, None]
        turned = torch.einsum("fd,bfhw->bdhw", torch.from_numpy(self.axes), pixels - middle)
        return turned.contiguous()

    def write(self, path: Path) -> None:
        """Writes it as safetensors, whole or not at all."""
        write_atomic(path, save({"mean": self.mean, "axes": np.ascontiguousarray(self.axes)}))


def read_projection(path: Path) -> Projection:
    """What `Projection.write` wrote; DataError where there is none."""
    try:
        tensors = load_file(path)
        return Projection(tensors["mean"], tensors["axes"])
    except (OSError, SafetensorError, KeyError) as error:
        raise DataError(f"no projection can be read from {path}: {error!r}") from error


def principal_axes(rows: NDArray[np.float32], dimensions: int = DIMENSIONS) -> Projection:
    """The space in which rows (N, F) vary most (Pearson 1901); rows as they are where F <= D.

    Its axes are the principal ones, turned: cosines stay as they are, and the variance, most of
    which the first few principal axes have, is spread over all D numbers, none of which has more
    than twice their mean (a turn before numbers are rounded: Gong and Lazebnik 2011). Else rounding
    to int8 would lose the lesser axes, and a head that standardises its inputs would take their
    rounding for as much as the first. DataError for no more rows than dimensions, or rows that are
    all alike or not finite.
    """
    count, features = rows.shape
    if features <= dimensions:
        return Projection.none(features)
    if count <= dimensions:
        raise DataError(
            f"{count} pixels were seen; {dimensions} axes need more than {dimensions} of them"
        )
    if not np.isfinite(rows).all() or (rows == rows[0]).all():
        raise DataError("features that are all alike, or not finite, have no principal axes")
    exact = rows.astype(np.float64)
    mean = exact.mean(axis=0)
    _, vectors = np.linalg.eigh((exact - mean).T @ (exact - mean))
    principal = vectors[:, ::-1][:, :dimensions]
    # The same rows give the same signs.
    largest = principal[np.abs(principal).argmax(axis=0), np.arange(dimensions)]
    axes = principal * np.sign(largest) @ _hartley(dimensions)
    return Projection(mean.astype(np.float32), np.ascontiguousarray(axes, np.float32))


def _hartley(size: int) -> NDArray[np.float64]:
    """(D, D) the discrete Hartley transform (Bracewell 1983), its rows and columns of length one at
    right angles: the first row has the same number throughout, no square is above 2 / D."""
    angle = 2 * np.pi / size * np.outer(np.arange(size), np.arange(size))
    return np.asarray((np.cos(angle) + np.sin(angle)) / np.sqrt(size))
