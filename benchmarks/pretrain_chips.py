"""Chips of real unlabelled imagery for pretraining: pixels with their true bands, units and dates.

Each place is a function that knows where its files lie; each becomes a packed store that
`[[data]] name = "store"` of a pretraining reads. No label is written: datasets that have some are
read by the readers of datasets, and what those say of classes is dropped. Of OSCD these are the
cities with masks alone; the others are kept for scoring.

Run alone: `python benchmarks/pretrain_chips.py ../shared/data chips`; `--side` sets the pixels of a
chip, both ways; the names of places after it choose some of them.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from earthloom.chips.store import ChipWriter
from earthloom.datasets import open_dataset
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sensors import load_sensor

Images = Sequence[Chip]
"""Whole images of a place, all of the same layers, of any size."""

STATIC = ("static",)


def oscd(data: Path) -> Images:
    """Sentinel-2 pairs of nine cities, 13 bands on 10 m."""
    return _unlabelled("oscd-early", data / "oscd")


def sen1floods11(data: Path) -> Images:
    """Sentinel-1 and Sentinel-2 of a flood."""
    return _unlabelled("sen1floods11-hand", data / "sen1floods11_sample/sample")


def naip_5m(data: Path) -> Images:
    """Wetlands, two years, each a photograph of its own."""
    files = sorted((data / "opengeos_naip_timeseries").glob("*.tif"))
    return [_photograph(file.stem, [file], 5.0) for file in files]


def naip_1m(data: Path) -> Images:
    """Hills and towns of Virginia."""
    folder = data / "landsat8_naip_rasterframes"
    whole = [[file] for file in sorted(folder.glob("m_*_subset.tif"))]
    single = [folder / f"NAIP-VA-b{band}.tiff" for band in (1, 2, 3, 4)]
    return [_photograph(files[0].stem, files, 1.0) for files in (*whole, single)]


def landsat_oli(data: Path) -> Images:
    """Digital numbers of Landsat 8 at 30 m, where its quality band does not say fill."""
    folder, sensor = data / "landsat8_naip_rasterframes", load_sensor("landsat-oli-c2-l1")
    numbers = {"coastal": 1, "blue": 2, "green": 3, "red": 4, "nir08": 5, "swir16": 6, "swir22": 7}
    bands = tuple(numbers)
    pixels = np.concatenate(
        [_read(folder / f"L8-B{numbers[name]}-Elkton-VA.tiff") for name in bands]
    )
    quality = _read(folder / "L8-BQA-Elkton-VA.tiff")[0].astype(np.int64)
    waves = tuple(sensor.band(name).wavelength_nm for name in bands)
    spec = LayerSpec(sensor.name, 30, bands, "DN", STATIC, waves)
    return [_image("elkton", spec, pixels[None], (quality & 1 == 0)[None], [0])]


def landsat_colours(data: Path) -> Images:
    """A meandering river in Peru every five years from 1985, in colours made for the eye."""
    files = sorted((data / "opengeos_landsat_timeseries").glob("*.tif"))
    images = np.stack([_read(file) for file in files])
    years = tuple(file.stem for file in files)
    waves = tuple(load_sensor("aerial-rgb").band(name).wavelength_nm for name in _COLOURS)
    spec = LayerSpec("landsat-colours", 90, _COLOURS, "DN", years, waves)
    days = [int((np.datetime64(f"{year}-07-01") - _EPOCH).astype(int)) for year in years]
    return [_image("ucayali", spec, images[:, :3], images[:, 3] > 0, days)]


def heights(data: Path) -> Images:
    """Surface and ground of a town at 2 m, by laser."""
    folder = data / "opengeos_elevation/elevation"
    found = [_read(folder / f"{name}.tif")[0] for name in ("dsm", "dtm")]
    spec = LayerSpec("laser-heights", 2, ("dsm", "dtm"), "m", STATIC, (None, None))
    pixels = np.stack(found)[None]
    return [_image("town", spec, pixels, np.asarray((pixels > -9999).all(axis=1)), [0])]


def slovenia(data: Path) -> Images:
    """Five dates of Sentinel-2 with 13 bands; the dates' order is known, their days are not."""
    sensor = load_sensor("sentinel-2-l1c")
    bands = tuple(band.name for band in sensor.bands)
    pixels = np.load(data / "eolearn_testpatch/REFERENCE_SCENES.npy", allow_pickle=False)
    pixels = np.moveaxis(pixels, -1, 1).astype(np.float32)
    waves = tuple(band.wavelength_nm for band in sensor.bands)
    spec = LayerSpec(sensor.name, 10, bands, "1", STATIC, waves)
    return [
        _image(f"slovenia-{number}", spec, each[None], np.isfinite(each).all(axis=0)[None], [0])
        for number, each in enumerate(pixels)
    ]


