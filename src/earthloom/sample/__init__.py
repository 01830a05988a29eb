"""The sample contract: what a chip is, from the archive to the model, in numpy and torch alone."""

from earthloom.sample.batch import Batch, LayerBatch, collate
from earthloom.sample.chip import UNLABELLED, Chip, Layer, LayerSpec, Moments
from earthloom.sample.place import Place, Shape2d, Window
from earthloom.sample.samples import Samples, Subset, chips_of

__all__ = [
    "UNLABELLED",
    "Batch",
    "Chip",
    "Layer",
    "LayerBatch",
    "LayerSpec",
    "Moments",
    "Place",
    "Samples",
    "Shape2d",
    "Subset",
    "Window",
    "chips_of",
    "collate",
]
