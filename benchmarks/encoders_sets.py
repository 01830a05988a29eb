"""The five real sets of `benchmarks/encoders.py` as pixels that are drawn once, and their features.

A set is a list of rows: pixels with an answer and a group that is held out together. Which pixels
they are is drawn once, each as likely as the other, so that scores on them estimate those of all
pixels. Features are computed once for each encoder and kept as float16.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import crops
import numpy as np
import torch
from encoders_probe import Coded, Truth
from numpy.typing import NDArray

from earthloom.bench.hidden import hide_half
from earthloom.bench.pieces import Held, Joined, cut_into_pieces, draw_evenly
from earthloom.bench.registry import encoders
from earthloom.datasets import open_dataset
from earthloom.encoders import Encoder, Features, Statistics
from earthloom.encoders.loom import Loom, load_loom
from earthloom.errors import ContractError
from earthloom.fit.statistics import statistics_of
from earthloom.sample import Chip, LayerSpec, Samples, Shape2d, Subset
from earthloom.sample.batch import Batch, collate

SERIES = 2500
"""Most series of a table, drawn evenly over its groups."""
PIECE, PIECES = 256, 108
"""Pixels of a piece of an image, both ways, and how many are drawn of Dubai."""
SHARE = {"oscd": 1 / 60, "dubai": 1 / 160}
"""Of the labelled pixels of images that are rows: some 50,000 and 44,000."""
_TOGETHER = 64
_TOGETHER_PIXELS = 65_536
"""Chips and pixels that are encoded at once, at most."""


@dataclass(frozen=True)
class OneDate:
    """Images of several dates, as seen on one of them; the chips keep their names."""

    samples: Samples
    date: int

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {key: replace(spec, dates=("1",)) for key, spec in self.samples.specs.items()}

    @property
    def groups(self) -> Sequence[str]:
        return self.samples.groups

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Chip:
        chip, at = self.samples[index], slice(self.date, self.date + 1)
        layers = {
            key: replace(
                layer,
                spec=self.specs[key],
                pixels=layer.pixels[at],
                valid=layer.valid[at],
                days=layer.days[at],
            )
            for key, layer in chip.layers.items()
        }
        return replace(chip, layers=layers)


@dataclass(frozen=True)
class Opened:
    """A set whose pixels can be read."""

    views: tuple[Samples, ...]
    """The same chips, on each date that an encoder sees alone."""
    classes: tuple[str, ...]
    share: float = 1.0
    """Of the labelled pixels that are rows."""

    @cached_property
    def specs(self) -> tuple[LayerSpec, ...]:
        return tuple(self.views[0].specs.values())

    @cached_property
    def unlabelled(self) -> Samples:
        """All chips of all views."""
        if len(self.views) == 1:
            return self.views[0]
        return Joined({str(number): view for number, view in enumerate(self.views, start=1)})

    @cached_property
    def statistics(self) -> Mapping[str, Statistics]:
        return statistics_of(self.unlabelled)

    @cached_property
    def pixels(self) -> list[NDArray[np.intp]]:
        """Flat positions of each chip's pixels that are rows."""
        random, found = np.random.default_rng(0), []
        for index in range(len(self.views[0])):
            labelled = np.flatnonzero(_label(self.views[0][index]))
            count = round(len(labelled) * self.share)
            found.append(np.sort(random.permutation(labelled)[:count]))
        return found

    def truth(self) -> Truth:
        """Of all rows."""
        answers, groups = [], []
        for index, at in enumerate(self.pixels):
            chip = self.views[0][index]
            answers.append(_label(chip)[at].astype(np.int64) - 1)
            groups += [chip.group] * len(at)
        return Truth(np.concatenate(answers), np.array(groups, np.str_), len(self.classes))


def _label(chip: Chip) -> NDArray[np.uint8]:
    label = chip.usable_label
    assert label is not None
    return label.ravel()


def series(name: str, data: Path) -> Opened:
    """MODIS series of single pixels, whole blocks of which are held out.

    Some classes were sampled in one year alone, whose composites begin some days earlier or later:
    of prodes the first date tells 78 % of the classes. So that none learns the year, all have the
    days of the first series.
    """
    read, task = crops.read(data / "timeseries_labelled", name)
    samples = replace(read, days=np.tile(read.days[0], (len(read), 1)))
    kept = draw_evenly(samples.groups, SERIES)
    return Opened((Subset(samples, kept.tolist()),), task.names)


def oscd(data: Path) -> Opened:
    """Pairs of Sentinel-2 images of cities, in pieces; an encoder sees each date alone."""
    cities = Held(open_dataset("oscd-early", data / "oscd"), most=250_000_000)
    pieces = cut_into_pieces(cities, PIECE)
    return Opened((OneDate(pieces, 0), OneDate(pieces, 1)), ("no change", "change"), SHARE["oscd"])


def dubai(data: Path) -> Opened:
    """Aerial images in pieces, some of them."""
    images = open_dataset("dubai", data / "dubai_seg")
    pieces = cut_into_pieces(Held(images, most=100_000_000), PIECE)
    kept = draw_evenly(pieces.groups, PIECES)
    return Opened((Subset(pieces, kept.tolist()),), images.classes, SHARE["dubai"])


@dataclass(frozen=True)
class ProbeSet:
    """How a set is opened and scored."""

    metric: str
    """Of `earthloom.bench.tally.ClassTally`."""
    folder: str
    folds: int
    """Groups are dealt to so many, by the seed."""
    open: Callable[[Path], Opened]


