"""What a map is made with, as files that any worker can open: a saved model, and a cube.

A source is small and can be sent to a worker; what it opens is kept there for the next part.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Literal, Protocol, final

import torch
from torch import Tensor

from earthloom.cube import Cube, open_cube
from earthloom.encoders import mask_on_base_grid, on_base_grid
from earthloom.fit import Model, load_model
from earthloom.fit.flat import in_pieces
from earthloom.fit.lanes import Lanes
from earthloom.fit.model import WEIGHTS
from earthloom.fit.plan import Plan
from earthloom.fit.predictor import Predictor as FitPredictor
from earthloom.maps.predict import Pending, Pixels, Predictor
from earthloom.sample import LayerSpec, Shape2d
from earthloom.sample.batch import Batch

Asked = Literal["probabilities", "values", "features"]


class ModelSource(Protocol):
    """Where a model comes from."""

    def open(self) -> Predictor:
        """The model, ready to predict."""
        ...


class PixelSource(Protocol):
    """Where pixels come from."""

    def open(self) -> Pixels:
        """The pixels, ready to be read."""
        ...


@final
@dataclass(frozen=True)
class SavedModel:
    """A model's folder, as `save_model` wrote it."""

    folder: Path
    asked: Asked = "probabilities"
    """What it is to predict: a probability of each class, numbers in their unit, or the encoder's
    features."""
    plan: Plan = Plan()
    """How it is evaluated; a map has one plan, wherever its parts are made."""

    def open(self) -> Predictor:
        """See `ModelSource`; a folder that was written anew is read anew."""
        stamp = (self.folder / WEIGHTS).stat()
        with _opening:
            return _opened(self, (stamp.st_mtime_ns, stamp.st_size))


@final
@dataclass(frozen=True)
class SavedCube:
    """A cube's folder."""

    path: Path
    shape: Shape2d
    """Of the base grid."""
    keys: tuple[str, ...]
    """The layers that are read."""

    def open(self) -> Pixels:
        """See `PixelSource`."""
        cube = _cube(self.path, self.shape)
        if cube.specs.keys() == set(self.keys):
            return cube
        return replace(cube, specs={key: cube.specs[key] for key in self.keys})


@final
class PixelPredictor:
    """What a model's task says of pixels: probabilities of classes, or numbers."""

    def __init__(self, model: Model, plan: Plan) -> None:
        self.planes = len(model.planes)
        self._predictor = FitPredictor(model, plan, torch.get_num_threads())
        self.ahead = 2 * self._predictor.lanes

    def begin(self, batch: Batch) -> Pending:
        """See `Predictor`."""
        return Writable(self._predictor.begin(batch))


@final
class FeaturePredictor:
    """Features of a model's first encoder, on the processor."""

    def __init__(self, model: Model, plan: Plan) -> None:
        self._encoder, self._plan = model.members[0].encoder, plan
        self._lanes = Lanes(torch.get_num_threads())
        self.planes = self._encoder.channels
        self.ahead = 2 * self._lanes.count

    def begin(self, batch: Batch) -> Pending:
        """See `Predictor`."""
        pieces = in_pieces(batch, self._plan.batch)
        work = [lambda p=piece, n=count: self._features(p)[:n] for piece, count in pieces]
        return Writable(self._lanes.begin(work))

    def _features(self, batch: Batch) -> Tensor:
        """(B, F, H, W) on the base grid; NaN where nothing was seen."""
        with self._plan.scope():
            features = self._encoder(batch)
            pixels, seen = features.pixels.float(), features.seen
            if self._encoder.stride > 1:
                rows, cols = (length * self._encoder.stride for length in seen.shape[-2:])
                shape = Shape2d(rows, cols)
                pixels, seen = on_base_grid(pixels, shape), mask_on_base_grid(seen, shape)
            return torch.where(seen[:, None], pixels, torch.nan)


@final
@dataclass(frozen=True)
class Writable:
    """A prediction that was made in torch's inference mode, and may be written over outside."""

    pending: Pending

    def result(self) -> Tensor:
        """See `Pending`."""
        return torch.from_numpy(self.pending.result().numpy())


@dataclass(frozen=True)
class Reach:
    """How far a model looks, see `earthloom.maps.tiling.Looks`."""

    layers: tuple[LayerSpec, ...]
    radius: int
    alignment: int
    is_local: bool


def reach_of(model: Model) -> Reach:
    """How far a model looks: as far as the farthest of its members."""
    encoders = [member.encoder for member in model.members]
    return Reach(
        model.layers,
        model.radius,
        math.lcm(*(encoder.alignment for encoder in encoders)),
        all(encoder.is_local for encoder in encoders),
    )


_ASKED: Mapping[Asked, Callable[[Model, Plan], Predictor]] = {
    "probabilities": PixelPredictor,
    "values": PixelPredictor,
    "features": FeaturePredictor,
}


_opening = Lock()
"""Threads that want the same model at the same time share one."""


@lru_cache(maxsize=2)
def _opened(saved: SavedModel, stamp: tuple[int, int]) -> Predictor:
    return _ASKED[saved.asked](load_model(saved.folder), saved.plan)


@lru_cache(maxsize=4)
def _cube(path: Path, shape: Shape2d) -> Cube:
    return open_cube(path, shape)
