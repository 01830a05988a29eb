"""The catalog that `cube.py` times: 24 dates x 10 bands of one Sentinel-2-like tile, as COGs.

Simulated pixels: smooth ground, parcels, seasons, sensor noise and clouds, so that the files
compress about as real ones do. What is timed is reading, masking, the median and writing.
"""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pystac
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds
from scipy.ndimage import zoom

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
EPSG, WEST, NORTH = 32632, 600_000.0, 5_500_020.0
DATES = 24


@dataclass(frozen=True)
class CatalogSpec:
    """What a catalog depends on; the same spec makes the same pixels."""

    size: int = 4096
    """Pixels of 10 m, both ways, of every band."""
    seed: int = 0


def make_catalog(folder: Path, spec: CatalogSpec) -> Path:
    """Writes the catalog, unless it is there; returns its `catalog.json`."""
    path = folder / "catalog.json"
    done = folder / "spec.json"
    if done.exists() and json.loads(done.read_text()) == [spec.size, spec.seed]:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "ground.npy", _ground(spec))
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_write_date, [folder] * DATES, [spec] * DATES, range(DATES)))
    (folder / "ground.npy").unlink()
    _write_stac(folder, spec)
    done.write_text(json.dumps([spec.size, spec.seed]))
    return path


def day_of(date: int) -> datetime:
    return datetime(2023, 4, 3, 10, 30, tzinfo=UTC) + timedelta(days=5 * date)


def _ground(spec: CatalogSpec) -> NDArray[np.float32]:
    """(bands, size, size) stored numbers of a clear day."""
    random = np.random.default_rng(spec.seed)
    parcels = random.integers(0, 400, (spec.size // 16, spec.size // 16))
    parcels = parcels.repeat(16, 0).repeat(16, 1)
    ground = np.empty((len(BANDS), spec.size, spec.size), np.float32)
    for band in range(len(BANDS)):
        level = 300 + 220 * band
        own = random.normal(0, 0.18 * level, 400).astype(np.float32)
        ground[band] = level + own[parcels] + _smooth(random, spec.size, 64) * 0.15 * level
    return ground


def _smooth(random: np.random.Generator, size: int, cells: int) -> NDArray[np.float32]:
    coarse = random.normal(0, 1, (cells + 1, cells + 1)).astype(np.float32)
    return zoom(coarse, (size / (cells + 1)), order=1, grid_mode=True, mode="nearest")[:size, :size]


def _write_date(folder: Path, spec: CatalogSpec, date: int) -> None:
    random = np.random.default_rng([spec.seed, date])
    ground = np.load(folder / "ground.npy", mmap_mode="r")
    clouds = _smooth(random, spec.size // 2, 24) > random.uniform(0.2, 1.5)
    scene = folder / f"d{date:02d}"
    scene.mkdir(exist_ok=True)
    scl = np.where(clouds, 9, 4).astype(np.uint8)
    _write_cog(scene / "SCL.tif", scl, 20)
    on_tens = clouds.repeat(2, 0).repeat(2, 1)
    for band, name in enumerate(BANDS):
        season = 1 + 0.1 * np.sin(date / 4 + band)
        pixels = ground[band] * season + random.normal(0, 22, on_tens.shape).astype(np.float32)
        pixels[on_tens] += 4000
        _write_cog(scene / f"{name}.tif", np.clip(pixels, 1, 15000).astype(np.uint16), 10)


def _write_cog(path: Path, pixels: NDArray[np.generic], metres: float) -> None:
    rows, cols = pixels.shape
    options = {"compress": "deflate", "predictor": 2, "blocksize": 512}
    with rasterio.open(
        path,
        "w",
        driver="COG",
        width=cols,
        height=rows,
        count=1,
        dtype=pixels.dtype,
        crs=f"EPSG:{EPSG}",
        transform=from_origin(WEST, NORTH, metres, metres),
        nodata=0,
        **options,
    ) as file:
        file.write(pixels, 1)


def _write_stac(folder: Path, spec: CatalogSpec) -> None:
    side = spec.size * 10.0
    bounds = (WEST, NORTH - side, WEST + side, NORTH)
    bbox = list(transform_bounds(f"EPSG:{EPSG}", "EPSG:4326", *bounds))
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    catalog = pystac.Catalog("benchmark", "Timed by benchmarks/cube.py")
    extent = pystac.Extent(
        pystac.SpatialExtent([bbox]), pystac.TemporalExtent([[day_of(0), day_of(DATES - 1)]])
    )
    collection = pystac.Collection("sentinel-2-l2a", "Simulated", extent)
    catalog.add_child(collection)
    for date in range(DATES):
        item = pystac.Item(
            f"d{date:02d}",
            {"type": "Polygon", "coordinates": [ring]},
            bbox,
            day_of(date),
            {
                "proj:epsg": EPSG,
                "proj:code": f"EPSG:{EPSG}",
                "s2:processing_baseline": "05.09",
                "platform": "sentinel-2a",
            },
            stac_extensions=[
                "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
                "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
            ],
        )
        for name in (*BANDS, "SCL"):
            item.add_asset(name, _asset(folder / f"d{date:02d}" / f"{name}.tif", name, spec))
        collection.add_item(item)
    catalog.normalize_hrefs(str(folder / "stac"))
    catalog.save(pystac.CatalogType.SELF_CONTAINED, dest_href=str(folder))


def _asset(path: Path, name: str, spec: CatalogSpec) -> pystac.Asset:
    step = 20 if name == "SCL" else 10
    pixels = spec.size * 10 // step
    band = {"nodata": 0, "data_type": "uint8" if name == "SCL" else "uint16"}
    if name != "SCL":
        band |= {"scale": 0.0001, "offset": -0.1}
    return pystac.Asset(
        str(path.resolve()),
        media_type=pystac.MediaType.COG,
        roles=["data"],
        extra_fields={
            "proj:shape": [pixels, pixels],
            "proj:transform": [step, 0, WEST, 0, -step, NORTH],
            "raster:bands": [band],
        },
    )
