"""Tree crowns in airborne images: our detector from nothing, beside a watershed of colours.

Folds of SJER images (an open oak savanna) are trained on and held out in turn, so that every SJER
image is scored once by a detector that never saw it; each fold's detector also goes to HARV, a
closed forest elsewhere. Average precision is of crowns at overlaps of 0.5 and 0.4. The watershed
(Beucher and Meyer 1993) has its index, smoothing and threshold chosen on the same training images,
by the same average precision.

    python benchmarks/trees.py [--seeds 3] [--folds 4] [--steps 400] [--threads 2]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from earthloom.datasets import open_dataset
from earthloom.encoders import Encoder, Features, Statistics
from earthloom.encoders.base import Level, seen_in
from earthloom.sample import Chip
from earthloom.sample.batch import Batch, collate
from earthloom.sample.fitted import cut_chip
from earthloom.sample.place import Shape2d, Window
from earthloom.sample.target import Boxes
from earthloom.tasks.boxes import UprightBoxes
from earthloom.tasks.detect import DetectHead, detector_for
from earthloom.tasks.objects import Things

ROOT = Path(__file__).parents[1]
TREES = ROOT.parent / "shared" / "data" / "neon_trees"
OVERLAPS = (0.4, 0.5)
CROP = 256
BATCH = 2
RATE = 1e-3
WIDTHS = (16, 32, 48, 64)
INDICES: dict[str, Callable[..., NDArray[np.float64]]] = {
    "green": lambda r, g, b: (2 * g - r - b) / np.maximum(r + g + b, 1e-6),
    "dark": lambda r, g, b: -(r + g + b) / 3,
    "bright": lambda r, g, b: (r + g + b) / 3,
}
"""What stands high in crowns; `green` is the excess of green (Woebbecke et al. 1995)."""
COARSER = 4
"""Pixels that the watershed takes as one, both ways."""
SMOOTHINGS = (6.0, 10.0, 16.0, 24.0, 32.0)
"""Pixels, of a tenth of a metre."""
SHARES = (0.0, 0.2, 0.4, 0.6)
"""Of a peak's height above the image's median that still is of the crown."""


class Small(Encoder):
    """Four strided convolution blocks: a pyramid that two cores train in minutes."""

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
        state, made = self.normalised(spec, batch.layers[spec.key])[:, 0], []
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


def train(chips: Sequence[Chip], seed: int, steps: int) -> tuple[UprightBoxes, Encoder, DetectHead]:
    """A detector of some images, from random weights, on turned and mirrored crops."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    task = UprightBoxes((1,), ("tree",), thresholds=OVERLAPS).fitted(_Listed(chips))
    encoder = Small((_spec(chips[0]),), _statistics(chips))
    head = detector_for(task, encoder)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(steps):
        batch = collate([_crop(chips[int(rng.integers(len(chips)))], rng) for _ in range(BATCH)])
        optimiser.zero_grad()
        loss: Tensor = task.loss(head, encoder(batch), batch)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
    return task, encoder.eval(), head.eval()


def _crop(chip: Chip, rng: np.random.Generator) -> Chip:
    """A piece of an image, turned by quarters and perhaps mirrored, with its boxes."""
    size = Shape2d(CROP, CROP)
    free = (max(side - CROP, 0) for side in chip.shape)
    row, col = (int(rng.integers(0, each + 1)) for each in free)
    return _turned(cut_chip(chip, Window(row, col, size)), int(rng.integers(4)), rng.random() < 0.5)


def _turned(chip: Chip, quarters: int, mirrored: bool) -> Chip:
    (key, layer), target = next(iter(chip.layers.items())), chip.target
    pixels, valid = layer.pixels, layer.valid
    assert isinstance(target, Boxes)
    corners = target.corners
    if mirrored:
        pixels, valid = pixels[..., ::-1], valid[..., ::-1]
        corners = np.stack([CROP - corners[..., 0], corners[..., 1]], axis=-1)
    for _ in range(quarters):
        pixels, valid = np.rot90(pixels, axes=(-2, -1)), np.rot90(valid, axes=(-2, -1))
        corners = np.stack([corners[..., 1], CROP - corners[..., 0]], axis=-1)
    turned = replace(layer, pixels=pixels.copy(), valid=valid.copy())
    return replace(chip, layers={key: turned}, target=Boxes(corners, target.codes))


