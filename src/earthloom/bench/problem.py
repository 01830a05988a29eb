"""A dataset made ready: samples, truth, regions, folds and whether they leak."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyproj
from numpy.typing import NDArray

from earthloom.bench.leak import Leak, answer_digest, look_for_leaks, pixel_digest
from earthloom.bench.pieces import (
    Held,
    Joined,
    WithMoments,
    cut_into_pieces,
    draw_evenly,
)
from earthloom.bench.settings import Bench, DatasetChoice, LeaveGroupOut, PublishedSplit
from earthloom.bench.truth import Truth, read_truth
from earthloom.chips.folds import Fold, deal_folds, leave_group_out
from earthloom.chips.series import SeriesSamples
from earthloom.datasets import Capabilities, LabelledSamples, load_entry, open_dataset, read_layout
from earthloom.datasets.layouts.series import SeriesItems
from earthloom.errors import DataError
from earthloom.sample import LayerSpec, Samples, Subset
from earthloom.stages import digest_of

FOLDS, REGIONS = "folds", "regions"
"""The divisions: the dataset's own, and whole regions left out."""

_REGIONS = 5
"""Into how many regions places are parted."""


@dataclass(frozen=True)
class Problem:
    """A dataset, ready to be fitted on and tested on."""

    choice: DatasetChoice
    task: str
    """As the registry calls it."""
    title: str
    citation: str
    classes: tuple[str, ...]
    unit: str
    samples: Samples
    truth: Truth
    capabilities: Capabilities
    published: Fold | None
    """Numbers of the samples of the published split; None where folds are dealt."""
    regions: NDArray[np.str_] | None
    """(N,) the region of each sample; None where places are not known, or one only is."""
    digest: str
    """Of the settings, and of all samples' pixels and answers."""
    pixel_digests: tuple[bytes, ...]
    """(N,) of each sample's pixels."""

    @property
    def name(self) -> str:
        return self.choice.name

    def divisions(self, transfer: bool) -> tuple[str, ...]:
        """What can be tested: `regions` only where it differs from the folds."""
        apart = transfer and self.regions is not None and not self.choice.regions
        return (FOLDS, REGIONS) if apart else (FOLDS,)

    def folds(self, division: str, seed: int) -> tuple[Fold, ...]:
        """The folds of a division; LabelError where there is but one group."""
        if division == REGIONS:
            assert self.regions is not None
            return leave_group_out(self.regions.tolist())
        if self.published is not None:
            return (self.published,)
        if isinstance(self.choice.split, LeaveGroupOut):
            return leave_group_out(self.samples.groups)
        assert not isinstance(self.choice.split, PublishedSplit)
        return deal_folds(self.samples.groups, self.choice.split.folds, seed)

    def leak(self, fold: Fold) -> Leak:
        """What training and test of a fold have in common."""
        return look_for_leaks(self.samples.groups, self.pixel_digests, fold, self.published is None)


def open_problem(bench: Bench, choice: DatasetChoice) -> Problem:
    """Opens a dataset as the bench file asks for it; errors as `open_dataset` and `read_layout`."""
    parts = _opened(bench, choice)
    first = next(iter(parts.values()))
    if any(part.classes != first.classes for part in parts.values()):
        raise DataError(
            f"{choice.name}: its splits differ in classes; name them all in 'options', 'classes'"
        )
    registered = None if choice.layout else load_entry(choice.name)
    joined: Samples = first if len(parts) == 1 else Joined(parts)
    published = _published(parts) if len(parts) > 1 else None
    if first.task == "change":
        joined = WithMoments(joined)
    if choice.size is not None:
        if published is not None:
            raise DataError(
                f"{choice.name}: a published split is of whole images; leave out 'size'"
            )
        joined = cut_into_pieces(Held(joined), choice.size)
    kept, published = _kept(joined, published, choice.most)
    samples: Samples = Held(Subset(joined, kept.tolist()))
    truth = read_truth(samples, len(first.classes))
    if not truth.labels.any():
        raise DataError(f"{choice.name} in {bench.folder_of(choice)} has no answer to learn from")
    digests = tuple(pixel_digest(samples[index]) for index in range(len(samples)))
    return Problem(
        choice=choice,
        task=first.task,
        title=registered.title if registered else choice.name,
        citation=registered.citation if registered else "",
        classes=first.classes,
        unit=registered.unit if registered else _unit(samples),
        samples=samples,
        truth=truth,
        capabilities=choice.capabilities
        or _capabilities(registered.capabilities if registered else None, samples),
        published=published,
        regions=None if published is not None else _regions(first, samples, kept, choice),
        digest=_digest(choice, samples, digests),
        pixel_digests=digests,
    )


def _opened(bench: Bench, choice: DatasetChoice) -> dict[str, LabelledSamples]:
    folder, split = bench.folder_of(choice), choice.split
    names = (split.train, split.test) if isinstance(split, PublishedSplit) else (None,)
    return {name or "all": _opened_part(choice, folder, name) for name in names}


def _opened_part(choice: DatasetChoice, folder: Path, split: str | None) -> LabelledSamples:
    """One of the dataset's own splits, or without a name all of it."""
    if choice.layout is None:
        named = () if split is None else (split,)
        return open_dataset(choice.name, folder, *named)
    options = dict(choice.options) | ({} if split is None else {"split": split})
    return read_layout(
        choice.layout, folder, choice.sensor, choice.bands, choice.gsd, True, **options
    )


def _published(parts: Mapping[str, LabelledSamples]) -> Fold:
    train, test = (len(part) for part in parts.values())
    return Fold("published", np.arange(train), np.arange(train, train + test))


