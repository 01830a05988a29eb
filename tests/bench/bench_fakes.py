"""Small encoders, ways of fitting and tables, so that a bench of many cells takes a second."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from earthloom.encoders import Encoder, Statistics
from earthloom.encoders.base import Features, seen_in
from earthloom.errors import ContractError, LabelError
from earthloom.fit.model import Member, Model
from earthloom.sample import LayerSpec, Samples, chips_of
from earthloom.sample.batch import Batch
from earthloom.sample.room import collate_ragged
from earthloom.tasks.base import Task
from earthloom.tasks.heads import ConvHead


class Flat(Encoder):
    """All bands of all dates, standardised."""

    name = "flat"

    @property
    def radius(self) -> int:
        return 0

    @property
    def channels(self) -> int:
        return sum(len(layer.bands) * len(layer.dates) for layer in self.layers)

    def config(self) -> dict[str, Any]:
        return {}

    def forward(self, batch: Batch) -> Features:
        parts = [
            self.normalised(each, batch.layers[each.key]).flatten(1, 2) for each in self.layers
        ]
        return Features(torch.cat(parts, dim=1), seen_in(self.layers, batch))


def make_flat(
    layers: tuple[LayerSpec, ...], statistics: Mapping[str, Statistics], samples: Samples, seed: int
) -> Encoder:
    return Flat(layers, statistics)


def make_choosy(
    layers: tuple[LayerSpec, ...], statistics: Mapping[str, Statistics], samples: Samples, seed: int
) -> Encoder:
    raise ContractError("the model expects layer other_10m; on offer are: others")


@dataclass(frozen=True)
class Centroids:
    """Nearest mean of each class, as a linear head; `scale` is its only setting."""

    scale: float = 1.0
    broken: bool = False
    name: str = "centroids"
    trains_encoder: bool = False

    def serves(self, task: Task[Any]) -> bool:
        return task.name == "pixel-class"

    def candidates(self, budget: int) -> Sequence["Centroids"]:
        scales = (self.scale, 0.1 * self.scale, 0.01 * self.scale)
        return [replace(self, scale=scale) for scale in scales[:budget]]

    def fit(
        self,
        encoder: Encoder,
        train: Samples,
        task: Task[Any],
        seed: int,
        validation: Samples | None = None,
    ) -> Model:
        if self.broken:
            raise LabelError("it broke")
        batch = collate_ragged(list(chips_of(train)), train.specs)
        assert batch.label is not None
        rows = encoder(batch).pixels.movedim(1, -1).reshape(-1, encoder.channels)
        codes = batch.label.reshape(-1)
        head = ConvHead(encoder.channels, task.outputs)
        centres = torch.stack(
            [
                rows[codes == code].mean(dim=0)
                if (codes == code).any()
                else torch.full_like(rows[0], 9)
                for code in range(1, task.outputs + 1)
            ]
        )
        with torch.no_grad():
            head.layer.weight.copy_(self.scale * 2 * centres[:, :, None, None])
            head.layer.bias.copy_(-self.scale * centres.square().sum(dim=1))
        return Model((Member(encoder, head.eval()),), task, None, {})


def write_table(
    file: Path, seed: int, classes: int = 3, per_block: int = 6, blocks: int = 6
) -> None:
    """A table of series whose classes differ in their season."""
    random = np.random.default_rng(seed)
    count = per_block * blocks
    kinds = np.arange(count) % classes
    season = np.sin(np.linspace(0, 2 * np.pi, 8)[None] + 2.0 * kinds[:, None])
    values = 0.4 + 0.15 * season[:, :, None] + random.normal(0, 0.12, (count, 8, 3))
    block = np.arange(count) // per_block
    days = np.datetime64("2015-01-01") + 16 * np.arange(8)
    np.savez(
        file,
        X=values.astype(np.float32).clip(-0.2, 1.0),
        bands=np.array(["ndvi", "evi", "nir"]),
        y=np.array([f"class {kind}" for kind in kinds]),
        lon=-50 + block + random.uniform(0.1, 0.9, count),
        lat=-10 - (block % 2) + random.uniform(0.1, 0.9, count) - 1,
        dates=np.broadcast_to(days.astype(str), (count, 8)),
    )


def write_bench(folder: Path, **changes: Any) -> Path:
    """Two small tables and a bench file of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in (("first", 1), ("second", 2)):
        (folder / name).mkdir(exist_ok=True)
        write_table(folder / name / "table.npz", seed)
    given = {
        "name": "small",
        "datasets": [
            {
                "name": name,
                "folder": name,
                "layout": "series",
                "sensor": "modis-mod13q1",
                "bands": ["ndvi", "evi", "nir"],
                "options": {"table": "table.npz"},
                "split": {"by": "groups", "folds": 2},
            }
            for name in ("first", "second")
        ],
        "encoders": ["flat"],
        "adaptations": ["centroids"],
        "budgets": [1, "all"],
        "seeds": 2,
        "resamples": 100,
    } | changes
    file = folder / "bench.yaml"
    file.write_text(yaml.safe_dump(given, sort_keys=False), encoding="utf-8")
    return file
