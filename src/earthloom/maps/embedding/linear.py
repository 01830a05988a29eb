"""Linear maps from a field: a head on its vectors, fitted to few labels, mapped as any model.

The field is a layer of `D` bands, and the encoder passes them on, so that the fitting, the map
engine and the model's file are those of all other models.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.features import rasterize

from earthloom.encoders import Statistics
from earthloom.encoders.raw import Raw
from earthloom.errors import ContractError, LabelError
from earthloom.fit.model import Model, save_model
from earthloom.fit.shallow.base import Shallow
from earthloom.fit.shallow.linear import Linear
from earthloom.fit.shallow.ridge import Ridge
from earthloom.grid import Area, crs_wkt, gsd_metres
from earthloom.maps import ITEM, MAP
from earthloom.maps.clip import clip_of
from earthloom.maps.cog import write_class_names
from earthloom.maps.embedding.field import MADE_OF, Field, open_field, own_folder
from earthloom.maps.item import write_item
from earthloom.maps.make import WORK, MapSettings, do_work
from earthloom.maps.outputs import FEATURE_NODATA, FEATURE_SCALE, outputs_of
from earthloom.maps.parts import Finish
from earthloom.maps.predict import Pixels
from earthloom.maps.sources import Asked, SavedModel, reach_of
from earthloom.maps.statistics import statistics_of
from earthloom.maps.style import write_styles, write_value_style
from earthloom.maps.tiling import layout_of, tiling_for
from earthloom.maps.work import MapWork
from earthloom.progress import Tick
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d, Window
from earthloom.sample.target import PixelValues
from earthloom.stages import file_digest
from earthloom.tasks.base import Task
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.planes import ClassesOfPixels
from earthloom.workers import Workers

if TYPE_CHECKING:
    import geopandas as gpd

_CHIP = 64
"""Pixels, both ways, of the pieces of a field that labels are gathered from and held out by."""
_SETTINGS = MapSettings(window=256, overlap=0.0, part=1024)


def fit_linear(
    field: Field,
    labels: gpd.GeoDataFrame,
    task: Task[Any],
    shallow: Shallow | None = None,
    seed: int = 0,
) -> Model:
    """A model of the field's vectors and of points or polygons (any CRS) with an answer each.

    For a task of classes the column `code` holds the answers, for one of values `value`. `shallow`
    is by default logistic regression for classes, and for values ridge regression without random
    features. LabelError for labels without the column, or none on the field.
    """
    if shallow is None:
        by_class = isinstance(task, ClassesOfPixels)
        shallow = Linear() if by_class else Ridge(random_features=0)
    unit = task.unit if isinstance(task, PixelValueTask) else None
    samples = FieldSamples(field, labels, unit)
    spec = layer_of(field)
    plain = {spec.key: Statistics((0.0,) * field.dimensions, (1.0,) * field.dimensions)}
    model = shallow.fit(Raw((spec,), plain).eval(), samples, task, seed)
    return replace(model, record=model.record | {MADE_OF: field.made_of})


def write_linear(
    field: Field,
    model: Model,
    folder: Path,
    tick: Tick,
    settings: MapSettings = _SETTINGS,
    workers: Workers | None = None,
) -> None:
    """Writes the map of a model of `fit_linear`, with the files that any model's map has.

    The field may be another one than the model was fitted to. ContractError for one of another
    encoder or projection.
    """
    known = model.record.get(MADE_OF)
    if known != field.made_of:
        raise ContractError(
            f"the model was fitted to a field of encoder and projection {known}; field "
            f"{field.item_id} is of {field.made_of}"
        )
    folder = own_folder(folder)
    work = folder / WORK
    save_model(model, work / "model")
    outputs = outputs_of(model.task, model.threshold)
    asked: Asked = "probabilities" if isinstance(model.task, ClassesOfPixels) else "values"
    tiling = tiling_for(reach_of(model), settings.window, settings.overlap, settings.exact)
    area = Area(field.item_id, field.box, None)
    map_work = MapWork(
        model=SavedModel(work / "model", asked, settings.plan),
        pixels=FieldSource(field.path.parent.absolute()),
        layout=layout_of(field.shape, tiling, settings.part),
        finish=Finish(tuple(outputs), clip_of(None, field.box)),
        folder=work / f"linear.{file_digest(work / 'model')[:16]}",
        batch=settings.plan.batch,
    )
    do_work(map_work, area, folder, tick, workers)
    _write_legend(folder, model.task)
    provenance = {MADE_OF: field.made_of, "field": field.item_id}
    name = f"{field.item_id}-linear"
    write_item(
        folder / ITEM, name, field.box, field.outline, field.dates, model.task, provenance, []
    )
    shutil.rmtree(work)


def layer_of(field: Field) -> LayerSpec:
    """What a field is as a layer of chips: its vectors' numbers, from -1 to 1."""
    bands = tuple(f"e{n:02d}" for n in range(field.dimensions))
    gsd = round(gsd_metres(field.box), 3)
    return LayerSpec("embedding", gsd, bands, "1", ("1",), (None,) * len(bands))


