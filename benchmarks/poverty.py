"""Wealth of African survey clusters from histograms of bands, each country left out in turn.

    python benchmarks/tasks.py --sets poverty

Parts of that benchmark. Country levels are most of the variance and nothing but the other countries
tells them, so that R2 over all clusters is low, and below 0 for most ways. All four ways are fitted
on the same four fifths of the other countries' clusters, drawn by the seed. What is chosen is
chosen by error on countries left out of those alone:

- `ours`: closed-form ridge on what `Histograms` says of all bands or of one, chosen by the held-out
  error that the closed form gives of each penalty;
- `forest`: 100 trees on the histograms as they are;
- `unet`: a U-Net has no use here; scikit-learn's perceptron of 64 units on logarithms of counts,
  which stops early on a tenth of the clusters;
- `ridge`: scikit-learn's ridge regression on logarithms of counts, of five penalties.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge as PlainRidge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from earthloom.bench.flat import FlatChip
from earthloom.bench.pieces import Held
from earthloom.chips.folds import leave_group_out
from earthloom.datasets import open_dataset
from earthloom.encoders import Encoder, Features, Statistics
from earthloom.encoders.base import seen_in
from earthloom.fit.model import Model
from earthloom.fit.shallow import Forest, Ridge
from earthloom.fit.statistics import statistics_of
from earthloom.sample import LayerSpec, Samples, Subset, chips_of
from earthloom.sample.batch import Batch, collate
from earthloom.sample.target import SceneValue
from earthloom.tasks.scene_value import SceneValueTask
from earthloom.tasks.value_criteria import Squared

DRAWN = 0.8
"""Share of a country's clusters that a seed draws to train on."""
TREES = 100
PENALTIES = (1e1, 1e2, 1e3, 1e4, 1e5)
Numbers = NDArray[np.float64]


def _shares(counts: Tensor) -> Tensor:
    return counts / counts.sum(dim=-1, keepdim=True).clamp(min=1)


def _moments(counts: Tensor) -> Tensor:
    """Mean bin and logarithm of the spread about it."""
    shares, bins = _shares(counts), torch.linspace(0, 1, counts.shape[-1])
    mean = (shares * bins).sum(dim=-1)
    spread = (shares * (bins - mean[..., None]) ** 2).sum(dim=-1).sqrt()
    return torch.stack([mean, torch.log(spread + 1 / counts.shape[-1])], dim=-1)


FORMS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "shares": _shares,
    "moments": _moments,
}
"""What is said of histograms (..., bins). Their roots (Hellinger), which were tried as well, were
never the choice of any training countries."""


@final
class Histograms(Encoder):
    """Histograms of some bands in one of `FORMS`, side by side."""

    name = "histograms"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        form: str,
        bands: Sequence[int],
    ) -> None:
        super().__init__(layers, statistics)
        self.form, self.bands = form, tuple(bands)

    @property
    def radius(self) -> int:
        return 0

    @property
    def channels(self) -> int:
        return len(self.layers[0].bands)

    def config(self) -> dict[str, Any]:
        return {"form": self.form, "bands": list(self.bands)}

    def forward(self, batch: Batch) -> Features:
        (spec,) = self.layers
        pixels = batch.layers[spec.key].pixels[:, 0]
        counts = pixels[:, list(self.bands), 0].float()
        vector = FORMS[self.form](counts).flatten(1)
        return Features(pixels, seen_in(self.layers, batch), vector=vector)


@cache
def clusters(folder: Path) -> Samples:
    """All clusters, in memory."""
    return Held(open_dataset("lsms-poverty", folder))


def r2_of(way: str, seed: int, folder: Path, share: float = DRAWN) -> float:
    """Coefficient of determination over the clusters of all countries, each predicted by a model of
    the others."""
    samples = clusters(folder)
    rng, said = np.random.default_rng(seed), np.full(len(samples), np.nan)
    for fold in leave_group_out(samples.groups):
        train = Subset(samples, _drawn(samples.groups, fold.train, share, rng))
        said[fold.test] = WAYS[way](train, Subset(samples, fold.test.tolist()), seed)
    return float(r2_score(_table(samples)[1], said))


def _drawn(
    groups: Sequence[str], train: NDArray[np.intp], share: float, rng: np.random.Generator
) -> list[int]:
    """A share of the training clusters of each country."""
    names = np.asarray(groups)[train]
    kept: list[int] = []
    for name in np.unique(names):
        own = train[names == name]
        kept += rng.permutation(own)[: round(share * len(own))].tolist()
    return sorted(kept)


def ours(train: Samples, test: Samples, seed: int) -> Numbers:
    """The ridge whose error on countries left out of the training ones is least."""
    layers, statistics = tuple(train.specs.values()), statistics_of(train)
    count = len(layers[0].bands)
    bands: list[tuple[int, ...]] = [tuple(range(count)), *((band,) for band in range(count))]
    found = [
        _fitted(Histograms(layers, statistics, form, some), Ridge(random_features=0), train, seed)
        for form, some in product(FORMS, bands)
    ]
    return _said(min(found, key=lambda model: model.record["solution"]["held_out_error"]), test)


def forest(train: Samples, test: Samples, seed: int) -> Numbers:
    rows, cols = train[0].shape
    encoder = FlatChip(tuple(train.specs.values()), statistics_of(train), rows, cols)
    return _said(_fitted(encoder, Forest(TREES), train, seed), test)


def perceptron(train: Samples, test: Samples, seed: int) -> Numbers:
    network = MLPRegressor(
        hidden_layer_sizes=(64,), early_stopping=True, random_state=seed, max_iter=100
    )
    return _by_logarithms(network, train, test)


def plain_ridge(train: Samples, test: Samples, seed: int) -> Numbers:
    search = GridSearchCV(
        PlainRidge(), {"alpha": PENALTIES}, cv=LeaveOneGroupOut(), scoring="neg_mean_squared_error"
    )
    return _by_logarithms(search, train, test, groups=train.groups)


def _fitted(encoder: Encoder, way: Ridge | Forest, train: Samples, seed: int) -> Model:
    task = SceneValueTask("1", "wealth", criterion=Squared())
    return way.fit(encoder.eval(), train, task, seed)


def _said(model: Model, test: Samples) -> Numbers:
    answer = model.answer(collate(list(chips_of(test))))
    return np.asarray(answer[:, 0], np.float64)


def _by_logarithms(last: Any, train: Samples, test: Samples, **fitting: Any) -> Numbers:
    """What a regression of standardised logarithms of counts says."""
    table, values = _table(train)
    scaler = StandardScaler().fit(np.log1p(table))
    last.fit(scaler.transform(np.log1p(table)), values, **fitting)
    return np.asarray(last.predict(scaler.transform(np.log1p(_table(test)[0]))), np.float64)


def _table(samples: Samples) -> tuple[Numbers, Numbers]:
    """Counts side by side (N, bands x bins) and values (N,)."""
    counts, values = [], []
    for chip in chips_of(samples):
        (layer,) = chip.layers.values()
        assert isinstance(chip.target, SceneValue)
        counts.append(layer.pixels.astype(np.float64).ravel())
        values.append(chip.target.value)
    return np.stack(counts), np.array(values)


WAYS: Mapping[str, Callable[[Samples, Samples, int], Numbers]] = {
    "ours": ours,
    "forest": forest,
    "unet": perceptron,
    "ridge": plain_ridge,
}
"""Training and test samples and a seed to what is said of the test samples (N,)."""
