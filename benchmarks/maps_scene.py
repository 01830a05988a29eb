"""The scene of `maps.py`: a simulated cube of ten bands and one date, and a U-Net trained on it.

Ten classes lie in patches with crooked borders; each has a reflectance of its own in each band,
with texture, haze and noise over it, and discs of cloud hide some of it. All of it comes from one
seed, tile by tile.
"""

import json
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from earthloom.cube import Cube, LayerPlan, Step, open_cube
from earthloom.cube.store import CubeWriter, write_tile
from earthloom.encoders import Statistics
from earthloom.encoders.unet import UNet
from earthloom.fit.model import Member, Model, save_model
from earthloom.grid import cover
from earthloom.sample import Chip, LayerSpec, Shape2d, Window
from earthloom.sample.batch import collate
from earthloom.sensors import load_sensor
from earthloom.tasks import PixelClasses
from earthloom.tasks.heads import ConvHead

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
CLASSES = 10
TILE = 1536
"""Pixels of a tile of the cube, as `earthloom.cube.build` makes them."""
WIDTH, LEVELS = 29, 4
"""Of the U-Net: 6.5 million parameters."""
TRAINED = 3072
"""Pixels, both ways, of the corner that the network is trained on."""
_CELL = 16
"""Pixels between the knots of the coarse fields."""
DAY = date(2023, 6, 15)
TASK = PixelClasses(
    tuple(range(1, CLASSES + 1)),
    tuple(f"class {code}" for code in range(1, CLASSES + 1)),
    tuple((25 * n, 255 - 25 * n, 128) for n in range(CLASSES)),
)


@dataclass(frozen=True)
class Scene:
    """Where a scene lies on disk."""

    folder: Path
    size: int
    """Pixels, both ways."""

    @property
    def box(self) -> GeoBox:
        affine = Affine(10, 0, 399960, 0, -10, 5000040)
        return GeoBox((self.size, self.size), affine, "EPSG:32633")

    @property
    def cube(self) -> Cube:
        return open_cube(self.folder / "cube.zarr", Shape2d(self.size, self.size))

    @property
    def model(self) -> Path:
        return self.folder / "model"


def spec() -> LayerSpec:
    sensor = load_sensor("sentinel-2-l2a")
    wavelengths = tuple(sensor.band(band).wavelength_nm for band in BANDS)
    return LayerSpec(sensor.name, 10, BANDS, "1", ("2023-06",), wavelengths)


def make_scene(folder: Path, size: int, steps: int, threads: int) -> Scene:
    """A scene with its network, unless it is there already."""
    scene = Scene(folder / f"scene{size}", size)
    done = scene.folder / "done.json"
    wanted = json.dumps({"size": size, "steps": steps, "width": WIDTH, "levels": LEVELS})
    if done.exists() and done.read_text() == wanted:
        return scene
    torch.set_num_threads(threads)
    _write_cube(scene)
    save_model(_trained(scene, steps), scene.model)
    done.write_text(wanted)
    return scene


def truth(window: Window) -> NDArray[np.uint8]:
    """(H, W) class indices, from 0."""
    patches = _field(0, window, 6) + 0.35 * _field(1, window, 1)
    edges = np.linspace(-1.6, 1.6, CLASSES - 1)
    return np.digitize(patches, edges).astype(np.uint8)


def pixels(window: Window) -> NDArray[np.float32]:
    """(C, H, W) reflectance, NaN under clouds."""
    classes = truth(window)
    signatures = np.random.default_rng(5).uniform(0.04, 0.4, (CLASSES, len(BANDS)))
    noise = np.random.default_rng([7, window.row, window.col])
    haze = 1 + 0.1 * _field(2, window, 12)
    image = np.empty((len(BANDS), *window.shape), np.float32)
    for band, signature in enumerate(signatures.T.astype(np.float32)):
        speckle = noise.standard_normal(window.shape, np.float32) * np.float32(0.03)
        image[band] = signature[classes] * haze + speckle
    image[:, _field(3, window, 8) > 2.6] = np.nan
    return image


