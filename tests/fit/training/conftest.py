"""Chips in memory, small encoders, and a task that counts nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from earthloom.encoders import Encoder, Features, Statistics
from earthloom.fit.training import Changes, Training
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.samples import Listed
from earthloom.tasks import PixelClasses
from earthloom.tasks.heads import ConvHead

SIZE = Shape2d(8, 8)
SPEC = LayerSpec("optical", 10, ("red", "nir"), "1", ("2023-05",), (660.0, 840.0))
STILL = Changes(flips=False, turns=False)


def make_chip(number: int, noise: float = 0.3) -> Chip:
    """Two classes in halves that lie anywhere, told apart by colour and noise."""
    rng = np.random.default_rng(number)
    truth = np.rot90(np.arange(8)[None].repeat(8, 0) >= 4, number % 4)
    pixels = rng.normal(0, noise, (1, 2, 8, 8)) + truth * np.array([1.0, -1.0])[:, None, None]
    layer = Layer(SPEC, pixels.astype(np.float32), np.ones((1, 8, 8), bool), np.zeros(1, np.int32))
    return Chip(f"chip-{number}", SIZE, {SPEC.key: layer}, truth.astype(np.uint8) + 1, f"{number}")


class Blocks(Encoder):
    """A stem, blocks that it states, and a last convolution; with dropout and batch norms."""

    name = "blocks"

    def __init__(self, depth: int = 2, norm: bool = True, dropout: float = 0.1) -> None:
        super().__init__((SPEC,), {SPEC.key: Statistics((0.5, -0.5), (0.6, 0.6))})
        self.stem = nn.Conv2d(2, 8, 1)
        made = [
            nn.Sequential(
                nn.Conv2d(8, 8, 3, padding=1),
                nn.BatchNorm2d(8) if norm else nn.Identity(),
                nn.Dropout(dropout),
                nn.ReLU(),
            )
            for _ in range(depth)
        ]
        self.parts = nn.ModuleList(made)
        self.last = nn.Conv2d(8, 8, 1)

    @property
    def blocks(self):
        return tuple(self.parts)

    @property
    def radius(self):
        return len(self.parts)

    @property
    def channels(self):
        return 8

    def config(self):
        return {}

    def forward(self, batch):
        layer = batch.layers[SPEC.key]
        state = self.stem(self.normalised(SPEC, layer)[:, 0])
        for part in self.parts:
            state = part(state)
        return Features(self.last(state), layer.valid.any(dim=1))


@pytest.fixture
def samples() -> Listed:
    return Listed([make_chip(number) for number in range(8)])


@pytest.fixture
def others() -> Listed:
    """For validation."""
    return Listed([make_chip(number) for number in range(100, 104)])


@pytest.fixture
def task(samples) -> PixelClasses:
    plain = PixelClasses((1, 2), ("left", "right"), ((0, 0, 0), (200, 200, 200)))
    return plain.fitted(samples)


@pytest.fixture
def pair():
    """A new encoder and head, always with the same weights."""

    def make(**changes):
        torch.manual_seed(7)
        encoder = Blocks(**changes)
        return encoder, ConvHead(8, 2)

    return make


@pytest.fixture
def short() -> Training:
    return Training(steps=6, batch=3, learning_rate=1e-2, log_every=1, workers=0)


@pytest.fixture
def still(short) -> Training:
    """Without augmentation."""
    return replace(short, changes=STILL)
