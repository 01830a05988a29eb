"""The scenes that `chips.py` draws from: per-band COGs of many places, and the names they share.

Simulated as in `cube_catalog.py`: smooth ground, parcels and sensor noise, so that files compress
about as real ones do. A few pixels of each scene hold nothing.
"""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rasterio
from cube_catalog import BANDS, EPSG, NORTH, WEST, CatalogSpec, _ground
from rasterio.transform import from_origin

SCALE, OFFSET = 1e-4, -0.1
"""physical = stored * SCALE + OFFSET; 0 is nothing."""


@dataclass(frozen=True)
class ScenesSpec:
    """What the scenes depend on; the same spec makes the same pixels."""

    scenes: int = 24
    size: int = 1536
    """Pixels of 10 m, both ways, of every band."""
    seed: int = 0


def make_scenes(folder: Path, spec: ScenesSpec) -> Path:
    """Writes `s<number>_<band>.tif` into a folder, unless they are there; returns the folder."""
    done = folder / "spec.json"
    if done.exists() and json.loads(done.read_text()) == asdict(spec):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_write, [folder] * spec.scenes, [spec] * spec.scenes, range(spec.scenes)))
    done.write_text(json.dumps(asdict(spec)))
    return folder


def file_of(scene: int, band: str) -> str:
    return f"s{scene:03d}_{band}.tif"


def _write(folder: Path, spec: ScenesSpec, scene: int) -> None:
    random = np.random.default_rng([spec.seed, scene])
    ground = _ground(CatalogSpec(spec.size, spec.seed * 1000 + scene))
    west = WEST + scene * 10 * (spec.size + 100)
    for band, name in enumerate(BANDS):
        noise = random.standard_normal(ground[band].shape, np.float32) * 22
        pixels = np.clip(ground[band] + noise, 1, 15000).astype(np.uint16)
        pixels[:40, :40] = 0
        with rasterio.open(
            folder / file_of(scene, name), "w", driver="COG", width=spec.size, height=spec.size,
            count=1, dtype="uint16", crs=f"EPSG:{EPSG}", nodata=0,
            transform=from_origin(west, NORTH, 10, 10),
            compress="deflate", predictor=2, blocksize=512,
        ) as file:  # fmt: skip
            file.write(pixels, 1)