def _kept(
    samples: Samples, published: Fold | None, most: int | None
) -> tuple[NDArray[np.intp], Fold | None]:
    """Numbers of the samples that are kept, at most so many, and the split of those."""
    if most is None or len(samples) <= most:
        return np.arange(len(samples)), published
    if published is None:
        return draw_evenly(samples.groups, most), None
    sides = np.isin(np.arange(len(samples)), published.test)
    kept = draw_evenly(np.where(sides, "test", "train").tolist(), most)
    tested = sides[kept]
    return kept, Fold("published", np.flatnonzero(~tested), np.flatnonzero(tested))


def _capabilities(known: Capabilities | None, samples: Samples) -> Capabilities:
    """The registry's, or what the layers say."""
    if known is not None:
        return known
    specs = list(samples.specs.values())
    finest = min(spec.gsd for spec in specs)
    limits = ((1.0, "under 1 m"), (10.0, "1 to 10 m"), (30.01, "10 to 30 m"))
    resolution = next((name for limit, name in limits if finest < limit), "over 30 m")
    dates = max(len(spec.dates) for spec in specs)
    time = {1: "single date", 2: "two dates"}.get(dates, "series")
    sensors = "several" if len({spec.sensor for spec in specs}) > 1 else "one"
    return Capabilities(
        resolution=resolution,  # type: ignore[arg-type]
        bands=bands_of(specs),  # type: ignore[arg-type]
        temporality=time,  # type: ignore[arg-type]
        sensors=sensors,  # type: ignore[arg-type]
    )


def bands_of(specs: Sequence[LayerSpec]) -> str:
    """The capability of bands, by the wavelengths of layers."""
    waves = [[wave for wave in spec.wavelengths_nm if wave is not None] for spec in specs]
    optical = [wave for each in waves for wave in each]
    if not optical:
        return "other"
    # A layer with some wavelengths is optical; its other bands are indices.
    if not all(waves):
        return "optical+radar"
    if len(optical) > 30:
        return "hyperspectral"
    return {3: "rgb", 4: "rgb+nir"}.get(len(optical), "multispectral")


def _unit(samples: Samples) -> str:
    target = samples[0].target
    return str(getattr(target, "unit", ""))


def _regions(
    first: LabelledSamples, samples: Samples, kept: NDArray[np.intp], choice: DatasetChoice
) -> NDArray[np.str_] | None:
    """Groups parted by their places into regions of about equal size; a group is never parted."""
    groups = np.array(list(samples.groups), dtype=np.str_)
    if choice.regions:
        return groups
    series = _series_places(first, choice)
    places = _chip_places(samples) if series is None else series[kept]
    if places is None or len(set(groups.tolist())) < 2:
        return None
    names, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    centres = np.stack([np.bincount(member, places[:, at]) / sizes for at in (0, 1)], axis=-1)
    numbers = part_places(centres, sizes, min(_REGIONS, len(names)))
    return np.array([f"region {number + 1}" for number in numbers[member]])


def part_places(
    centres: NDArray[np.float64], sizes: NDArray[np.integer], parts: int
) -> NDArray[np.int64]:
    """(G,) numbers of compact parts of about equal size: cut again and again across the longer side
    (a k-d tree; Bentley 1975)."""
    numbers = np.zeros(len(centres), np.int64)
    if parts < 2 or len(centres) < 2:
        return numbers
    axis = int(np.argmax(np.ptp(centres, axis=0)))
    order = np.argsort(centres[:, axis], kind="stable")
    left_parts = parts // 2
    share = np.cumsum(sizes[order]) / sizes.sum()
    at = int(np.clip(np.searchsorted(share, left_parts / parts), 1, len(order) - 1))
    at = int(np.clip(at, left_parts, len(order) - (parts - left_parts)))
    left, right = order[:at], order[at:]
    numbers[left] = part_places(centres[left], sizes[left], left_parts)
    numbers[right] = left_parts + part_places(centres[right], sizes[right], parts - left_parts)
    return numbers


def _series_places(first: LabelledSamples, choice: DatasetChoice) -> NDArray[np.float64] | None:
    """(N, 2) longitude and latitude of a table of series."""
    if not isinstance(first.reader, SeriesItems) or choice.split.by == "published":
        return None
    series: SeriesSamples = first.reader.series
    return np.stack([series.lon, series.lat], axis=-1)


def _chip_places(samples: Samples) -> NDArray[np.float64] | None:
    """(N, 2) longitude and latitude of the chips' centres; None if one has no place."""
    found = []
    for index in range(len(samples)):
        place = samples[index].place
        if place is None or not place.crs:
            return None
        a, b, c, d, e, f = place.transform
        col, row = place.shape.cols / 2, place.shape.rows / 2
        to_degrees = pyproj.Transformer.from_crs(place.crs, "EPSG:4326", always_xy=True)
        found.append(to_degrees.transform(a * col + b * row + c, d * col + e * row + f))
    return np.array(found, np.float64)


def _digest(choice: DatasetChoice, samples: Samples, digests: Sequence[bytes]) -> str:
    """Of what decides a score: settings, groups, all pixels and all answers."""
    sums = hashlib.sha256(b"".join(digests))
    for index in range(len(samples)):
        sums.update(answer_digest(samples[index]))
    parts = {
        "choice": choice.model_dump(mode="json", exclude={"folder", "capabilities"}),
        "groups": list(samples.groups),
        "layers": [spec.to_json() for spec in samples.specs.values()],
        "sums": sums.hexdigest(),
    }
    return digest_of(parts)


def tags_of(problem: Problem) -> dict[str, str]:
    """What results are grouped by: resolution, bands, temporality, sensors, task."""
    return {**asdict(problem.capabilities), "task": problem.task}