def _field(number: int, window: Window, coarse: int) -> NDArray[np.float32]:
    """(H, W) smooth noise of about unit variance that is the same wherever a window begins."""
    cell = _CELL * coarse
    first, last = window.row // cell, -(-(window.row + window.shape.rows) // cell) + 1
    left, right = window.col // cell, -(-(window.col + window.shape.cols) // cell) + 1
    knots = np.array(
        [
            [
                np.random.default_rng([number, row, col]).standard_normal()
                for col in range(left, right)
            ]
            for row in range(first, last)
        ]
    )
    at_rows = (np.arange(window.shape.rows) + window.row) / cell - first
    at_cols = (np.arange(window.shape.cols) + window.col) / cell - left
    return (1.5 * _bilinear(knots, at_rows, at_cols)).astype(np.float32)


def _bilinear(
    knots: NDArray[np.float64], rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> NDArray[np.float64]:
    top, left = rows.astype(int), cols.astype(int)
    down, right = (rows - top)[:, None], (cols - left)[None]
    above = knots[top][:, left] * (1 - right) + knots[top][:, left + 1] * right
    below = knots[top + 1][:, left] * (1 - right) + knots[top + 1][:, left + 1] * right
    return above * (1 - down) + below * down


def _write_cube(scene: Scene) -> None:
    sensor = load_sensor("sentinel-2-l2a")
    plan = LayerPlan(spec(), sensor, scene.box, "median", (Step("2023-06", DAY, DAY, ()),))
    path = scene.folder / "cube.zarr"
    writer = CubeWriter(path, [plan], TILE)
    for tile in cover(Shape2d(scene.size, scene.size), TILE):
        rows = min(tile.shape.rows, scene.size - tile.row)
        cols = min(tile.shape.cols, scene.size - tile.col)
        window = Window(tile.row, tile.col, Shape2d(rows, cols))
        image = pixels(window)
        count = (~np.isnan(image[0])).astype(np.uint8)
        write_tile(path, plan.spec.key, 0, window, image, count)
    writer.finish()


def _trained(scene: Scene, steps: int) -> Model:
    """A U-Net trained on crops of the scene's corner."""
    torch.manual_seed(0)
    layer = spec()
    statistics = {layer.key: Statistics((0.22,) * len(BANDS), (0.1,) * len(BANDS))}
    encoder = UNet((layer,), statistics, WIDTH, LEVELS, norm="batch")
    head = ConvHead(encoder.channels, CLASSES)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=max(steps, 2))
    chance, crop = np.random.default_rng(0), 128
    weights, start, loss = torch.ones(CLASSES), time.perf_counter(), torch.zeros(())
    for _ in range(steps):
        corners = chance.integers(0, min(TRAINED, scene.size) - crop, (8, 2))
        windows = [Window(int(r), int(c), Shape2d(crop, crop)) for r, c in corners]
        batch = collate([Chip("", w.shape, scene.cube.window(w)) for w in windows])
        label = torch.from_numpy(np.stack([truth(w) for w in windows])).long() + 1
        loss = TASK.loss(head(encoder(batch).pixels), label, weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    count = sum(p.numel() for p in parameters)
    print(
        f"network    {count / 1e6:.2f} M parameters, loss {loss.item():.3f} after {steps} steps "
        f"of {time.perf_counter() - start:.0f} s"
    )
    return Model((Member(encoder.eval(), head.eval()),), TASK, None, {"steps": steps})


def accuracy(found: NDArray[np.uint8], row: int, col: int) -> float:
    """Share of mapped pixels (H, W) whose code is the truth's."""
    wanted = truth(Window(row, col, Shape2d(*found.shape))) + 1
    return float((found == wanted)[found > 0].mean())
