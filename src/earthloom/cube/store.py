"""The cube on disk: a Zarr v3 group a layer, and windows of it as layers of chips."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from zarr.codecs import BloscCodec

from earthloom.cube.plan import LayerPlan, Step
from earthloom.errors import DataError
from earthloom.grid import crs_wkt
from earthloom.sample import Layer, LayerSpec, Shape2d, Window

CHUNK = 240
"""Base pixels, both ways, of a chunk; a divisor of the tile that is written at a time."""
_EPOCH = date(1970, 1, 1)
_DAYS = {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"}


@dataclass(frozen=True)
class Cube:
    """The layers of one area over time."""

    path: Path
    specs: Mapping[str, LayerSpec]
    shape: Shape2d
    """Of the base grid."""

    @cached_property
    def _arrays(self) -> Mapping[tuple[str, str], zarr.Array[Any]]:
        """By layer and name; kept open, since to look one up costs more than to read a window."""
        root = zarr.open_group(self.path, mode="r")
        return {
            (key, name): root[f"{key}/{name}"]  # type: ignore[misc]
            for key in self.specs
            for name in ("pixels", "valid", "count")
        }

    @cached_property
    def _days(self) -> Mapping[str, NDArray[np.int32]]:
        root = zarr.open_group(self.path, mode="r")
        return {key: np.asarray(root[f"{key}/time"][:], np.int32) for key in self.specs}  # type: ignore[index]

    def window(self, window: Window) -> dict[str, Layer]:
        """All layers of a window of the base grid, which may reach over the edges: what lies
        outside is not valid."""
        return {key: self._layer(key, window.coarser(s.factor)) for key, s in self.specs.items()}

    def counts(self, key: str) -> NDArray[np.uint8]:
        """Clear observations of a layer: (T, H, W) on the layer's own grid."""
        return np.asarray(self._arrays[key, "count"][:])

    def count_strips(self, key: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Clear observations of a layer strip by strip: the first row, and (T, rows, W)."""
        counts = self._arrays[key, "count"]
        for row in range(0, counts.shape[1], CHUNK):
            yield row, np.asarray(counts[:, row : row + CHUNK])

    def thumbnail(
        self, key: str, step: int, bands: Sequence[str], most: int
    ) -> NDArray[np.float32]:
        """Bands (C, h, w) of a time step, at most `most` pixels wide and high: means of blocks of
        what was seen, NaN where nothing was. Reads strip by strip."""
        pixels = self._arrays[key, "pixels"]
        rows, cols = pixels.shape[2:]
        block = -(-max(rows, cols) // most)
        chosen = [self.specs[key].bands.index(band) for band in bands]
        strips, high = [], block * max(CHUNK // block, 1)
        for row in range(0, rows, high):
            strip = np.asarray(pixels[step, :, row : row + high])[chosen]
            strips.append(_block_means(strip, block))
        return np.concatenate(strips, axis=1)

    def tree(self) -> xr.DataTree:
        """The cube as xarray sees it, lazily, with band names and wavelengths as coordinates."""
        tree = xr.open_datatree(self.path, engine="zarr", chunks={}, consolidated=False)
        named = {
            key: tree[key]
            .to_dataset()
            .assign_coords(
                band=list(spec.bands),
                step=("time", list(spec.dates)),
                wavelength_nm=("band", [w or np.nan for w in spec.wavelengths_nm]),
            )
            for key, spec in self.specs.items()
        }
        return xr.DataTree.from_dict({f"/{key}": dataset for key, dataset in named.items()})

    def _layer(self, key: str, window: Window) -> Layer:
        spec = self.specs[key]
        times, bands = len(spec.dates), len(spec.bands)
        pixels = np.full((times, bands, *window.shape), np.nan, np.float32)
        valid = np.zeros((times, *window.shape), np.bool_)
        rows, cols = self._arrays[key, "valid"].shape[1:]
        row_in, row_out = _overlap(window.row, window.shape.rows, rows)
        col_in, col_out = _overlap(window.col, window.shape.cols, cols)
        if row_in.stop > row_in.start and col_in.stop > col_in.start:
            pixels[..., row_out, col_out] = self._arrays[key, "pixels"][..., row_in, col_in]
            # A pixel is valid where all its bands are there, and NaN in all of them elsewhere.
            valid[:] = ~np.isnan(pixels[:, 0])
        return Layer(spec, pixels, valid, self._days[key])


class CubeWriter:
    """Writes a cube window by window."""

    def __init__(self, path: Path, plans: Sequence[LayerPlan]) -> None:
        self._root = zarr.open_group(path, mode="w", zarr_format=3)
        self._groups = {plan.spec.key: _create(self._root, plan) for plan in plans}
        shapes = {plan.spec.factor: plan.box.shape for plan in plans}
        finest = shapes[min(shapes)]
        self._root.attrs.update(
            {
                "Conventions": "CF-1.11",
                "layers": [plan.spec.to_json() for plan in plans],
                "finest_shape": [finest.y, finest.x],
            }
        )

    def write(
        self,
        plan: LayerPlan,
        step: int,
        window: Window,
        image: NDArray[np.float32],
        count: NDArray[np.uint8],
    ) -> None:
        """Puts the image (C, H, W) of a time step and its counts (H, W) where they belong."""
        group = self._groups[plan.spec.key]
        rows = slice(window.row, window.row + window.shape.rows)
        cols = slice(window.col, window.col + window.shape.cols)
        group["pixels"][step, :, rows, cols] = image  # type: ignore[index]
        group["valid"][step, rows, cols] = count > 0  # type: ignore[index]
        group["count"][step, rows, cols] = count  # type: ignore[index]

    def finish(self) -> None:
        """Says that the cube is whole."""
        self._root.attrs["complete"] = True


def open_cube(path: Path, shape: Shape2d) -> Cube:
    """Opens a cube whose base grid has the given shape; DataError if it is not whole."""
    try:
        attributes = zarr.open_group(path, mode="r").attrs.asdict()
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not a cube; 'earthloom cube' makes one") from error
    if not attributes.get("complete"):
        raise DataError(f"the cube {path} is not whole; run 'earthloom cube' again")
    listed: Any = attributes["layers"]
    specs = [LayerSpec.from_json(spec) for spec in listed]
    return Cube(path, {spec.key: spec for spec in specs}, shape)


def _create(root: zarr.Group, plan: LayerPlan) -> zarr.Group:
    """The empty arrays of a layer, with CF metadata."""
    spec, box = plan.spec, plan.box
    group = root.create_group(spec.key)
    rows, cols, times = box.shape.y, box.shape.x, len(plan.steps)
    chunk = (min(CHUNK // spec.factor, rows), min(CHUNK // spec.factor, cols))
    compressor = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")
    bands = len(spec.bands)
    arrays: list[tuple[str, tuple[int, ...], tuple[int, ...], str, Any, tuple[str, ...]]] = [
        ("pixels", (times, bands, rows, cols), (1, bands, *chunk), "float32", np.nan, _PIXELS),
        ("valid", (times, rows, cols), (1, *chunk), "bool", False, _IMAGE),
        ("count", (times, rows, cols), (1, *chunk), "uint8", 0, _IMAGE),
    ]
    for name, shape, chunks, dtype, fill, dimensions in arrays:
        group.create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype=dtype,
            fill_value=fill,
            dimension_names=dimensions,
            compressors=compressor,
            attributes={"grid_mapping": "spatial_ref"},
        )
    group["pixels"].attrs["units"] = spec.unit
    _coordinates(group, box, plan.steps)
    return group


_PIXELS = ("time", "band", "y", "x")
_IMAGE = ("time", "y", "x")


def _coordinates(group: zarr.Group, box: GeoBox, steps: Sequence[Step]) -> None:
    a, b, c, d, e, f = tuple(box.affine)[:6]
    x = c + a * (np.arange(box.shape.x) + 0.5)
    y = f + e * (np.arange(box.shape.y) + 0.5)
    bounds = np.array([[_days(step.start), _days(step.end) + 1] for step in steps], np.int32)
    middle = ((bounds[:, 0] + bounds[:, 1] - 1) // 2).astype(np.int32)
    values: list[tuple[str, NDArray[Any], tuple[str, ...], dict[str, Any]]] = [
        ("x", x, ("x",), {"axis": "X"}),
        ("y", y, ("y",), {"axis": "Y"}),
        ("time", middle, ("time",), _DAYS | {"bounds": "time_bounds"}),
        ("time_bounds", bounds, ("time", "nv"), _DAYS),
    ]
    for name, array, dimensions, attributes in values:
        group.create_array(name, data=array, dimension_names=dimensions, attributes=attributes)
    transform = " ".join(repr(float(v)) for v in (c, a, b, f, d, e))
    group.create_array(
        "spatial_ref",
        data=np.array(0, np.int32),
        dimension_names=(),
        attributes={"crs_wkt": crs_wkt(box), "GeoTransform": transform},
    )


def _days(day: date) -> int:
    return (day - _EPOCH).days


def _block_means(image: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    """(C, H, W) to (C, h, w): means over blocks of pixels, NaN where a block has none."""
    bands, rows, cols = image.shape
    high, wide = -(-rows // block), -(-cols // block)
    padded = np.full((bands, high * block, wide * block), np.nan, np.float32)
    padded[:, :rows, :cols] = image
    blocks = padded.reshape(bands, high, block, wide, block)
    seen = (~np.isnan(blocks)).sum(axis=(2, 4))
    sums: NDArray[np.float32] = np.nansum(blocks, axis=(2, 4), dtype=np.float32)
    return np.where(seen > 0, sums / np.maximum(seen, 1), np.float32(np.nan))


def _overlap(start: int, length: int, limit: int) -> tuple[slice, slice]:
    """Where a stretch lies in an axis of `limit` pixels, and where that lies in the stretch."""
    first, last = max(start, 0), min(start + length, limit)
    return slice(first, last), slice(first - start, last - start)
