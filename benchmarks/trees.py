"""Tree crowns in airborne images: our detector from nothing, beside a watershed of colours.

Folds of SJER images (an open oak savanna) are trained on and held out in turn, so that every SJER
image is scored once by a detector that never saw it; each fold's detector also goes to HARV, a
closed forest elsewhere. Average precision is of crowns at overlaps of 0.5 and 0.4. The watershed
(Beucher and Meyer 1993) has its index, smoothing and threshold chosen on the same training images,
by the same average precision.

    python benchmarks/trees.py [--seeds 2] [--folds 3] [--steps 300] [--threads 1]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from earthloom.bench.pieces import Held
from earthloom.datasets import open_dataset
from earthloom.encoders import Encoder, Features, Statistics
from earthloom.encoders.base import Level, seen_in
from earthloom.fit.model import Member, Model
from earthloom.fit.statistics import statistics_of
from earthloom.fit.training import Changes, Training, train
from earthloom.sample import Chip, LayerSpec, Samples, Subset, chips_of
from earthloom.sample.batch import Batch, collate
from earthloom.sample.fitted import cut_chip
from earthloom.sample.place import Shape2d, Window
from earthloom.sample.target import Boxes
from earthloom.tasks.boxes import UprightBoxes
from earthloom.tasks.detect import detector_for
from earthloom.tasks.objects import Things

ROOT = Path(__file__).parents[1]
TREES = ROOT.parent / "shared" / "data" / "neon_trees"
OVERLAPS = (0.4, 0.5)
COARSER = 4
"""Pixels of 0.1 m that are taken as one, both ways: crowns are then 9 to 36 pixels wide."""
STEPS, FOLDS = 300, 3
CROP = 80
BATCH = 4
RATE = 2e-3
CHANGES = Changes(scale=(0.8, 1.25), brightness=0.2)
WIDTHS = (24, 48, 64, 96)
INDICES: dict[str, Callable[..., NDArray[np.float64]]] = {
    "green": lambda r, g, b: (2 * g - r - b) / np.maximum(r + g + b, 1e-6),
    "dark": lambda r, g, b: -(r + g + b) / 3,
    "bright": lambda r, g, b: (r + g + b) / 3,
}
"""What stands high in crowns; `green` is the excess of green (Woebbecke et al. 1995)."""
SMOOTHINGS = (1.5, 2.5, 4.0, 6.0, 8.0)
"""Pixels."""
SHARES = (0.0, 0.2, 0.4, 0.6)
"""Of a peak's height above the image's median that still is of the crown."""


class Small(Encoder):
    """Four strided convolution blocks: a pyramid that one core trains in minutes."""

    name = "small-pyramid"

    def __init__(self, layers: Any, statistics_of: dict[str, Statistics]) -> None:
        super().__init__(layers, statistics_of)
        steps, given = [], len(layers[0].bands)
        for made in WIDTHS:
            steps.append(nn.Sequential(_block(given, made, 2), _block(made, made, 1)))
            given = made
        self.steps = nn.ModuleList(steps)

    @property
    def radius(self) -> int:
        return 45

    @property
    def stride(self) -> int:
        return 2

    @property
    def channels(self) -> int:
        return WIDTHS[0]

    @property
    def pyramid(self) -> tuple[Level, ...]:
        return tuple(Level(made, 2 ** (at + 1)) for at, made in enumerate(WIDTHS))

    def config(self) -> dict[str, Any]:
        return {}

    def forward(self, batch: Batch) -> Features:
        (spec,) = self.layers
        state = self.normalised(spec, batch.layers[spec.key])[:, 0]
        made = []
        for step in self.steps:
            state = step(state)
            made.append(state)
        rows, cols = made[0].shape[-2:]
        seen = seen_in(self.layers, batch)[:, ::2, ::2][:, :rows, :cols]
        return Features(made[0], seen, tuple(made), stride=2)


def _block(given: int, made: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(given, made, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(8, made),
        nn.ReLU(inplace=True),
    )


def trained(samples: Samples, seed: int, steps: int) -> Model:
    """A detector of some images, from random weights, on turned, mirrored and zoomed crops."""
    task = UprightBoxes((1,), ("tree",), thresholds=OVERLAPS).fitted(samples)
    torch.manual_seed(seed)
    encoder = Small(tuple(samples.specs.values()), statistics_of(samples))
    head = detector_for(task, encoder)
    training = Training(
        steps=steps,
        batch=BATCH,
        learning_rate=RATE,
        changes=CHANGES,
        crop=CROP,
        seed=seed,
        log_every=steps,
    )
    train(encoder, head, task, samples, training)
    return Model((Member(encoder.eval(), head.eval()),), task, None, {})


def watershed(chip: Chip, index: str, smoothing: float, share: float) -> Things:
    """Crowns about the peaks of a smoothed index, as far as it falls to `share` of a peak.

    The surer a peak, the higher it stands above the image's median.
    """
    (layer,) = chip.layers.values()
    colours = np.nan_to_num(layer.pixels[0]).astype(np.float64)
    smooth = ndimage.gaussian_filter(INDICES[index](*colours), smoothing)
    height = smooth - np.median(smooth)
    near = int(2 * smoothing) | 1
    seeds, count = ndimage.label((ndimage.maximum_filter(height, near) == height) & (height > 0))
    if not count:
        return _boxes(np.zeros((0, 4)), np.zeros(0))
    deep = (height.max() - height) / np.ptp(height) * 65_534
    basins = ndimage.watershed_ift(deep.astype(np.uint16), seeds.astype(np.int32))
    numbers = np.arange(1, count + 1)
    tops = np.asarray(ndimage.maximum(height, seeds, numbers))
    crowns = np.where(height >= share * tops[basins - 1], basins, 0)
    bounds, scores = [], []
    for place, top in zip(ndimage.find_objects(crowns, count), tops, strict=True):
        if place is not None:
            down, across = place
            bounds.append((across.start, down.start, across.stop, down.stop))
            scores.append(top)
    return _boxes(np.array(bounds, float).reshape(-1, 4), np.array(scores))


def _boxes(bounds: NDArray[np.float64], scores: NDArray[np.float64]) -> Things:
    codes = np.ones(len(bounds), np.uint8)
    return Things(Boxes.upright(bounds, codes).corners, codes, scores.astype(np.float32))


def by_watershed(train_on: Sequence[Chip]) -> tuple[str, float, float]:
    """The index, the smoothing and the share that score best on some images."""
    return max(
        product(INDICES, SMOOTHINGS, SHARES),
        key=lambda each: _score([watershed(chip, *each) for chip in train_on], train_on)["ap_50"],
    )


def _score(found: Sequence[Things], chips: Samples | Sequence[Chip]) -> dict[str, float]:
    task = UprightBoxes((1,), ("tree",), thresholds=OVERLAPS)
    score = task.score()
    for at, things in enumerate(found):
        score.update((things,), collate([chips[at]]))
    figures = score.compute()
    return {"ap_50": figures["map_50"], "ap_40": figures["map_40"]}


def _found(model: Model, chips: Samples) -> list[Things]:
    found: list[Things] = []
    for chip in chips_of(chips):
        # Whole pixels of the coarsest level, which the edge is padded to.
        rows, cols = (-(-side // 16) * 16 for side in chip.shape)
        padded = cut_chip(chip, Window(0, 0, Shape2d(rows, cols)))
        found += model.answer(collate([padded]))
    return found


def folds_of(groups: Sequence[str], folds: int, seed: int) -> Iterator[tuple[list[int], list[int]]]:
    """Training and held-out images; those of a group are held out together."""
    names = np.random.default_rng(seed).permutation(sorted(set(groups)))
    for held in np.array_split(names, folds):
        out = np.isin(groups, held)
        yield np.flatnonzero(~out).tolist(), np.flatnonzero(out).tolist()


def run(sjer: Samples, harv: Samples, seed: int, folds: int, steps: int) -> dict[str, Any]:
    """One seed: SJER pooled over held-out images, HARV as the mean of the folds' detectors."""
    began = time.perf_counter()
    here: dict[str, dict[int, Things]] = {"ours": {}, "watershed": {}}
    away: dict[str, list[dict[str, float]]] = {"ours": [], "watershed": []}
    for train_on, held in folds_of(sjer.groups, folds, seed):
        samples, rest = Subset(sjer, train_on), Subset(sjer, held)
        model, best = trained(samples, seed, steps), by_watershed(list(chips_of(samples)))
        finders: dict[str, Callable[[Samples], list[Things]]] = {
            "ours": partial(_found, model),
            "watershed": partial(_basins, best),
        }
        for name, finder in finders.items():
            here[name] |= zip(held, finder(rest), strict=True)
            away[name].append(_score(finder(harv), harv))
        print(f"seed {seed}, {len(held)} images held out: watershed by {best}", flush=True)
    figures: dict[str, Any] = {"seed": seed, "seconds": round(time.perf_counter() - began, 1)}
    for name, found in here.items():
        # Over all images at once, though they are of several detectors: few images have few crowns.
        pooled = _score([found[at] for at in range(len(sjer))], sjer)
        for key, value in pooled.items():
            figures[f"{name}_sjer_{key}"] = value
            figures[f"{name}_harv_{key}"] = statistics.mean(each[key] for each in away[name])
    print(json.dumps(figures), flush=True)
    return figures


