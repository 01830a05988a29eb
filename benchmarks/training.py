"""What the training loop costs over a bare torch loop: the same network, loader and loss.

    python benchmarks/training.py [--rounds 7] [--steps 20] [--batch 8] [--size 64] [--quick]

`fit_vs_plain` is our seconds a step over those of the bare loop for a U-Net, `head_vs_plain` the
same for a linear head on bands that a frozen encoder normalises: medians over rounds in turn, in
which both train from the same weights on the same batches. The bare loop is torch's AdamW and
nothing else. Ours clips gradients, runs a schedule and keeps a history beside; `with_all` adds
flips and turns, a running average, TensorBoard, tables, and a checkpoint at the end. `--quick`
takes two rounds of few steps on small chips, and its figures mean nothing.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from earthloom.chips.loader import Loader, Loading
from earthloom.chips.sampling import Cycled, Sampler
from earthloom.encoders import Encoder
from earthloom.encoders.raw import Raw
from earthloom.encoders.unet import UNet
from earthloom.fit.statistics import statistics_of
from earthloom.fit.training import Changes, Training, train
from earthloom.sample import Chip, Layer, LayerSpec, Listed, Shape2d
from earthloom.sample.needs import Needs
from earthloom.tasks import PixelClasses
from earthloom.tasks.heads import ConvHead

BANDS, CLASSES, CHIPS = 10, 8, 64
SPEC = LayerSpec(
    "optical", 10, tuple(f"b{n}" for n in range(BANDS)), "1", ("2023",), (500.0,) * BANDS
)
WARM = 3
"""Steps before the clock runs."""


def chips_of(size: int) -> Listed:
    """Noise with labels: what is learnt plays no part here."""
    rng = np.random.default_rng(0)
    shape = Shape2d(size, size)
    made = []
    for number in range(CHIPS):
        pixels = rng.random((1, BANDS, size, size), np.float32)
        layer = Layer(SPEC, pixels, np.ones((1, size, size), bool), np.zeros(1, np.int32))
        label = rng.integers(1, CLASSES + 1, shape).astype(np.uint8)
        made.append(Chip(str(number), shape, {SPEC.key: layer}, label))
    return Listed(made)


@dataclass(frozen=True)
class Case:
    """What is trained, and how long."""

    samples: Listed
    task: PixelClasses
    make: Callable[[], tuple[Encoder, ConvHead]]
    steps: int
    batch: int
    device: torch.device

    def plain(self) -> float:
        """Seconds a step of a bare loop."""
        encoder, head = self.make()
        encoder.to(self.device).train()
        head.to(self.device).train()
        parameters = [*encoder.parameters(), *head.parameters()]
        optimiser = torch.optim.AdamW([p for p in parameters if p.requires_grad], lr=1e-3)
        learns = any(parameter.requires_grad for parameter in encoder.parameters())
        order = Sampler(Cycled(np.arange(CHIPS), self.steps * self.batch), 0)
        loader = Loader(self.samples, order, Loading(self.batch, workers=1), Needs(encoder.layers))
        began = 0.0
        for step, batch in enumerate(loader):
            if step == WARM:
                began = self.now()
            batch = batch.to(self.device)
            with torch.set_grad_enabled(learns):
                features = encoder(batch)
            loss = self.task.loss(head, features, batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        spent = self.now() - began
        loader.close()
        return spent / (self.steps - WARM)

    def ours(self, training: Training) -> float:
        """Seconds a step of `train`."""
        marks: dict[int, float] = {}

        def tick(done: int, total: int, detail: str = "") -> None:
            if done in (WARM, total):
                marks[done] = self.now()

        encoder, head = self.make()
        rule = Cycled(np.arange(CHIPS), training.drawn)
        train(encoder, head, self.task, self.samples, training, tick=tick, rule=rule)
        return (marks[self.steps] - marks[WARM]) / (self.steps - WARM)

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def unet(samples: Listed) -> tuple[Encoder, ConvHead]:
    torch.manual_seed(0)
    encoder = UNet((SPEC,), statistics_of(samples), width=16, levels=3)
    return encoder, ConvHead(16, CLASSES)


def linear(samples: Listed) -> tuple[Encoder, ConvHead]:
    torch.manual_seed(0)
    encoder = Raw((SPEC,), statistics_of(samples))
    return encoder.requires_grad_(False).eval(), ConvHead(encoder.channels, CLASSES)


def measure(case: Case, rounds: int) -> dict[str, list[float]]:
    """Seconds a step of each way, one a round; the ways take turns in beginning."""
    bare = Training(
        steps=case.steps, batch=case.batch, learning_rate=1e-3, changes=Changes(False, False)
    )
    full = replace(bare, changes=Changes(), ema=0.99)
    found: dict[str, list[float]] = {"plain": [], "ours": [], "with_all": []}
    for number in range(rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            logged = replace(full, folder=Path(folder))
            ways: dict[str, Callable[[], float]] = {
                "plain": case.plain,
                "ours": lambda: case.ours(bare),
                "with_all": lambda logged=logged: case.ours(logged),
            }
            names = list(ways)
            for name in names[number % 3 :] + names[: number % 3]:
                seconds = ways[name]()
                if number:  # The first round warms caches up.
                    found[name].append(seconds)
    return found


def summary(found: dict[str, list[float]], way: str) -> dict[str, float]:
    """Ratio of each round to the bare loop: its median, and the middle half."""
    ratios = [a / b for a, b in zip(found[way], found["plain"], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {"median": statistics.median(ratios), "low": low, "high": high}


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--head-steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=64, help="pixels of a chip, both ways")
    parser.add_argument("--quick", action="store_true", help="a trial whose figures mean nothing")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.steps, given.head_steps, given.batch, given.size = 2, 5, 8, 4, 32
    samples = chips_of(given.size)
    names = tuple(f"class {n}" for n in range(1, CLASSES + 1))
    colours = tuple((n, n, n) for n in range(CLASSES))
    task = PixelClasses(tuple(range(1, CLASSES + 1)), names, colours).fitted(samples)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    result: dict[str, object] = {"device": device.type, "threads": torch.get_num_threads()}
    rows = (("fit", unet, given.steps), ("head", linear, given.head_steps))
    print(f"{'case':<6} {'way':<9} {'ms/step':>9} {'ratio':>7}  middle half")
    for name, make, steps in rows:
        case = Case(samples, task, lambda make=make: make(samples), steps, given.batch, device)
        found = measure(case, given.rounds)
        for way, seconds in found.items():
            ratio = summary(found, way)
            spread = f"{ratio['low']:.3f} to {ratio['high']:.3f}"
            middle = 1e3 * statistics.median(seconds)
            print(f"{name:<6} {way:<9} {middle:>9.2f} {ratio['median']:>7.3f}  {spread}")
        ours = summary(found, "ours")
        result[f"{name}_vs_plain"] = round(ours["median"], 4)
        result[f"{name}_vs_plain_spread"] = [round(ours["low"], 4), round(ours["high"], 4)]
        result[f"{name}_with_all"] = round(summary(found, "with_all")["median"], 4)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
