"""Readers of arrays that hold many samples in one file."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earthloom.datasets.model import Entry
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.target import SceneValue, Target

_NEAR = 0.01
"""Degrees between a sample and the survey cluster that it is of, at most."""


@dataclass(frozen=True)
class Histograms:
    """Histograms of bands as images of one row: counts of pixels by band and bin; a `Reader`."""

    entry: Entry
    counts: NDArray[np.int64]
    """(N, C, bins)."""
    values: NDArray[np.float32]
    """(N,)."""
    days: NDArray[np.int32]
    """(N,) the first of the year, since 1970-01-01."""
    groups: tuple[str, ...]

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        spec = self.entry.layers[0].spec
        return {spec.key: spec}

    def __len__(self) -> int:
        return len(self.values)

    def chip(self, index: int) -> Chip:
        spec = self.entry.layers[0].spec
        pixels = self.counts[index].astype(np.float32)[None, :, None, :]
        shape = Shape2d(1, pixels.shape[-1])
        valid = np.ones((1, *shape), np.bool_)
        layer = Layer(spec, pixels, valid, self.days[index : index + 1])
        return Chip(f"{index:06d}", shape, {spec.key: layer}, group=self.groups[index])

    def target(self, index: int) -> Target | None:
        return SceneValue(float(self.values[index]), self.entry.unit)


def read_histograms(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """Survey clusters with band histograms: `lsms_image_hists.npz`, and the countries of
    `lsms_labels_index_agg_geolocated.csv` as groups. Clusters of no country are counted."""
    file = folder / "lsms_image_hists.npz"
    try:
        with np.load(file, allow_pickle=False) as archive:
            counts, labels = archive["image_hists"], archive["labels"]
            places, years = archive["locs"], archive["years"]
        survey = pd.read_csv(folder / "lsms_labels_index_agg_geolocated.csv")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{entry.name} in {folder} cannot be read: {error}") from error
    countries = _countries(places, survey)
    known = np.array([bool(country) for country in countries])
    days = (years - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int32)
    reader = Histograms(
        entry=entry,
        counts=counts[known],
        values=labels[known].astype(np.float32),
        days=days[known],
        groups=tuple(country for country in countries if country),
    )
    report = ReadReport(len(labels), {"of no known country": int((~known).sum())})
    if not len(reader):
        raise DataError(f"{entry.name} in {folder} has no sample: {report.sentence()}")
    return LabelledSamples(entry.name, entry.task, (), reader, report)


def _countries(places: NDArray[np.floating], survey: pd.DataFrame) -> Sequence[str]:
    """The country of the nearest cluster (lat, lon); empty where none is near."""
    from scipy.spatial import cKDTree

    tree = cKDTree(survey[["lat", "lon"]].to_numpy(np.float64))
    distance, nearest = tree.query(places)
    names = survey["country"].astype(str).to_numpy()[nearest]
    return [name if far <= _NEAR else "" for name, far in zip(names, distance, strict=True)]