def _basins(best: tuple[str, float, float], chips: Samples) -> list[Things]:
    return [watershed(chip, *best) for chip in chips_of(chips)]


@dataclass(frozen=True)
class Coarse:
    """Samples whose pixels are means of `COARSER` pixels, both ways."""

    samples: Samples

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        made = [_coarse(spec) for spec in self.samples.specs.values()]
        return {spec.key: spec for spec in made}

    @property
    def groups(self) -> Sequence[str]:
        return self.samples.groups

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Chip:
        chip = self.samples[index]
        (layer,) = chip.layers.values()
        rows, cols = (side // COARSER for side in chip.shape)
        blocks = (rows, COARSER, cols, COARSER)
        whole = np.s_[..., : rows * COARSER, : cols * COARSER]
        # A mean of which a part was not seen is not seen.
        pixels = layer.pixels[whole].reshape(1, -1, *blocks).mean(axis=(3, 5))
        valid = layer.valid[whole].reshape(1, *blocks).all(axis=(2, 4))
        spec = _coarse(layer.spec)
        made = replace(layer, spec=spec, pixels=pixels.astype(np.float32), valid=valid)
        assert isinstance(chip.target, Boxes)
        boxes = Boxes(chip.target.corners / COARSER, chip.target.codes)
        shape, layers = Shape2d(rows, cols), {spec.key: made}
        return replace(chip, shape=shape, layers=layers, target=boxes, place=None)


def _coarse(spec: LayerSpec) -> LayerSpec:
    return replace(spec, gsd=spec.gsd * COARSER)


def places(folder: Path) -> tuple[Held, Held]:
    """SJER and HARV, in memory."""
    sjer, harv = (
        Held(Coarse(open_dataset("neon-trees", folder, name))) for name in ("SJER", "HARV")
    )
    return sjer, harv


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if not TREES.is_dir():
        print("no data: ../shared/data/neon_trees is not there", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    sjer, harv = places(TREES)
    for name, chips in (("SJER", sjer), ("HARV", harv)):
        boxes = sum(len(c.target.codes) for c in chips_of(chips) if isinstance(c.target, Boxes))
        print(f"{name}: {len(chips)} images with {boxes} crowns")
    runs = [run(sjer, harv, seed, options.folds, options.steps) for seed in range(options.seeds)]
    for key in runs[0]:
        if key != "seed":
            values = [each[key] for each in runs]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            print(f"{key:>22}  {statistics.mean(values):.3f} +- {spread:.3f}")
    print(json.dumps({"steps": options.steps, "folds": options.folds, "runs": runs}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
