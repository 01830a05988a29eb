"""Cubes as files of other kinds: NetCDF, and a Cloud-Optimised GeoTIFF a time step."""

from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.windows import Window as RasterWindow

from earthloom.cube.store import STRIP, Cube
from earthloom.progress import Tick


def export_netcdf(cube: Cube, folder: Path, tick: Tick) -> list[Path]:
    """Writes each layer as `LAYER.nc`, NetCDF 4 with CF metadata, chunk by chunk."""
    tree, made = cube.tree(), []
    packed = {name: {"zlib": True, "complevel": 4} for name in ("pixels", "count", "valid")}
    for number, key in enumerate(cube.specs, start=1):
        path = folder / f"{key}.nc"
        part = path.with_suffix(".partial")
        layer = tree[key].to_dataset()
        for variable in layer.variables.values():
            variable.encoding.clear()
        for name in ("time", "time_bounds"):
            layer[name].encoding.update(units="days since 1970-01-01", dtype="int32")
        layer.attrs = {"Conventions": "CF-1.11"}
        layer.to_netcdf(part, engine="h5netcdf", encoding=packed)
        part.rename(path)
        made.append(path)
        tick(number, len(cube.specs), key)
    return made


def export_cogs(cube: Cube, folder: Path, tick: Tick) -> list[Path]:
    """Writes each time step of each layer as `LAYER_STEP.tif`: float32, NaN where not seen, bands
    named, with overviews; strip by strip."""
    made: list[Path] = []
    total = sum(len(spec.dates) for spec in cube.specs.values())
    for key, spec in cube.specs.items():
        for step, label in enumerate(spec.dates):
            path = folder / f"{key}_{label}.tif"
            _write_cog(cube, key, step, path)
            made.append(path)
            tick(len(made), total, path.name)
    return made


def _write_cog(cube: Cube, key: str, step: int, path: Path) -> None:
    spec, (crs, transform) = cube.specs[key], cube.georeference(key)
    bands, rows, cols = cube.layer_shape(key)
    strips = path.with_suffix(".strips.tif")
    with rasterio.open(
        strips,
        "w",
        driver="GTiff",
        width=cols,
        height=rows,
        count=bands,
        dtype="float32",
        nodata=np.nan,
        crs=crs,
        transform=transform,
        tiled=True,
        compress="deflate",
        BIGTIFF="IF_SAFER",
    ) as file:
        for number, name in enumerate(spec.bands, start=1):
            file.set_band_description(number, name)
        for row in range(0, rows, STRIP):
            strip = cube.strip(key, step, row)
            file.write(strip, window=RasterWindow(0, row, cols, strip.shape[1]))
    part = path.with_suffix(".partial")
    rasterio.shutil.copy(
        strips, part, driver="COG", compress="DEFLATE", predictor="YES", bigtiff="IF_SAFER"
    )
    strips.unlink()
    part.rename(path)
