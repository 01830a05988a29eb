"""The cube on disk: a Zarr v3 group a layer, and windows of it as layers of chips."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from affine import Affine
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from earthloom.cube.metadata import coordinates_of, geozarr
from earthloom.cube.plan import LayerPlan
from earthloom.errors import DataError
from earthloom.objects import Objects, is_object_url
from earthloom.sample import Layer, LayerSpec, Shape2d, Window

if TYPE_CHECKING:
    import xarray as xr

CHUNK = 256
"""Pixels of a layer, both ways, that a chunk has at most."""
_SLIVER = 31
"""Pixels up to which a chunk costs more to find than to read."""
STRIP = 512
"""Rows of a layer, at most, that are read at a time where a whole layer is looked at."""
_STRIP_NUMBERS = 2**27
"""Counts, at most, that a strip of all time steps holds."""


@dataclass(frozen=True)
class Cube:
    """The layers of one area over time."""

    path: Path
    specs: Mapping[str, LayerSpec]
    shape: Shape2d
    """Of the base grid."""
    address: str = ""
    """Of an object store, where the cube lies there and not on this machine."""

    @property
    def _place(self) -> Any:
        """Where zarr finds the cube."""
        return Objects(self.address).zarr() if self.address else self.path

    @cached_property
    def _arrays(self) -> Mapping[tuple[str, str], zarr.Array[Any]]:
        """By layer and name; kept open, since to look one up costs more than to read a window."""
        root = zarr.open_group(self._place, mode="r")
        return {
            (key, name): root[f"{key}/{name}"]  # type: ignore[misc]
            for key in self.specs
            for name in ("pixels", "valid", "count")
        }

    @cached_property
    def _days(self) -> Mapping[str, NDArray[np.int32]]:
        root = zarr.open_group(self._place, mode="r")
        return {key: np.asarray(root[f"{key}/time"][:], np.int32) for key in self.specs}  # type: ignore[index]

    def window(self, window: Window) -> dict[str, Layer]:
        """All layers of a window of the base grid, which may reach over the edges: what lies
        outside is not valid."""
        return {key: self._layer(key, window.coarser(s.factor)) for key, s in self.specs.items()}

    def observed(
        self, key: str, window: Window
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.int32]]:
        """All time steps of a window of a layer's own grid, which lies inside of it: pixels
        (T, C, H, W), counts (T, H, W), and the middle day of each step (T,)."""
        rows = slice(window.row, window.row + window.shape.rows)
        cols = slice(window.col, window.col + window.shape.cols)
        pixels = np.asarray(self._arrays[key, "pixels"][..., rows, cols])
        return pixels, np.asarray(self._arrays[key, "count"][:, rows, cols]), self._days[key]

    def counts(self, key: str) -> NDArray[np.uint8]:
        """Clear observations of a layer: (T, H, W) on the layer's own grid."""
        return np.asarray(self._arrays[key, "count"][:])

    def count_strips(self, key: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Clear observations of a layer strip by strip: the first row, and (T, rows, W)."""
        counts = self._arrays[key, "count"]
        times, rows, cols = counts.shape
        high = max(64, min(STRIP, _STRIP_NUMBERS // (times * cols)))
        for row in range(0, rows, high):
            yield row, np.asarray(counts[:, row : row + high])

    def layer_shape(self, key: str) -> tuple[int, int, int]:
        """Bands, rows and columns of a layer."""
        _, bands, rows, cols = self._arrays[key, "pixels"].shape
        return bands, rows, cols

    def strip(self, key: str, step: int, row: int) -> NDArray[np.float32]:
        """`STRIP` rows of a time step from a row on: (C, rows, W), NaN where not seen."""
        return np.asarray(self._arrays[key, "pixels"][step, :, row : row + STRIP])

    def georeference(self, key: str) -> tuple[str, Affine]:
        """The CRS of a layer, as WKT, and its affine from pixels to coordinates."""
        root = zarr.open_group(self._place, mode="r", path=key)
        crs: Any = root["spatial_ref"].attrs["crs_wkt"]
        transform: Any = root.attrs["spatial:transform"]
        return crs, Affine(*transform)

    def thumbnail(
        self, key: str, step: int, bands: Sequence[str], most: int
    ) -> NDArray[np.float32]:
        """Bands (C, h, w) of a time step, at most `most` pixels wide and high: means of blocks of
        what was seen, NaN where nothing was. Reads strip by strip."""
        pixels = self._arrays[key, "pixels"]
        rows, cols = pixels.shape[2:]
        block = -(-max(rows, cols) // most)
        chosen = [self.specs[key].bands.index(band) for band in bands]
        strips, high = [], block * max(STRIP // block, 1)
        for row in range(0, rows, high):
            strip = np.asarray(pixels[step, :, row : row + high])[chosen]
            strips.append(_block_means(strip, block))
        return np.concatenate(strips, axis=1)

    def tree(self) -> xr.DataTree:
        """The cube as xarray sees it, lazily, with band names and wavelengths as coordinates."""
        # It takes 70 MB with pandas, which a worker that maps does not need.
        import xarray as xr

        tree = xr.open_datatree(self._place, engine="zarr", chunks={}, consolidated=False)
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

    def __init__(
        self, path: Path, plans: Sequence[LayerPlan], tile: int, *, begun: bool = False
    ) -> None:
        """`tile`: base pixels, both ways, that are written at a time; each becomes one shard.
        With `begun` a cube of the same plans is there, some of its tiles written."""
        self._root = zarr.open_group(path, mode="r+" if begun else "w", zarr_format=3)
        if begun:
            return
        for plan in plans:
            _create(self._root, plan, tile // plan.spec.factor)
        shapes = {plan.spec.factor: plan.box.shape for plan in plans}
        finest = shapes[min(shapes)]
        self._root.attrs.update(
            {
                "Conventions": "CF-1.11",
                "layers": [plan.spec.to_json() for plan in plans],
                "finest_shape": [finest.y, finest.x],
            }
        )

    def finish(self) -> None:
        """Says that the cube is whole."""
        self._root.attrs["complete"] = True


def write_tile(
    path: Path,
    key: str,
    step: int,
    window: Window,
    image: NDArray[np.float32],
    count: NDArray[np.uint8],
    valid: NDArray[np.bool_] | None = None,
) -> None:
    """Puts the image (C, H, W) of a time step and its counts (H, W) where they belong; `valid`
    (H, W) is where it was seen, or where values were made up for what was not.

    The window is a tile of the layer, so that each shard is written whole, as one file, under a
    name of its own that becomes the shard's at the end. Two that write the same tile at once
    write the same bytes.
    """
    group = zarr.open_group(path, mode="r+", path=key)
    rows = slice(window.row, window.row + window.shape.rows)
    cols = slice(window.col, window.col + window.shape.cols)
    group["pixels"][step, :, rows, cols] = image  # type: ignore[index]
    group["valid"][step, rows, cols] = count > 0 if valid is None else valid  # type: ignore[index]
    group["count"][step, rows, cols] = count  # type: ignore[index]


def open_cube(path: Path | str, shape: Shape2d) -> Cube:
    """Opens a cube whose base grid has the given shape; DataError if it is not whole.

    `path` may be an address in an object store, such as `s3://bucket/cube/north/cube.zarr`.
    """
    address = str(path) if is_object_url(str(path)) else ""
    try:
        place = Objects(address).zarr() if address else path
        attributes = zarr.open_group(place, mode="r").attrs.asdict()
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not a cube; 'earthloom cube' makes one") from error
    if not attributes.get("complete"):
        raise DataError(f"the cube {path} is not whole; run 'earthloom cube' again")
    listed: Any = attributes["layers"]
    specs = [LayerSpec.from_json(spec) for spec in listed]
    return Cube(Path(path), {spec.key: spec for spec in specs}, shape, address)


def chunk_of(tile: int) -> int:
    """The largest chunk, in pixels, that divides a tile; the tile where only slivers do."""
    divisors = (size for size in range(min(CHUNK, tile), _SLIVER, -1) if tile % size == 0)
    return next(divisors, tile)


def _create(root: zarr.Group, plan: LayerPlan, tile: int) -> zarr.Group:
    """The empty arrays of a layer, with CF metadata; `tile` in the layer's own pixels.

    A tile is one file (a shard) of chunks that are read alone.
    """
    spec, box = plan.spec, plan.box
    group = root.create_group(spec.key)
    rows, cols, times = box.shape.y, box.shape.x, len(plan.steps)
    size = chunk_of(tile)
    chunk = (size, size)
    # A small layer is one shard, no larger than it needs to be.
    shard = tuple(min(tile, -(-length // size) * size) for length in (rows, cols))
    compressor = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")
    bands = len(spec.bands)
    arrays: list[tuple[str, tuple[int, ...], str, Any, tuple[str, ...]]] = [
        ("pixels", (bands,), "float32", np.nan, _PIXELS),
        ("valid", (), "bool", False, _IMAGE),
        ("count", (), "uint8", 0, _IMAGE),
    ]
    for name, inner, dtype, fill, dimensions in arrays:
        group.create_array(
            name,
            shape=(times, *inner, rows, cols),
            chunks=(1, *inner, *chunk),
            shards=(1, *inner, *shard),
            dtype=dtype,
            fill_value=fill,
            dimension_names=dimensions,
            compressors=compressor,
            attributes={"grid_mapping": "spatial_ref"},
        )
    group["pixels"].attrs.update({"units": spec.unit, "bands": list(spec.bands)})
    group.attrs.update(geozarr(box))
    for each in coordinates_of(plan):
        group.create_array(
            each.name,
            data=each.values,
            dimension_names=each.dimensions,
            attributes=each.attributes,
        )
    return group


_PIXELS = ("time", "band", "y", "x")
_IMAGE = ("time", "y", "x")


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
