"""The cube before it is made: dask arrays whose blocks are read when they are asked for."""

from collections.abc import Sequence
from functools import partial

import dask.array as da
import numpy as np
import rasterio
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from earthloom.archive.sign import Signer, Unsigned
from earthloom.cube.build import Unit, composite_window, tile_of
from earthloom.cube.metadata import coordinates_of, geozarr
from earthloom.cube.observe import Failures
from earthloom.cube.plan import LayerPlan
from earthloom.cube.read import GDAL_OPTIONS, Reader
from earthloom.errors import DataError
from earthloom.sample import Shape2d, Window


def lazy_cube(root: str, plans: Sequence[LayerPlan], signer: Signer = Unsigned()) -> xr.DataTree:
    """Planned layers as a tree of datasets that hold nothing yet.

    Each node has `pixels` (time, band, y, x) float32, NaN where not seen, and `count` (time, y, x)
    uint8. A block is one time step of one tile, made by the same code as `build_cube`; any dask
    scheduler, a cluster's too, may compute it. A scene that does not load raises DataError, since
    nobody would count it.
    """
    tile, reader = tile_of(plans), Reader(root, signer)
    return xr.DataTree.from_dict(
        {f"/{plan.spec.key}": _dataset(reader, plan, tile // plan.spec.factor) for plan in plans}
    )


def _dataset(reader: Reader, plan: LayerPlan, tile: int) -> xr.Dataset:
    rows, cols = plan.box.shape.y, plan.box.shape.x
    make = delayed(partial(_block, reader, plan), pure=True)
    bands = len(plan.spec.bands)
    pixels, counts = [], []
    for step in range(len(plan.steps)):
        images, seen = [], []
        for row in range(0, rows, tile):
            image_row, seen_row = [], []
            for col in range(0, cols, tile):
                shape = Shape2d(min(tile, rows - row), min(tile, cols - col))
                both = make(Unit(0, step, Window(row, col, shape)))
                image_row.append(da.from_delayed(both[0], (1, bands, *shape), np.float32))
                seen_row.append(da.from_delayed(both[1], (1, *shape), np.uint8))
            images.append(image_row)
            seen.append(seen_row)
        pixels.append(da.block(images))
        counts.append(da.block(seen))
    coordinates = {
        each.name: (each.dimensions, each.values, each.attributes) for each in coordinates_of(plan)
    }
    mapped = {"grid_mapping": "spatial_ref"}
    dataset = xr.Dataset(
        {
            "pixels": (
                ("time", "band", "y", "x"),
                da.concatenate(pixels),
                {"units": plan.spec.unit, **mapped},
            ),
            "count": (("time", "y", "x"), da.concatenate(counts), mapped),
        },
        coords={"band": list(plan.spec.bands), **coordinates},
        attrs=geozarr(plan.box),
    )
    return xr.decode_cf(dataset)


def _block(
    reader: Reader, plan: LayerPlan, unit: Unit
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    failures = Failures()
    with rasterio.Env(**GDAL_OPTIONS):
        image, count = composite_window(reader, plan, unit, failures)
    if failures.reasons:
        scene, reason = sorted(failures.reasons.items())[0]
        raise DataError(f"the scene {scene} does not load: {reason}")
    return image[None], count[None]
