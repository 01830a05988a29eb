"""What pretraining is worth on the simulated Earth: linear probes on frozen features.

Land cover of pixels from Sentinel-2, from Landsat (which those of the recipe never saw) and from
single series of MODIS, with the simulator's truth. Landscapes are of a seed that no pretraining
uses; those of training and of test are others. The same network untrained, and the bands
themselves, are beside it, on the same pixels, paired over seeds. It tells good pretrainings from
bad ones without a look at any real labels.

Run alone: `python benchmarks/pretrain_probe.py weights.safetensors`; the package's own weights
without a file.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from earthloom.encoders import Encoder
from earthloom.encoders.loom import load_loom
from earthloom.encoders.raw import Raw
from earthloom.fit.statistics import statistics_of
from earthloom.pretrain import Simulated
from earthloom.pretrain.series import SimulatedSeries
from earthloom.sample import Samples, Subset
from earthloom.sample.batch import collate

SEED = 77
"""Of landscapes that no pretraining uses."""
PER_CLASS = 20
SEEDS = 5
PIXELS = 150
"""Of a chip, at most."""
BATCH = 16

SETS: Mapping[str, Simulated | SimulatedSeries] = {
    "sentinel-2": Simulated(
        sensors=("sentinel-2-10m", "sentinel-2-20m"),
        chips=96,
        side=48,
        chips_each=6,
        at_once=1,
        seed=SEED,
    ),
    "landsat": Simulated(
        sensors=("landsat",), chips=96, side=48, chips_each=6, at_once=1, seed=SEED
    ),
    "series": SimulatedSeries(chips=4096, chips_each=256, at_once=1, seed=SEED),
}
"""Chips in the order of their landscapes; the first half trains."""


@dataclass(frozen=True)
class Rows:
    """Features of pixels."""

    features: NDArray[np.float32]
    """(N, F)."""
    classes: NDArray[np.int64]
    """(N,)."""
    trains: NDArray[np.bool_]
    """(N,)."""


@torch.inference_mode()
def rows_of(encoder: Encoder, samples: Samples) -> Rows:
    """The same pixels for every encoder."""
    parts: list[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]] = []
    for numbers in _blocks(len(samples)):
        chips = [samples[number] for number in numbers]
        found = encoder(collate(chips))
        pixels, seen = found.on_base_grid(found.pixels), found.on_base_grid(found.seen)
        for number, chip, image, there in zip(numbers, chips, pixels, seen, strict=True):
            assert chip.label is not None
            places = np.flatnonzero(there.numpy().ravel())
            places = np.random.default_rng(number).permutation(places)[:PIXELS]
            flat = image.flatten(1).T.numpy()[places]
            trains = np.full(len(places), number < len(samples) // 2)
            parts.append((flat, chip.label.ravel()[places].astype(np.int64), trains))
    features, classes, trains = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Rows(features, classes, trains)


def _blocks(count: int) -> Iterator[Sequence[int]]:
    for first in range(0, count, BATCH):
        yield range(first, min(first + BATCH, count))


def score(rows: Rows, seed: int) -> float:
    """Mean F1 over classes of a probe on a few pixels of each class."""
    random = np.random.default_rng(seed)
    chosen = np.concatenate(
        [
            random.permutation(np.flatnonzero(rows.trains & (rows.classes == code)))[:PER_CLASS]
            for code in np.unique(rows.classes[rows.trains])
        ]
    )
    scaler = StandardScaler().fit(rows.features[chosen])
    probe = LogisticRegression(C=0.1, max_iter=500)
    probe.fit(scaler.transform(rows.features[chosen]), rows.classes[chosen])
    test = ~rows.trains & np.isin(rows.classes, rows.classes[chosen])
    answers = probe.predict(scaler.transform(rows.features[test]))
    return float(f1_score(rows.classes[test], answers, average="macro"))


def measured(samples: Samples, weights: Path) -> dict[str, list[float]]:
    """Scores by encoder, one a seed."""
    layers = tuple(samples.specs.values())
    statistics = statistics_of(Subset(samples, range(min(BATCH, len(samples)))))
    torch.manual_seed(0)
    encoders: Mapping[str, Encoder] = {
        "pretrained": load_loom(layers, statistics, weights),
        "untrained": load_loom(layers, statistics, None),
        "bands": Raw(layers, statistics).eval(),
    }
    found = {name: rows_of(encoder, samples) for name, encoder in encoders.items()}
    return {name: [score(rows, seed) for seed in range(SEEDS)] for name, rows in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("weights", type=Path, help="safetensors of a loom")
    given = parser.parse_args()
    weights = given.weights
    result: dict[str, dict[str, float]] = {}
    print(f"mean F1 over classes, {PER_CLASS} pixels a class, {SEEDS} seeds")
    for name, source in SETS.items():
        scores = measured(source.open(), weights)
        gains = np.subtract(scores["pretrained"], scores["untrained"])
        means = {encoder: float(np.mean(each)) for encoder, each in scores.items()}
        means["gain"] = float(gains.mean())
        means["gain_se"] = float(gains.std(ddof=1) / np.sqrt(len(gains)))
        result[name] = {key: round(value, 4) for key, value in means.items()}
        print(name, result[name], flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