@final
@dataclass(frozen=True)
class FieldSource:
    """A field's folder; a `PixelSource`."""

    folder: Path

    def open(self) -> Pixels:
        """See `PixelSource`."""
        return FieldPixels(open_field(self.folder))


@final
@dataclass(frozen=True)
class FieldPixels:
    """A field as what is predicted from; a `Pixels`."""

    field: Field

    @property
    def shape(self) -> Shape2d:
        """Of the field."""
        return self.field.shape

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        """The one layer."""
        spec = layer_of(self.field)
        return {spec.key: spec}

    def window(self, window: Window) -> dict[str, Layer]:
        """See `Pixels`."""
        stored = self.field.read(window)
        valid = stored[0] != FEATURE_NODATA
        pixels = np.where(valid, stored * np.float32(FEATURE_SCALE), np.float32(np.nan))
        days = np.zeros(1, np.int32)
        return {key: Layer(s, pixels[None], valid[None], days) for key, s in self.specs.items()}


@final
class FieldSamples:
    """The pieces of a field in which labels lie, as chips; a `Samples`.

    A piece is a group: pixels of one are not held out from each other.
    """

    def __init__(self, field: Field, labels: gpd.GeoDataFrame, unit: str | None) -> None:
        """`unit` is that of the numbers in the column `value`; None for class codes in `code`."""
        column = "code" if unit is None else "value"
        if column not in labels.columns:
            raise LabelError(
                f"the labels have no column '{column}'; theirs are: {', '.join(labels.columns)}"
            )
        if labels.crs is None:
            raise LabelError("the labels have no CRS; save them with one, such as EPSG:4326")
        moved = labels.to_crs(crs_wkt(field.box))
        self._pixels, self._unit = FieldPixels(field), unit
        self._shapes = list(moved.geometry)
        self._answers = moved[column].to_numpy(np.float64)
        self._windows = self._labelled()
        if not self._windows:
            raise LabelError(f"none of the {len(labels)} labels lies on field {field.item_id}")

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        """The one layer."""
        return self._pixels.specs

    @property
    def groups(self) -> Sequence[str]:
        """The name of each piece."""
        return [_name(window) for window, _ in self._windows]

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Chip:
        window, numbers = self._windows[index]
        name, layers = _name(window), self._pixels.window(window)
        burnt = self._burnt(window, numbers)
        if self._unit is None:
            codes = np.nan_to_num(burnt).astype(np.uint8)
            return Chip(name, window.shape, layers, label=codes, group=name)
        target = PixelValues(burnt, self._unit)
        return Chip(name, window.shape, layers, group=name, target=target)

    def _burnt(self, window: Window, numbers: list[int]) -> NDArray[np.float32]:
        """(H, W) the answers; NaN where there is none."""
        affine = self._pixels.field.box.affine
        burnt: NDArray[np.float32] = rasterize(
            [(self._shapes[n], self._answers[n]) for n in numbers],
            out_shape=tuple(window.shape),
            fill=np.nan,
            transform=affine * affine.translation(window.col, window.row),
            dtype="float32",
        )
        return burnt

    def _labelled(self) -> list[tuple[Window, list[int]]]:
        """The pieces in which labels lie, row by row, with the numbers of these labels."""
        shape, to_pixels = self._pixels.shape, ~self._pixels.field.box.affine
        found: dict[tuple[int, int], list[int]] = {}
        for number, (each, answer) in enumerate(zip(self._shapes, self._answers, strict=True)):
            if each is None or each.is_empty or np.isnan(answer):
                continue
            west, south, east, north = each.bounds
            corners = [to_pixels * (x, y) for x in (west, east) for y in (south, north)]
            (left, top), (right, bottom) = np.min(corners, axis=0), np.max(corners, axis=0)
            for row in _starts(top, bottom, shape.rows):
                for col in _starts(left, right, shape.cols):
                    found.setdefault((row, col), []).append(number)
        return [(_piece(row, col, shape), found[row, col]) for row, col in sorted(found)]


def _starts(first: float, last: float, length: int) -> range:
    """Where the pieces start that a stretch of an axis meets."""
    begin, end = max(math.floor(first), 0), min(math.floor(last), length - 1)
    return range(begin // _CHIP * _CHIP, end + 1, _CHIP)


def _piece(row: int, col: int, shape: Shape2d) -> Window:
    return Window(row, col, Shape2d(min(_CHIP, shape.rows - row), min(_CHIP, shape.cols - col)))


def _name(window: Window) -> str:
    return f"{window.row}_{window.col}"


def _write_legend(folder: Path, task: Task[Any]) -> None:
    if isinstance(task, ClassesOfPixels):
        write_class_names(folder / MAP, task)
        write_styles(folder, task)
        return
    for output in outputs_of(task):
        with rasterio.open(folder / output.file) as file:
            statistics = statistics_of(file, 1)
        write_value_style(folder / output.file, statistics, output.unit or "")
