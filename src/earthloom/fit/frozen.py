"""The frozen encoder and the way of fitting that a project file names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earthloom.encoders import Encoder
from earthloom.encoders.time_features import TimeFeatures
from earthloom.fit.shallow import Boosted, Forest, Ridge, Shallow
from earthloom.fit.statistics import statistics_of
from earthloom.sample import Samples

if TYPE_CHECKING:
    from earthloom.project import BoostedModel, ForestModel, LoomModel, RidgeModel


def shallow_of(
    samples: Samples, choice: RidgeModel | ForestModel | BoostedModel | LoomModel
) -> tuple[Encoder, Shallow]:
    """An encoder for the layers of the samples, and the head that is fitted to its features."""
    layers, statistics = tuple(samples.specs.values()), statistics_of(samples)
    if choice.name == "forest":
        bands = TimeFeatures(layers, statistics, only_bands=True)
        return bands.eval(), Forest(trees=choice.trees)
    if choice.name == "loom":
        from earthloom.encoders.loom import load_loom, shipped_weights

        loom = load_loom(layers, statistics, shipped_weights()).acquaint(samples)
        return loom, Ridge(random_features=choice.random_features)
    encoder = TimeFeatures(layers, statistics, radius=choice.radius).eval()
    if choice.name == "boosted":
        boosted = Boosted(choice.rounds, choice.learning_rate, choice.leaves)
        return encoder, boosted
    return encoder, Ridge(random_features=choice.random_features)