PLACES: Mapping[str, Callable[[Path], Images]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        oscd,
        sen1floods11,
        naip_5m,
        naip_1m,
        landsat_oli,
        landsat_colours,
        heights,
        slovenia,
    )
}

_COLOURS = ("red", "green", "blue")
_EPOCH = np.datetime64("1970-01-01")


def write(images: Images, folder: Path, side: int) -> int:
    """Cuts images into squares of `side` pixels, and writes those of which half or more was seen on
    some date; their number."""
    chips = [chip for image in images for chip in cut(image, side) if _seen(chip) >= 0.5]
    specs = {key: layer.spec for key, layer in chips[0].layers.items()}
    writer = ChipWriter(folder, specs, Shape2d(side, side), len(chips), {})
    for chip in chips:
        writer.add(chip, chip.group)
    writer.finish()
    return len(chips)


def cut(image: Chip, side: int) -> Iterator[Chip]:
    """All squares of an image on a grid, and those that end with it."""
    for row in _starts(image.shape.rows, side):
        for col in _starts(image.shape.cols, side):
            layers = {
                key: replace(
                    layer,
                    pixels=layer.pixels[..., row : row + side, col : col + side],
                    valid=layer.valid[..., row : row + side, col : col + side],
                )
                for key, layer in image.layers.items()
            }
            yield Chip(f"{image.id}-{row}-{col}", Shape2d(side, side), layers, None, image.group)


def _starts(length: int, side: int) -> list[int]:
    return sorted({*range(0, length - side + 1, side), length - side})


def _seen(chip: Chip) -> float:
    return max(float(layer.valid.mean(axis=(1, 2)).max()) for layer in chip.layers.values())


def _unlabelled(name: str, folder: Path) -> Images:
    samples = open_dataset(name, folder)
    return [
        replace(samples[number], label=None, target=None, weight=None)
        for number in range(len(samples))
    ]


def _photograph(name: str, files: Sequence[Path], gsd: float) -> Chip:
    sensor = load_sensor("naip")
    bands = tuple(band.name for band in sensor.bands)
    pixels = np.concatenate([_read(file) for file in files])
    waves = tuple(band.wavelength_nm for band in sensor.bands)
    spec = LayerSpec(sensor.name, gsd, bands, "DN", STATIC, waves)
    return _image(name, spec, pixels[None], np.asarray((pixels > 0).any(axis=0))[None], [0])


def _image(
    name: str,
    spec: LayerSpec,
    pixels: NDArray[np.floating],
    valid: NDArray[np.bool_],
    days: Sequence[int],
) -> Chip:
    """Of pixels (T, C, H, W) and where they were seen (T, H, W)."""
    kept = np.where(valid[:, None], pixels, np.nan).astype(np.float32)
    layer = Layer(spec, kept, valid, np.array(days, np.int32))
    return Chip(name, Shape2d(*valid.shape[1:]), {spec.key: layer}, None, name)


def _read(file: Path) -> NDArray[np.float32]:
    """(C, H, W)."""
    with rasterio.open(file) as source:
        return np.asarray(source.read(), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder of the real data")
    parser.add_argument("out", type=Path, help="folder of the stores, one a place")
    parser.add_argument("places", nargs="*", choices=[*PLACES, []], help="all without")
    parser.add_argument("--side", type=int, default=48)
    given = parser.parse_args()
    found = {}
    for name in given.places or PLACES:
        found[name] = write(PLACES[name](given.data), given.out / name, given.side)
        print(f"{name:16} {found[name]:6d} chips of {given.side} px", flush=True)
    print(json.dumps({"side": given.side, "chips": found}))


if __name__ == "__main__":
    main()
