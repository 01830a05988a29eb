"""Readers of rasters that lie as no common layout has them."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from earthloom.datasets.arrays import label_of, layer_of
from earthloom.datasets.imagery import opened
from earthloom.datasets.model import Entry, EntryLayer
from earthloom.datasets.own.files import day_of, json_of, text_of
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample import Chip, Layer, LayerSpec, Place, Shape2d
from earthloom.sample.target import SceneClasses, Target


@dataclass(frozen=True)
class Scene:
    """The files of one sample."""

    id: str
    group: str
    dates: tuple[tuple[tuple[Path, ...], ...], ...]
    """For each layer, for each date, one file with all bands, or a file for each band."""
    days: tuple[tuple[int, ...], ...]
    """For each layer, days since 1970-01-01 of the dates; empty where they are not known."""
    grid: Path
    """The file whose grid is the base grid."""
    labels: tuple[Path, ...] = ()
    """The files of class codes."""
    answer: Target | None = None


@dataclass(frozen=True)
class RasterItems:
    """Samples of raster files; a `Reader`. Files on another grid are brought onto that of their
    layer by bilinear interpolation."""

    entry: Entry
    scenes: tuple[Scene, ...]
    label: Callable[[Scene], NDArray[np.integer]] | None
    """Values (H, W) of the labels as published."""

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {layer.spec.key: layer.spec for layer in self.entry.layers}

    @property
    def groups(self) -> Sequence[str]:
        return [scene.group for scene in self.scenes]

    def __len__(self) -> int:
        return len(self.scenes)

    def chip(self, index: int) -> Chip:
        scene = self.scenes[index]
        place = _place(scene.grid)
        layers = [
            _layer(each, files, days, place)
            for each, files, days in zip(self.entry.layers, scene.dates, scene.days, strict=True)
        ]
        label = None
        if self.label is not None:
            label = label_of(self.entry, self.label(scene), place.shape, scene.id)
        by_key = {layer.spec.key: layer for layer in layers}
        known = place if place.crs else None
        return Chip(scene.id, place.shape, by_key, label, scene.group, known)

    def target(self, index: int) -> Target | None:
        return self.scenes[index].answer


def read_oscd_early(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """OSCD as first released: bands at 10, 20 and 60 m in `CITY/imgs_1` and `imgs_2`, and
    `CITY/cm/CITY-cm.tif` on the grid of the first date's B04. Cities without one are counted."""
    scenes, skipped = list[Scene](), Counter[str]()
    for city in sorted(path for path in folder.iterdir() if (path / "imgs_1").is_dir()):
        if not _oscd_label(city).is_file():
            skipped["without labels"] += 1
            continue
        dates = tuple(_bands(city / f"imgs_{at}", entry.layers[0]) for at in (1, 2))
        days = tuple(day_of(each) for each in re.findall(r"\d{8}", text_of(city / "dates.txt")))
        grid = dates[0][entry.layers[0].bands.index("B04")]
        label = (_oscd_label(city),)
        scenes.append(Scene(city.name, city.name, (dates,), (days,), grid, label))
    return raster_samples(entry, folder, scenes, skipped, only_label)