SETS: Mapping[str, ProbeSet] = {
    **{
        name: ProbeSet("macro_f1", "timeseries_labelled", 5, lambda data, n=name: series(n, data))
        for name in ("cerrado_11", "ieda", "prodes")
    },
    "oscd": ProbeSet("f1", "oscd", 3, oscd),
    "dubai": ProbeSet("macro_iou", "dubai_seg", 3, dubai),
}


@dataclass(frozen=True)
class Way:
    """An encoder in the race."""

    make: Callable[[Opened, Path, int], Encoder]
    """Of a set, the file of weights and a seed."""
    seeded: bool
    """Whether each seed has an encoder of its own."""


def _loom(opened: Opened, weights: Path, seed: int) -> Encoder:
    return load_loom(opened.specs, opened.statistics, weights).acquaint(opened.unlabelled)


def _untrained(opened: Opened, weights: Path, seed: int) -> Encoder:
    size = load_loom(opened.specs, opened.statistics, weights).size
    return untrained(opened.specs, opened.statistics, size, seed)


def untrained(
    specs: tuple[LayerSpec, ...], statistics: Mapping[str, Statistics], size: str, seed: int
) -> Loom:
    """The same network as it is before any training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Loom(specs, statistics, size).eval()


def _catalogued(name: str) -> Callable[[Opened, Path, int], Encoder]:
    def make(opened: Opened, weights: Path, seed: int) -> Encoder:
        return encoders()[name](opened.specs, opened.statistics, opened.unlabelled, seed)

    return make


OURS = "loom"
WAYS: Mapping[str, Way] = {
    OURS: Way(_loom, seeded=False),
    "untrained": Way(_untrained, seeded=True),
    "random-conv": Way(_catalogued("random-conv"), seeded=True),
    "raw": Way(_catalogued("raw"), seeded=False),
}


@dataclass(frozen=True)
class Tables:
    """Features and answers of one set, from a folder; what is missing is computed."""

    name: str
    data: Path
    folder: Path
    weights: Path

    @property
    def opened(self) -> Opened:
        return _opened(self.name, self.data)

    @cached_property
    def truth(self) -> Truth:
        """Of all rows."""
        file = self.folder / f"{self.name}-truth.npz"
        if not file.is_file():
            with _whole(file) as partial, partial.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **asdict(self.opened.truth()))
        with np.load(file, allow_pickle=False) as found:
            return Truth(found["answers"], found["groups"], int(found["classes"]))

    def coded(self, way: str, seed: int, half: bool = False) -> Coded:
        """Features by an encoder; with `half`, half of the bands and dates are hidden."""
        label = self.label(way, seed) + ("-half" if half else "")
        file = self.folder / f"{self.name}-{label}.npy"
        width = file.with_suffix(".txt")
        if not file.is_file():
            encoder = WAYS[way].make(self.opened, self.weights, seed)
            self.folder.mkdir(parents=True, exist_ok=True)
            width.write_text(str(encoder.channels))
            with _whole(file) as partial, partial.open("wb") as stream:
                np.save(stream, features_of(encoder, self.opened, half))
        return Coded(np.load(file, mmap_mode="r", allow_pickle=False), int(width.read_text()))

    def label(self, way: str, seed: int) -> str:
        """The encoder's name in files: of what is trained, with a digest of its weights."""
        if way == OURS:
            return f"{way}-{digest_of_weights(self.weights)}"
        return f"{way}-{seed}" if WAYS[way].seeded else way


def digest_of_weights(file: Path) -> str:
    """What tells one file of weights from another."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:10]


@lru_cache(maxsize=1)
def _opened(name: str, data: Path) -> Opened:
    return SETS[name].open(data)


@contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """A file that is there whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    yield partial
    partial.replace(file)


@torch.inference_mode()
def features_of(encoder: Encoder, opened: Opened, half: bool) -> NDArray[np.float16]:
    """(views, N, F + L) of all rows."""
    found = [
        np.concatenate(
            [
                _at(encoder, features, number, shape, opened.pixels[index])
                for numbers, features, shape in _encoded(encoder, view, half)
                for number, index in enumerate(numbers)
            ]
        )
        for view in opened.views
    ]
    values = np.stack(found)
    if not np.isfinite(values).all():
        raise ContractError(f"{encoder.name} gives numbers that float16 does not hold")
    return values


def _encoded(
    encoder: Encoder, view: Samples, half: bool
) -> Iterator[tuple[list[int], Features, Shape2d]]:
    """Chips, in order, some at a time."""
    rows, cols = view[0].shape
    together = max(1, min(_TOGETHER, _TOGETHER_PIXELS // (rows * cols)))
    for first in range(0, len(view), together):
        numbers = list(range(first, min(first + together, len(view))))
        batch: Batch = replace(collate([view[index] for index in numbers]), label=None)
        # The seed is the same for all: what is hidden of a chip follows from its name.
        shown = hide_half(batch, encoder, seed=0) if half else batch
        yield numbers, encoder(shown), Shape2d(rows, cols)


def _at(
    encoder: Encoder, features: Features, number: int, shape: Shape2d, at: NDArray[np.intp]
) -> NDArray[np.float16]:
    """(n, F + L) of the pixels of one chip; L is 0 where a chip is a single pixel."""
    rows, cols = (torch.from_numpy(each) for each in np.unravel_index(at, tuple(shape)))
    parts = [features.pixels[number][:, rows, cols]]
    around = zip(features.pyramid, encoder.pyramid, strict=True) if shape != (1, 1) else ()
    for image, level in around:
        parts.append(image[number][:, rows // level.stride, cols // level.stride])
    values: NDArray[np.float16] = torch.cat(parts).T.to(torch.float16).numpy()
    return values
