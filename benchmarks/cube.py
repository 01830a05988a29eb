"""How fast a cube is made: masked medians of six dates each, from files to a written Zarr.

One static catalog of 24 dates x 10 bands of one tile (`cube_catalog.py`; simulated). Each contender
runs in a process of its own, in turn, several rounds; the median counts. Contenders:

- `ours`: `earthloom.cube.build_cube`, as `earthloom cube` runs it;
- `odc_stock`: odc-stac and xarray's median, as odc-stac's documentation shows it;
- `odc_kernel`: odc-stac's loading with our median kernel on its blocks;
- `stackstac`: stackstac and xarray's median, as its documentation shows it;
- `decode`: reading all blocks with rasterio in two threads and dropping them: the physical limit.

Then the cube is scored against the simulated truth (`cube_scores.py`), seeds 1 to 3.

    python benchmarks/cube.py [--size 4096] [--rounds 5] [--folder DIR] [--only ours,decode]
        [--no-scores]
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from cube_catalog import BANDS, DATES, EPSG, NORTH, WEST, CatalogSpec, make_catalog

PER_COMPOSITE = 6
HIDDEN = (0, 1, 3, 8, 9, 10, 11)
"""Values of the scene classification under which our table says that nothing was seen."""
PROJECT = """
name: benchmark
archive: {{kind: catalog, path: {catalog}}}
area: [0, 0, 1, 1]
dates: {{start: 2023-04-01, end: 2023-08-31}}
sensors: [{{name: sentinel-2-l2a, bands: [{bands}], every: date}}]
classes: [{{code: 1, name: a, colour: "#000000"}}, {{code: 2, name: b, colour: "#ffffff"}}]
model: {{name: ridge}}
assess: {{method: sample}}
"""


def ours(catalog: Path, size: int, out: Path) -> None:
    from odc.geo.geobox import GeoBox

    from earthloom.archive import StaticCatalog
    from earthloom.cube import LayerPlan, Step, build_cube
    from earthloom.sample import LayerSpec, Shape2d
    from earthloom.sensors import load_sensor

    sensor = load_sensor("sentinel-2-l2a")
    side = size * 10
    box = GeoBox.from_bbox(
        (WEST, NORTH - side, WEST + side, NORTH), crs=f"EPSG:{EPSG}", resolution=10
    )
    everywhere = box.geographic_extent.geom
    from datetime import date

    scenes = StaticCatalog(catalog).search(sensor, date(2023, 1, 1), date(2023, 12, 31), everywhere)
    assert len(scenes) == DATES
    groups = [scenes[i : i + PER_COMPOSITE] for i in range(0, DATES, PER_COMPOSITE)]
    steps = tuple(
        Step(str(number), group[0].day, group[-1].day, tuple(group))
        for number, group in enumerate(groups)
    )
    spec = LayerSpec(
        sensor=sensor.name,
        gsd=10,
        bands=BANDS,
        unit="1",
        dates=tuple(step.label for step in steps),
        wavelengths_nm=tuple(sensor.band(band).wavelength_nm for band in BANDS),
    )
    plan = LayerPlan(spec, sensor, box, "median", steps)
    out.mkdir()
    failed = build_cube(str(catalog.parent), [plan], Shape2d(size, size), out, lambda *_: None)
    assert not failed, failed


def _items(catalog: Path) -> list:
    import pystac

    found = list(pystac.Catalog.from_file(str(catalog)).get_items(recursive=True))
    return sorted(found, key=lambda item: item.datetime)


def odc_stock(catalog: Path, size: int, out: Path) -> None:
    import odc.stac

    data = odc.stac.load(
        _items(catalog), bands=[*BANDS, "SCL"], chunks={"x": 2048, "y": 2048}, resolution=10
    )
    clear = ~data.SCL.isin(HIDDEN)
    bands = data[list(BANDS)]
    seen = bands.where(clear & (bands != 0))
    groups = np.repeat(np.arange(DATES // PER_COMPOSITE), PER_COMPOSITE)
    median = seen.assign_coords(group=("time", groups)).groupby("group").median("time")
    (median * 0.0001 - 0.1).astype("float32").to_zarr(out, consolidated=False)


def odc_kernel(catalog: Path, size: int, out: Path) -> None:
    import dask.array as da
    import odc.stac
    import xarray as xr

    from earthloom.cube.kernels import median_u16

    data = odc.stac.load(
        _items(catalog),
        bands=[*BANDS, "SCL"],
        chunks={"x": 2048, "y": 2048, "time": PER_COMPOSITE},
        resolution=10,
    )
    scale = np.full((PER_COMPOSITE, 1), 0.0001, np.float32)
    offset = np.full((PER_COMPOSITE, 1), -0.1, np.float32)

    def median(pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
        seen = ~np.isin(classes, HIDDEN) & (pixels != 0)
        return median_u16(pixels[:, None], seen, scale, offset)[0]

    bands = {
        name: (
            ("group", "y", "x"),
            da.map_blocks(
                median, data[name].data, data.SCL.data, dtype=np.float32,
                chunks=((1,) * (DATES // PER_COMPOSITE), *data[name].data.chunks[1:]),
            ),
        )
        for name in BANDS
    }  # fmt: skip
    xr.Dataset(bands).to_zarr(out, consolidated=False)


def stackstac(catalog: Path, size: int, out: Path) -> None:
    import pandas as pd
    import stackstac as peer
    import xarray as xr

    to_datetime = pd.to_datetime

    def without_inference(values: object, infer_datetime_format: bool = True, **rest: object):
        """stackstac 0.5.0 names an option that pandas 3 no longer has."""
        return to_datetime(values, **rest)

    pd.to_datetime = without_inference
    side = size * 10
    stack = peer.stack(
        [item.to_dict() for item in _items(catalog)],
        assets=[*BANDS, "SCL"],
        epsg=EPSG,
        resolution=10,
        bounds=(WEST, NORTH - side, WEST + side, NORTH),
        chunksize=2048,
        dtype="float32",
        fill_value=np.float32("nan"),
        rescale=False,
    )
    clear = ~stack.sel(band="SCL").isin(HIDDEN)
    seen = stack.sel(band=list(BANDS)).where(clear)
    groups = np.repeat(np.arange(DATES // PER_COMPOSITE), PER_COMPOSITE)
    median = seen.assign_coords(group=("time", groups)).groupby("group").median("time")
    values = (median * 0.0001 - 0.1).astype("float32")
    plain = xr.Dataset({"pixels": (values.dims, values.data)})
    plain.to_zarr(out, consolidated=False)


def decode(catalog: Path, size: int, out: Path) -> None:
    import rasterio

    files = [catalog.parent / f"d{d:02d}" / f"{b}.tif" for d in range(DATES) for b in BANDS]

    def read(path: Path) -> None:
        with rasterio.open(path) as file:
            for _, window in file.block_windows(1):
                file.read(1, window=window)

    with rasterio.Env(GDAL_CACHEMAX=64), ThreadPoolExecutor(2) as pool:
        list(pool.map(read, files))


CONTENDERS: dict[str, Callable[[Path, int, Path], None]] = {
    "ours": ours,
    "odc_stock": odc_stock,
    "odc_kernel": odc_kernel,
    "stackstac": stackstac,
    "decode": decode,
}


def child(name: str, catalog: Path, size: int, out: Path) -> None:
    """Runs one contender and prints its seconds and its peak memory."""
    start = time.perf_counter()
    CONTENDERS[name](catalog, size, out)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "peak_gb": peak}))


def measure(name: str, catalog: Path, size: int, out: Path) -> dict[str, float]:
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, __file__, "--child", name, "--size", str(size)]
    command += ["--catalog", str(catalog), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def alike(folder: Path, size: int) -> float:
    """Largest difference between our composites and odc-stac's, where both have one."""
    import zarr

    ours_at, peer = folder / "ours" / "cube.zarr", zarr.open_group(folder / "odc_stock", mode="r")
    mine = zarr.open_group(ours_at, mode="r")["sentinel-2-l2a_10m/pixels"]
    worst = 0.0
    for number, band in enumerate(BANDS[:3]):
        a, b = mine[1, number, :1024, :1024], peer[band][1, :1024, :1024]
        assert (np.isnan(a) == np.isnan(b)).all()
        worst = max(worst, float(np.nanmax(np.abs(a - b))))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the catalog is kept between runs")
    parser.add_argument("--only", default=",".join(CONTENDERS))
    parser.add_argument("--no-scores", action="store_true", help="leave the truth aside")
    parser.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--catalog", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child, asked.catalog, asked.size, asked.out)
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        figures = compare(asked, Path(scratch))
        if not asked.no_scores:
            from cube_scores import scores

            figures |= scores(asked.folder or Path(scratch), [1, 2, 3])
    print(json.dumps(figures))


