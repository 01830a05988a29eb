"""Scenes as the direct path sees them: per layer a grid, cut into blocks as its files are."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from earthloom.archive import Asset, Scene
from earthloom.archive.formats import open_source
from earthloom.archive.http import without_queries
from earthloom.cube.read import Reader, address
from earthloom.errors import ContractError, DataError, choices
from earthloom.grid import coarser
from earthloom.sample import LayerSpec, Shape2d

_LEAST_SIDE = 256
"""Pixels: files in strips, or in smaller blocks, are read in pieces of about this size."""
_MOST_SIDE = 2048
"""Pixels: files in one block are read in pieces, each of which decodes what it needs of it."""


@dataclass(frozen=True)
class LayerGrid:
    """One layer of one scene."""

    spec: LayerSpec
    assets: tuple[Asset | None, ...]
    """One a band of `spec`; None for a band that the scene lacks."""
    box: GeoBox
    """The layer's pixels, on which those of its bands lie."""
    block: Shape2d
    """Of the files' blocks, or of several together."""
    dtype: np.dtype[np.generic]
    """Of stored numbers, wide enough for those of every band."""

    @property
    def blocks(self) -> Shape2d:
        """How many blocks the layer has, down and across."""
        rows, cols = self.box.shape
        return Shape2d(-(-rows // self.block.rows), -(-cols // self.block.cols))

    @property
    def block_bytes(self) -> int:
        """Of a whole block of all bands, as stored numbers."""
        return self.block.rows * self.block.cols * len(self.assets) * self.dtype.itemsize

    def block_box(self, row: int, col: int) -> GeoBox:
        """The pixels of a block; those at the lower and the right edge may be smaller."""
        top, left = row * self.block.rows, col * self.block.cols
        return self.box[top : top + self.block.rows, left : left + self.block.cols]


@dataclass(frozen=True)
class SceneGrid:
    """A scene that chips can be cut from."""

    scene: Scene
    layers: tuple[LayerGrid, ...]
    box: GeoBox
    """The base grid: that of a layer of factor 1, cut so that all layers have whole pixels."""

    @property
    def shape(self) -> Shape2d:
        return Shape2d(*self.box.shape)


@dataclass(frozen=True)
class Survey:
    """What scenes hold, from the headers of their files."""

    grids: tuple[SceneGrid, ...]
    unreadable: dict[str, str]
    """Why a scene, by its id, has no grid: none of its files opens."""


def survey(
    reader: Reader, scenes: Sequence[Scene], specs: Sequence[LayerSpec], threads: int = 2
) -> Survey:
    """The grids of scenes, in their order; ContractError if no layer has the factor 1.

    A band that does not open is left to be masked and counted when its pixels are asked for; a
    scene without any band that opens has no grid.
    """
    if not any(spec.factor == 1 for spec in specs):
        raise ContractError(
            f"one layer must have the base grid's pixels (factor 1); the factors are: "
            f"{choices(spec.factor for spec in specs)}"
        )

    def one(scene: Scene) -> SceneGrid | str:
        try:
            return scene_grid(reader, scene, specs)
        except DataError as error:
            return str(error)

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(one, scenes))
    grids = tuple(each for each in found if isinstance(each, SceneGrid))
    reasons = {
        scene.id: each for scene, each in zip(scenes, found, strict=True) if isinstance(each, str)
    }
    return Survey(grids, reasons)


def scene_grid(reader: Reader, scene: Scene, specs: Sequence[LayerSpec]) -> SceneGrid:
    """A scene's grids; DataError if none of the bands on its base grid opens."""
    finest = next(spec for spec in specs if spec.factor == 1)
    multiple = int(np.lcm.reduce([spec.factor for spec in specs]))
    native, _ = _first_that_opens(reader, scene, finest)
    rows, cols = (extent // multiple * multiple for extent in native.shape)
    box = native[:rows, :cols]
    return SceneGrid(scene, tuple(_layer(reader, scene, spec, box) for spec in specs), box)


def _layer(reader: Reader, scene: Scene, spec: LayerSpec, base: GeoBox) -> LayerGrid:
    box = base if spec.factor == 1 else coarser(base, spec.factor)
    assets = tuple(scene.bands.get(band) for band in spec.bands)
    dtypes = [_dtype(reader, asset, box) for asset in assets if asset is not None]
    known = [dtype for dtype in dtypes if dtype is not None]
    try:
        _, block = _first_that_opens(reader, scene, spec)
    except DataError:
        block = Shape2d(_LEAST_SIDE, _LEAST_SIDE)
    dtype = np.result_type(*known) if known else np.dtype(np.float32)
    return LayerGrid(spec, assets, box, block, dtype)


def _dtype(reader: Reader, asset: Asset, box: GeoBox) -> np.dtype[np.generic] | None:
    """Of what `Reader.stored` hands over; None for a file that does not open."""
    try:
        stored = np.dtype(reader.dtype(asset))
        if reader.is_own_grid(asset, box):
            return stored
    except (DataError, RasterioError):
        return None
    return np.result_type(stored, np.float32)


def _first_that_opens(reader: Reader, scene: Scene, spec: LayerSpec) -> tuple[GeoBox, Shape2d]:
    """The own grid and the blocks of the first band of a layer whose file opens."""
    reasons = []
    for band in spec.bands:
        asset = scene.bands.get(band)
        if asset is None:
            reasons.append(f"the scene {scene.id} has no band {band}")
            continue
        try:
            with open_source(address(reader.root, asset), signer=reader.signer) as file:
                block = Shape2d(*file.block_shapes[asset.index - 1])
                return GeoBox.from_rio(file), _handy(block, Shape2d(*file.shape))
        except (DataError, RasterioError) as error:
            reasons.append(without_queries(str(error)))
    raise DataError(reasons[0])


def _handy(block: Shape2d, shape: Shape2d) -> Shape2d:
    """A file's blocks, several together if they are small, parts if they are huge."""
    sides = []
    for side, extent in zip(block, shape, strict=True):
        several = side * -(-_LEAST_SIDE // side)
        sides.append(min(several, _MOST_SIDE, extent))
    return Shape2d(*sides)


@dataclass(frozen=True)
class BlockNumbers:
    """One number for each block of each layer of each scene."""

    grids: Sequence[SceneGrid]
    starts: NDArray[np.int64]
    """(scenes, layers) number of the first block of a layer."""

    @staticmethod
    def of(grids: Sequence[SceneGrid]) -> "BlockNumbers":
        counts = [layer.blocks.rows * layer.blocks.cols for g in grids for layer in g.layers]
        starts = np.cumsum([0, *counts[:-1]], dtype=np.int64)
        return BlockNumbers(grids, starts.reshape(len(grids), -1))

    def find(self, number: int) -> tuple[LayerGrid, int, int]:
        """The layer that a block belongs to, and its row and column of blocks there."""
        at = int(np.searchsorted(self.starts.reshape(-1), number, side="right")) - 1
        scene, index = divmod(at, self.starts.shape[1])
        layer = self.grids[scene].layers[index]
        row, col = divmod(number - int(self.starts[scene, index]), layer.blocks.cols)
        return layer, row, col