def read_sen1floods11(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """Hand-labelled chips: `S1/NAME_S1Hand.tif`, `S2/NAME_S2Hand.tif`, `Labels/NAME_LabelHand.tif`.

    Groups are the events, which the names begin with.
    """
    scenes, skipped = list[Scene](), Counter[str]()
    for label in sorted((folder / "Labels").glob("*_LabelHand.tif")):
        name = label.name.removesuffix("_LabelHand.tif")
        files = [folder / kind / f"{name}_{kind}Hand.tif" for kind in ("S1", "S2")]
        if not all(file.is_file() for file in files):
            skipped["without an image"] += 1
            continue
        dates = tuple(((file,),) for file in files)
        scenes.append(Scene(name, name.partition("_")[0], dates, ((), ()), label, (label,)))
    return raster_samples(entry, folder, scenes, skipped, only_label)


def read_bigearthnet(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """Sentinel-2 patches as published: `PATCH/PATCH_B02.tif` and `PATCH_labels_metadata.json`."""
    scenes, skipped = list[Scene](), Counter[str]()
    codes = {name: code for code, name in enumerate(entry.classes, start=1)}
    for patch in sorted(path for path in folder.iterdir() if path.is_dir()):
        meta = patch / f"{patch.name}_labels_metadata.json"
        files = [[patch / f"{patch.name}_{band}.tif" for band in e.bands] for e in entry.layers]
        if not meta.is_file() or not all(file.is_file() for each in files for file in each):
            skipped["not whole"] += 1
            continue
        names = _json_labels(meta)
        unknown = [name for name in names if name not in codes]
        if unknown:
            raise LabelError(f"{meta} has the class '{unknown[0]}'; known: {choices(codes)}")
        answer = SceneClasses(tuple(sorted(codes[name] for name in set(names))))
        days = ((day_of(patch.name.split("_")[2][:8]),),) * len(files)
        dates = tuple((tuple(each),) for each in files)
        scenes.append(Scene(patch.name, patch.name, dates, days, files[0][0], answer=answer))
    return raster_samples(entry, folder, scenes, skipped, None)


def read_change_samples(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """Two ENVI images `2000TM` and `2003TM` of a place, with samples in `change.bmp` and
    `unchanged.bmp` (255); pixels in neither are not labelled."""
    scenes = []
    for place in sorted(folder.iterdir()):
        images = (place / "2000TM", place / "2003TM")
        if images[0].is_file():
            labels = (place / "unchanged.bmp", place / "change.bmp")
            dates = tuple((image,) for image in images)
            scenes.append(Scene(place.name, place.name, (dates,), ((),), images[0], labels))
    return raster_samples(entry, folder, scenes, Counter(), _two_labels)


def only_label(scene: Scene) -> NDArray[np.integer]:
    """The values of a scene's only file of labels."""
    return _values(scene.labels[0])


def _two_labels(scene: Scene) -> NDArray[np.integer]:
    """1 where the first file says so, 2 where the second does, 0 elsewhere."""
    first, second = (_values(file) > 0 for file in scene.labels)
    if (first & second).any():
        raise LabelError(f"pixels of {scene.id} are both changed and unchanged")
    return np.where(first, 1, np.where(second, 2, 0))


def raster_samples(
    entry: Entry,
    folder: Path,
    scenes: Sequence[Scene],
    skipped: Counter[str],
    label: Callable[[Scene], NDArray[np.integer]] | None,
) -> LabelledSamples:
    """The samples of a dataset's scenes; DataError if there are none."""
    report = ReadReport(len(scenes) + sum(skipped.values()), dict(skipped))
    if not scenes:
        raise DataError(f"there is no {entry.name} in {folder}: {report.sentence()}")
    reader = RasterItems(entry, tuple(scenes), label)
    return LabelledSamples(entry.name, entry.task, entry.classes, reader, report)


def _layer(
    each: EntryLayer, dates: Sequence[Sequence[Path]], days: Sequence[int], base: Place
) -> Layer:
    numbers = [np.concatenate([_onto(file, base, each) for file in files]) for files in dates]
    return layer_of(each, np.stack(numbers), days, str(dates[0][0]))


def _onto(file: Path, base: Place, each: EntryLayer) -> NDArray[np.float32]:
    """The bands of a file (C, H, W) on the layer's grid."""
    rows, cols = (side // each.factor for side in base.shape)
    with opened(file) as source:
        if source.shape == (rows, cols):
            return np.asarray(source.read(), np.float32)
        if source.crs is None or not base.crs or each.factor != 1:
            raise DataError(
                f"{file} has {source.shape[0]} x {source.shape[1]} pixels, but {rows} x {cols} "
                "are expected"
            )
        try:
            a, b, c, d, e, f = base.transform
            grid = source.transform.__class__(a, b, c, d, e, f)
            with WarpedVRT(
                source, crs=base.crs, transform=grid, width=cols, height=rows,
                resampling=Resampling.bilinear, nodata=each.nodata,
            ) as warped:  # fmt: skip
                return np.asarray(warped.read(), np.float32)
        except RasterioError as error:
            raise DataError(f"the image {file} cannot be read: {error}") from error


def _place(file: Path) -> Place:
    """A file's grid; no CRS is an empty one."""
    with opened(file) as source:
        a, b, c, d, e, f = tuple(source.transform)[:6]
        crs = source.crs.to_string() if source.crs else ""
        return Place(crs, (a, b, c, d, e, f), Shape2d(*source.shape))


def _values(file: Path) -> NDArray[np.integer]:
    with opened(file) as source:
        return np.asarray(source.read(1))


def _oscd_label(city: Path) -> Path:
    return city / "cm" / f"{city.name}-cm.tif"


def _bands(folder: Path, layer: EntryLayer) -> tuple[Path, ...]:
    """The file of each band, which its name ends with."""
    found = {path.stem.rpartition("_")[2]: path for path in folder.glob("*.tif")}
    missing = [band for band in layer.bands if band not in found]
    if missing:
        raise DataError(f"{folder} has no file of band {missing[0]}; it has: {choices(found)}")
    return tuple(found[band] for band in layer.bands)


def _json_labels(file: Path) -> list[str]:
    try:
        return [str(name) for name in json_of(file)["labels"]]
    except (KeyError, TypeError) as error:
        raise LabelError(f"{file} is no patch's metadata: {error!r}") from error