def compare(asked: argparse.Namespace, scratch: Path) -> dict[str, object]:
    folder = asked.folder / f"c{asked.size}" if asked.folder else scratch / "catalog"
    catalog = make_catalog(folder, CatalogSpec(asked.size))
    names = asked.only.split(",")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(asked.rounds):
        for name in names:
            run = measure(name, catalog, asked.size, scratch / name)
            runs[name].append(run)
            print(
                f"round {number + 1}  {name:<11} {run['seconds']:7.1f} s  {run['peak_gb']:.2f} GB"
            )
    return report(asked, runs, scratch)


def report(
    asked: argparse.Namespace, runs: dict[str, list[dict[str, float]]], scratch: Path
) -> dict[str, object]:
    middle = {name: statistics.median(r["seconds"] for r in each) for name, each in runs.items()}
    print(f"\n{'':11} seconds  (least to most)   peak GB")
    for name, each in runs.items():
        seconds = [r["seconds"] for r in each]
        peak = max(r["peak_gb"] for r in each)
        spread = f"({min(seconds):.1f} to {max(seconds):.1f})"
        print(f"{name:11} {middle[name]:7.1f}  {spread:<18} {peak:.2f}")
    figures: dict[str, object] = {"size": asked.size, "rounds": asked.rounds}
    peers = {"odc_stock": "vs_odc_stac_stock", "odc_kernel": "vs_odc_stac_same_kernel"}
    for peer, figure in (peers | {"stackstac": "vs_stackstac"}).items():
        if peer in middle and "ours" in middle:
            figures[figure] = round(middle["ours"] / middle[peer], 3)
    if "decode" in middle and "ours" in middle:
        figures["decode_fraction"] = round(middle["decode"] / middle["ours"], 3)
    if "ours" in runs:
        figures["peak_rss_gb"] = round(max(r["peak_gb"] for r in runs["ours"]), 2)
    if {"ours", "odc_stock"} <= runs.keys():
        figures["largest_difference"] = alike(scratch, asked.size)
    return figures


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
