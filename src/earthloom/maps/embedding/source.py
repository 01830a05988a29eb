"""An encoder with a projection, as files that any worker of a map can open."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from earthloom.encoders import Encoder, Statistics
from earthloom.encoders.compose import build, config_of
from earthloom.errors import DataError
from earthloom.fit.flat import in_pieces
from earthloom.fit.lanes import Lanes
from earthloom.fit.plan import Plan
from earthloom.maps.embedding.projection import Projection, read_projection
from earthloom.maps.predict import Pending, Predictor
from earthloom.maps.sources import Writable
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch
from earthloom.stages import canonical_json, write_atomic

_WEIGHTS, _CARD, _PROJECTION = "encoder.safetensors", "encoder.json", "projection.safetensors"


@final
@dataclass(frozen=True)
class SavedEncoder:
    """A folder with an encoder and a projection, as `save` wrote it; a `ModelSource`."""

    folder: Path
    digest: str
    """Of both; a folder that was written anew is read anew."""
    plan: Plan = Plan()

    @staticmethod
    def save(
        encoder: Encoder, projection: Projection, folder: Path, digest: str, plan: Plan
    ) -> "SavedEncoder":
        """Writes both; the card, without which nothing is read, comes last."""
        tensors = {name: t.detach().cpu().contiguous() for name, t in encoder.state_dict().items()}
        write_atomic(folder / _WEIGHTS, save(tensors))
        projection.write(folder / _PROJECTION)
        layers = [layer.to_json() for layer in encoder.layers]
        card = canonical_json({"encoder": config_of(encoder), "layers": layers})
        write_atomic(folder / _CARD, card)
        return SavedEncoder(folder, digest, plan)

    def open(self) -> Predictor:
        """See `ModelSource`."""
        with _opening:
            return _opened(self)


@final
class FieldPredictor:
    """Projected features of an encoder, on the processor; a `Predictor`."""

    def __init__(self, encoder: Encoder, projection: Projection, plan: Plan) -> None:
        self._encoder, self._projection, self._plan = encoder.eval(), projection, plan
        self._lanes = Lanes(torch.get_num_threads())
        self.planes = projection.dimensions
        self.ahead = 2 * self._lanes.count

    def begin(self, batch: Batch) -> Pending:
        """See `Predictor`."""
        pieces = in_pieces(batch, self._plan.batch)
        work = [lambda p=piece, n=count: self._projected(p)[:n] for piece, count in pieces]
        return Writable(self._lanes.begin(work))

    def close(self) -> None:
        """Ends the threads."""
        self._lanes.close()

    def _projected(self, batch: Batch) -> Tensor:
        """(B, D, H, W) on the base grid; NaN where nothing was seen."""
        with self._plan.scope():
            features = self._encoder(batch)
        with torch.inference_mode():
            # In float32 whatever the plan; before it is resampled, as there are fewer pixels then.
            pixels = features.on_base_grid(self._projection.project(features.pixels.float()))
            seen = features.on_base_grid(features.seen)
            return torch.where(seen[:, None], pixels, torch.nan)


_opening = Lock()
"""Threads that want the same encoder at the same time share one."""


@lru_cache(maxsize=2)
def _opened(saved: SavedEncoder) -> Predictor:
    projection = read_projection(saved.folder / _PROJECTION)
    return FieldPredictor(_read_encoder(saved.folder), projection, saved.plan)


def _read_encoder(folder: Path) -> Encoder:
    try:
        card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
        tensors = load_file(folder / _WEIGHTS)
    except (OSError, json.JSONDecodeError, SafetensorError) as error:
        raise DataError(f"no encoder can be read from {folder}: {error}") from error
    layers = tuple(LayerSpec.from_json(layer) for layer in card["layers"])
    # The statistics are buffers, and come with the weights.
    blank = {
        layer.key: Statistics((0.0,) * len(layer.bands), (1.0,) * len(layer.bands))
        for layer in layers
    }
    encoder = build(card["encoder"], layers, blank)
    encoder.load_state_dict(tensors)
    return encoder.eval()
