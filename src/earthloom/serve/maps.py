"""Tiles and pixels of one area's map, read from its COGs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from rasterio.warp import transform_bounds
from rio_tiler.errors import PointOutsideBounds, TileOutsideBounds
from rio_tiler.io import Reader
from rio_tiler.models import ImageData
from shapely.geometry import box, mapping

from earthloom.errors import DataError
from earthloom.maps import (
    CLASS_NODATA,
    ITEM,
    MAP,
    PROBABILITY,
    PROBABILITY_NODATA,
    PROBABILITY_SCALE,
)
from earthloom.project import LandClass, Project

CLASSES = "classes"
CONFIDENCE = "confidence"
TILE = 256
"""Pixels of a tile, both ways."""

Colours = Mapping[int, tuple[int, int, int, int]]
"""Red, green, blue and opacity of each value."""

RAMP: Colours = {
    step: (red, green, blue, 255)
    for step, (red, green, blue, _) in enumerate(
        colormaps["cividis"](np.arange(256), bytes=True).tolist()
    )
}
"""Colours of probabilities, from 0 to 255: all kinds of colour vision see them alike."""

_UNFINISHED = (".partial", ".old")
"""Endings of a stage's folder while it is being made or replaced."""


@dataclass(frozen=True)
class ServedMap:
    """One area's map and what its pixels mean."""

    name: str
    folder: Path
    """With `map.tif` and `probability.tif`."""
    classes: tuple[LandClass, ...]
    """In the order of the bands of `probability.tif`."""

    @property
    def layers(self) -> dict[str, str]:
        """Title of each layer that tiles can show."""
        titles = {CLASSES: "Classes", CONFIDENCE: "Confidence"}
        return titles | {f"class-{each.code}": f"Probability: {each.name}" for each in self.classes}

    @property
    def version(self) -> str:
        """Changes when the map is made anew, so that a browser asks for new tiles."""
        state = (self.folder / MAP).stat()
        return f"{state.st_mtime_ns:x}-{state.st_size:x}"

    @cached_property
    def outline(self) -> dict[str, Any]:
        """The area as a GeoJSON geometry in degrees."""
        item = self.folder / ITEM
        if item.exists():
            geometry: dict[str, Any] = json.loads(item.read_text(encoding="utf-8"))["geometry"]
            return geometry
        return dict(mapping(box(*self.bounds)))

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north in degrees."""
        with Reader(str(self.folder / MAP)) as reader:
            source = reader.dataset
            west, south, east, north = transform_bounds(source.crs, 4326, *source.bounds)
        return west, south, east, north

    @cached_property
    def zooms(self) -> tuple[int, int]:
        """The zoom levels between which tiles show more on each further one."""
        with Reader(str(self.folder / MAP)) as reader:
            return reader.minzoom, reader.maxzoom

    def tile(self, layer: str, zoom: int, x: int, y: int) -> bytes:
        """A PNG of a tile, transparent where the map says nothing; DataError for no such layer."""
        if layer not in self.layers:
            raise DataError(f"no layer '{layer}'; layers are: {', '.join(self.layers)}")
        try:
            if layer == CLASSES:
                return self._classes_tile(zoom, x, y)
            return self._probability_tile(layer, zoom, x, y)
        except TileOutsideBounds:
            return _empty_tile()

    def point(self, lon: float, lat: float) -> dict[str, Any]:
        """Class and probabilities of the pixel at a place; None where the map says nothing."""
        try:
            with Reader(str(self.folder / MAP)) as reader:
                code = int(reader.point(lon, lat, indexes=1).data[0])
            with Reader(str(self.folder / PROBABILITY)) as reader:
                stored = reader.point(lon, lat).data
        except PointOutsideBounds:
            code = CLASS_NODATA
        names = {each.code: each.name for each in self.classes}
        if code not in names:
            return {"code": None, "class": None, "probabilities": None}
        shares = [round(float(value) * PROBABILITY_SCALE, 3) for value in stored]
        probabilities = dict(zip(names.values(), shares))
        return {"code": code, "class": names[code], "probabilities": probabilities}

    def _classes_tile(self, zoom: int, x: int, y: int) -> bytes:
        colours = {each.code: (*each.rgb, 255) for each in self.classes}
        with Reader(str(self.folder / MAP)) as reader:
            image = reader.tile(
                x, y, zoom, tilesize=TILE, indexes=1, resampling_method="nearest",
                reproject_method="nearest",
            )  # fmt: skip
        return _png(image, colours)

    def _probability_tile(self, layer: str, zoom: int, x: int, y: int) -> bytes:
        """The highest probability of all classes, or that of one."""
        codes = [each.code for each in self.classes]
        bands = (
            list(range(1, len(codes) + 1))
            if layer == CONFIDENCE
            else [codes.index(int(layer.removeprefix("class-"))) + 1]
        )
        with Reader(str(self.folder / PROBABILITY)) as reader:
            image = reader.tile(
                x, y, zoom, tilesize=TILE, indexes=bands, resampling_method="nearest",
                reproject_method="nearest",
            )  # fmt: skip
        unseen = (image.data == PROBABILITY_NODATA).any(axis=0) | (image.mask == 0)
        spread = np.rint(image.data.max(axis=0) * (PROBABILITY_SCALE * 255)).clip(0, 255)
        return _png(_masked(spread.astype(np.uint8), unseen), RAMP)


def maps_of(project: Project) -> dict[str, ServedMap]:
    """The finished maps below a project's folder of results, by area."""
    found = sorted((project.out_folder / "map").glob(f"*/{MAP}"))
    served = [
        ServedMap(path.parent.name, path.parent, project.classes)
        for path in found
        if path.parent.suffix not in _UNFINISHED and (path.parent / PROBABILITY).exists()
    ]
    if not served:
        raise DataError(
            f"there is no map in {project.out_folder / 'map'} yet; run 'earthloom map' first"
        )
    return {each.name: each for each in served}


def _png(image: ImageData, colours: Colours) -> bytes:
    return image.render(img_format="PNG", colormap=dict(colours))


@cache
def _empty_tile() -> bytes:
    """A PNG of a tile that shows nothing."""
    nothing = np.zeros((TILE, TILE), np.uint8)
    return _png(_masked(nothing, nothing == 0), RAMP)


def _masked(values: NDArray[np.uint8], unseen: NDArray[np.bool_]) -> ImageData:
    """(H, W) values as an image of one band, transparent where nothing was seen."""
    return ImageData(np.ma.MaskedArray(values[None], mask=unseen[None]))