def watershed(chip: Chip, index: str, smoothing: float, share: float) -> Things:
    """Crowns about the peaks of a smoothed index, as far as it falls to `share` of a peak.

    The surer a peak, the higher it stands above the image's median.
    """
    (layer,) = chip.layers.values()
    rows, cols = (side // COARSER * COARSER for side in chip.shape)
    fine = np.nan_to_num(layer.pixels[0, :, :rows, :cols]).astype(np.float64)
    coarse = fine.reshape(3, rows // COARSER, COARSER, cols // COARSER, COARSER).mean(axis=(2, 4))
    smooth = ndimage.gaussian_filter(INDICES[index](*coarse), smoothing / COARSER)
    height = smooth - np.median(smooth)
    near = int(2 * smoothing / COARSER) | 1
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
    return _boxes(np.array(bounds, float).reshape(-1, 4) * COARSER, np.array(scores))


def _boxes(bounds: NDArray[np.float64], scores: NDArray[np.float64]) -> Things:
    codes = np.ones(len(bounds), np.uint8)
    return Things(Boxes.upright(bounds, codes).corners, codes, scores.astype(np.float32))


def by_watershed(train_on: Sequence[Chip]) -> tuple[str, float, float]:
    """The index, the smoothing and the share that score best on some images."""
    return max(
        product(INDICES, SMOOTHINGS, SHARES),
        key=lambda each: _score([watershed(chip, *each) for chip in train_on], train_on)["ap_50"],
    )


def _score(found: Sequence[Things], chips: Sequence[Chip]) -> dict[str, float]:
    task = UprightBoxes((1,), ("tree",), thresholds=OVERLAPS)
    score = task.score()
    for things, chip in zip(found, chips, strict=True):
        score.update((things,), collate([chip]))
    figures = score.compute()
    return {"ap_50": figures["map_50"], "ap_40": figures["map_40"]}


def _found(
    task: UprightBoxes, encoder: Encoder, head: DetectHead, chips: Sequence[Chip]
) -> list[Things]:
    found = []
    with torch.inference_mode():
        for chip in chips:
            # Whole pixels of the coarsest level, which the edge is padded to.
            rows, cols = (-(-side // 16) * 16 for side in chip.shape)
            padded = cut_chip(chip, Window(0, 0, Shape2d(rows, cols)))
            found += task.answer(head, encoder(collate([padded])))
    return found


def folds_of(count: int, folds: int, seed: int) -> Iterator[tuple[list[int], list[int]]]:
    """Training and held-out images."""
    order = np.random.default_rng(seed).permutation(count)
    for held in np.array_split(order, folds):
        yield sorted(set(range(count)) - set(held.tolist())), sorted(held.tolist())


def run(
    sjer: Sequence[Chip], harv: Sequence[Chip], seed: int, folds: int, steps: int
) -> dict[str, Any]:
    """One seed: SJER pooled over held-out images, HARV as the mean of the folds' detectors."""
    began = time.perf_counter()
    ours: dict[int, Things] = {}
    theirs: dict[int, Things] = {}
    abroad, peer_abroad = [], []
    for train_on, held in folds_of(len(sjer), folds, seed):
        chips = [sjer[at] for at in train_on]
        made, best = train(chips, seed, steps), by_watershed(chips)
        ours |= zip(held, _found(*made, [sjer[at] for at in held]), strict=True)
        theirs |= {at: watershed(sjer[at], *best) for at in held}
        abroad.append(_score(_found(*made, harv), harv))
        peer_abroad.append(_score([watershed(chip, *best) for chip in harv], harv))
    figures: dict[str, Any] = {"seed": seed, "seconds": round(time.perf_counter() - began, 1)}
    order = range(len(sjer))
    for name, found in (("ours", ours), ("watershed", theirs)):
        for key, value in _score([found[at] for at in order], sjer).items():
            figures[f"{name}_sjer_{key}"] = value
    for name, each in (("ours", abroad), ("watershed", peer_abroad)):
        for key in ("ap_50", "ap_40"):
            figures[f"{name}_harv_{key}"] = statistics.mean(one[key] for one in each)
    return figures


class _Listed:
    """Chips in memory as samples."""

    def __init__(self, chips: Sequence[Chip]) -> None:
        self.chips = chips

    @property
    def specs(self) -> Any:
        return {_spec(self.chips[0]).key: _spec(self.chips[0])}

    @property
    def groups(self) -> list[str]:
        return [chip.group for chip in self.chips]

    def __len__(self) -> int:
        return len(self.chips)

    def __getitem__(self, index: int) -> Chip:
        return self.chips[index]


def _spec(chip: Chip) -> Any:
    (layer,) = chip.layers.values()
    return layer.spec


def _statistics(chips: Sequence[Chip]) -> dict[str, Statistics]:
    (key,) = chips[0].layers
    values = np.concatenate([c.layers[key].pixels[0].reshape(3, -1)[:, ::17] for c in chips], 1)
    mean, std = np.nanmean(values, axis=1), np.nanstd(values, axis=1)
    return {key: Statistics(tuple(mean.tolist()), tuple(std.tolist()))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if not TREES.is_dir():
        print("no data: ../shared/data/neon_trees is not there", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    sjer, harv = (_all(split) for split in ("SJER", "HARV"))
    print(f"{len(sjer)} images of SJER, {len(harv)} of HARV")
    runs = [run(sjer, harv, seed, options.folds, options.steps) for seed in range(options.seeds)]
    for key in runs[0]:
        if key != "seed":
            values = [each[key] for each in runs]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            print(f"{key:>22}  {statistics.mean(values):.3f} +- {spread:.3f}")
    print(json.dumps({"steps": options.steps, "folds": options.folds, "runs": runs}))
    return 0


def _all(split: str) -> list[Chip]:
    samples = open_dataset("neon-trees", TREES, split)
    return [samples[at] for at in range(len(samples))]


if __name__ == "__main__":
    sys.exit(main())
