"""The sample contract: what a chip is, from the archive to the model, in numpy and torch alone.

Chips as tensors are in `earthloom.sample.batch`, and their memory in `room`, `crew` and `needs`;
these import torch, and this does not.
"""

from earthloom.sample.chip import (
    IGNORE,
    UNLABELLED,
    Chip,
    Layer,
    LayerSpec,
    Measure,
    Moments,
    weight_unless_one,
)
from earthloom.sample.place import Place, Shape2d, Window
from earthloom.sample.samples import Listed, Samples, Subset, chips_of
from earthloom.sample.sums import JointSums

__all__ = [
    "IGNORE",
    "UNLABELLED",
    "Chip",
    "JointSums",
    "Layer",
    "LayerSpec",
    "Listed",
    "Measure",
    "Moments",
    "Place",
    "Samples",
    "Shape2d",
    "Subset",
    "Window",
    "chips_of",
    "weight_unless_one",
]
