"""The lie of the land: the cover of every pixel, and the piece of land in which it lies."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.world.classes import CODES
from earthloom.world.covers import cover_index, covers_of
from earthloom.world.fields import cut_fields
from earthloom.world.noise import (
    Cells,
    Extent,
    Floats,
    Labels,
    Mask,
    absorb_small,
    blur,
    broad,
    cells,
    compact,
    fractal,
    grow,
    highest,
    smooth,
    stream,
)
from earthloom.world.relief import Relief, along
from earthloom.world.towns import Towns, build_towns

# Parts of the window; what is left is farmland, divided by the second table.
_PARTS = {
    "water": 0.036,
    "built-up": 0.068,
    "forest": 0.27,
    "shrubland": 0.06,
    "bare ground": 0.037,
    "wetland": 0.052,
}
_FARMLAND = {"grassland": 0.27, "winter cereal": 0.33, "maize": 0.235, "rapeseed": 0.165}
_NEEDLELEAF_PART = 0.46

# Numbers that keep pieces of different origin apart when they are joined into one raster.
_ORIGIN = 1 << 40


@dataclass(frozen=True, eq=False)
class Land:
    """What lies where before any event."""

    pieces: Labels
    """(rows, cols) number of the piece: a field, a stand, a quarter of a town, a reach of water."""
    cover: NDArray[np.int32]
    """(pieces,) place of each piece's cover in `covers()`."""
    roads: Mask
    """(rows, cols)."""


@dataclass(frozen=True, eq=False)
class _Canvas:
    """The raster while it is being painted: class codes, 0 where still open, and pieces."""

    extent: Extent
    code: NDArray[np.uint8]
    piece: NDArray[np.int64]

    def open(self) -> Mask:
        return np.asarray(self.code == 0)

    def paint(self, mask: Mask, name: str, pieces: Labels) -> None:
        """Gives the open part of `mask` a class, in pieces that are new."""
        here = mask & self.open()
        self.code[here] = CODES[name]
        self.piece[here] = pieces[here].astype(np.int64) + CODES[name] * _ORIGIN


def lay_out(seed: int, extent: Extent, relief: Relief) -> Land:
    """Water, towns, forests, wild land and fields, painted in that order."""
    scale = float(np.clip(extent.size / 10_000, 0.15, 1.0))
    shape = (extent.shape.rows, extent.shape.cols)
    canvas = _Canvas(extent, np.zeros(shape, np.uint8), np.zeros(shape, np.int64))
    towns = build_towns(stream(seed, "towns"), extent, relief, _PARTS["built-up"], scale)
    _paint_water(seed, canvas, relief, towns, scale)
    quarters = cells(stream(seed, "quarters"), extent, 140.0)
    canvas.paint(towns.mask, "built-up", quarters.labels)
    _paint_wild(seed, canvas, relief, towns, scale)
    _paint_farmland(seed, canvas, relief)
    pieces, _ = compact(canvas.piece)
    pieces = _tidy(pieces, canvas.code)
    cover = _covers_of_pieces(seed, pieces, canvas.code, towns)
    return Land(pieces, cover, towns.roads)


def _paint_water(seed: int, canvas: _Canvas, relief: Relief, towns: Towns, scale: float) -> None:
    """The river, the larger brooks, and ponds in the valley up to water's part."""
    extent = canvas.extent
    water = relief.river.copy()
    for course in relief.courses[1:]:
        if course.width >= 13.0:
            water |= along(course, extent, course.width + 6.0)
    wanted = round(_PARTS["water"] * water.size) - int(water.sum())
    if wanted > 0:
        rng = stream(seed, "ponds")
        low = -0.35 * relief.above_river / (0.3 + scale)
        basin = 1.7 * broad(rng, extent, 420 * scale**0.5, 5.5) + 0.6 * broad(rng, extent, 900)
        free = ~water & ~towns.mask & ~grow(towns.roads, 2)
        water |= smooth(highest(basin + np.maximum(low, -4), free, wanted), 3)
    reaches = cells(stream(seed, "reaches"), extent, 500.0)
    # Roads cross water on bridges.
    canvas.paint(water & ~towns.roads, "water", reaches.labels)


def _paint_wild(seed: int, canvas: _Canvas, relief: Relief, towns: Towns, scale: float) -> None:
    """Wetland by the water, pits, trees along brooks, forests on the hills, shrubs beside them."""
    extent = canvas.extent
    rng = stream(seed, "wild")
    patches = cells(rng, extent, 170.0)
    stands = cells(rng, extent, 290.0, bend=0.3)
    size = canvas.code.size
    wet = -0.55 * relief.above_river / (0.3 + scale) - 0.0016 / scale * relief.river_distance
    wet = wet + 0.9 * broad(rng, extent, 700 * scale**0.5)
    apart = ~grow(towns.mask, 2)
    wetland = highest(
        _ragged(wet, patches, rng, extent), canvas.open() & apart, round(_PARTS["wetland"] * size)
    )
    canvas.paint(smooth(wetland, 2), "wetland", patches.labels)
    pits = 1.2 * broad(rng, extent, 420 * scale**0.5, 4.6)
    pits = np.asarray(pits - 8.0 * np.maximum(0, 0.03 - relief.slope), dtype=np.float32)
    bare = highest(
        _ragged(pits, patches, rng, extent),
        canvas.open() & apart,
        round(_PARTS["bare ground"] * size),
    )
    canvas.paint(smooth(bare, 2), "bare ground", cells(rng, extent, 240.0).labels)
    _paint_brook_trees(canvas, relief, patches)
    _paint_forest(seed, canvas, relief, towns, stands, scale)
    _paint_shrubs(seed, canvas, relief, patches, apart)


def _paint_brook_trees(canvas: _Canvas, relief: Relief, patches: Cells) -> None:
    """Alders along the smaller brooks, with gaps."""
    rng = stream(0, "brook trees", len(relief.courses))
    lush = broad(rng, canvas.extent, 350.0) > -0.5
    for course in relief.courses[1:]:
        trees = along(course, canvas.extent, 34.0) & lush
        canvas.paint(trees, "broadleaf forest", patches.labels)


def _paint_forest(
    seed: int, canvas: _Canvas, relief: Relief, towns: Towns, stands: Cells, scale: float
) -> None:
    """Forests on slopes and heights away from towns, in stands of broadleaves or needles."""
    extent = canvas.extent
    rng = stream(seed, "forest")
    score = (
        1.25 * fractal(rng, extent, 2400 * scale, 3.8)
        + 9.0 * np.minimum(relief.slope, 0.12)
        + 0.9 * np.tanh(relief.above_river / 40)
        - 1.6 * towns.nearness
    )
    wanted = round(_PARTS["forest"] * canvas.code.size) - int((canvas.code == 3).sum())
    forest = highest(_ragged(score, stands, rng, extent), canvas.open(), wanted)
    forest = smooth(forest, 3) & canvas.open()
    conifers = 0.9 * _per_cell(stands, rng) + broad(rng, extent, 1500 * scale) * 0.8
    conifers = conifers + np.tanh(relief.above_river / 50)
    needle = _whole_cells(conifers, stands, forest, _NEEDLELEAF_PART)
    canvas.paint(forest & needle, "needleleaf forest", stands.labels)
    canvas.paint(forest, "broadleaf forest", stands.labels)


def _paint_shrubs(seed: int, canvas: _Canvas, relief: Relief, patches: Cells, apart: Mask) -> None:
    """Shrubs where forest meets open land, on steep and on poor ground."""
    rng = stream(seed, "shrubs")
    forest = ((canvas.code == 3) | (canvas.code == 4)).astype(np.float32)
    edge = blur(forest, 90.0 / canvas.extent.resolution)
    steep = 5.0 * np.minimum(relief.slope, 0.15)
    score = 2.2 * edge + steep + 0.8 * broad(rng, canvas.extent, 800.0)
    shrubs = highest(
        _ragged(score.astype(np.float32), patches, rng, canvas.extent),
        canvas.open() & apart,
        round(_PARTS["shrubland"] * canvas.code.size),
    )
    canvas.paint(smooth(shrubs, 2), "shrubland", patches.labels)


def _paint_farmland(seed: int, canvas: _Canvas, relief: Relief) -> None:
    """Fields on all that is left, whole fields to a crop until its part is reached."""
    rng = stream(seed, "fields")
    extent = canvas.extent
    fields = cut_fields(rng, extent)
    still = canvas.open()
    count = int(fields.max()) + 1
    area = np.bincount(fields[still], minlength=count)
    mean_slope = np.bincount(fields[still], relief.slope[still], count) / np.maximum(area, 1)
    mean_height = np.bincount(fields[still], relief.above_river[still], count) / np.maximum(area, 1)
    wish = np.stack(
        [
            rng.normal(0, 0.8, count) + 9 * mean_slope - 0.12 * np.minimum(mean_height, 8) + 0.3,
            *rng.normal(0, 1.0, (3, count)),
        ]
    )
    left = {name: part * still.sum() for name, part in _FARMLAND.items()}
    names = list(_FARMLAND)
    crop = np.zeros(count, np.int64)
    # The fields with the strongest wish choose first; a crop that has its part is out.
    for field in np.argsort(-wish.max(axis=0), kind="stable").tolist():
        order = np.argsort(-wish[:, field])
        pick = next((k for k in order if left[names[k]] > 0), int(order[0]))
        crop[field] = pick
        left[names[pick]] -= float(area[field])
    for place, name in enumerate(names):
        canvas.paint(crop[fields] == place, name, fields)


def _ragged(score: Floats, patches: Cells, rng: np.random.Generator, extent: Extent) -> Floats:
    """A score that partly follows whole patches, so that borders are neither round nor blocky."""
    total = np.bincount(patches.labels.ravel(), score.ravel(), patches.count)
    area = np.bincount(patches.labels.ravel(), minlength=patches.count)
    mean = (total / np.maximum(area, 1)).astype(np.float32)
    mean = mean + 0.25 * float(score.std()) * rng.standard_normal(patches.count, dtype=np.float32)
    fine = 0.16 * float(score.std()) * fractal(rng, extent, 160.0, 4.0)
    return np.asarray(0.35 * score + 0.65 * mean[patches.labels] + fine, dtype=np.float32)


def _per_cell(patches: Cells, rng: np.random.Generator) -> Floats:
    """Standard normal noise, one value a cell, (rows, cols)."""
    drawn = rng.standard_normal(patches.count, dtype=np.float32)
    return np.asarray(drawn[patches.labels], dtype=np.float32)


def _whole_cells(score: Floats, patches: Cells, among: Mask, part: float) -> Mask:
    """Whole cells with the highest mean score, until they cover `part` of `among`."""
    area = np.bincount(patches.labels[among], minlength=patches.count)
    total = np.bincount(patches.labels[among], score[among], patches.count)
    order = np.argsort(-np.where(area > 0, total / np.maximum(area, 1), -np.inf), kind="stable")
    covered = np.cumsum(area[order]) - area[order] / 2
    chosen = np.zeros(patches.count, np.bool_)
    chosen[order[covered < part * area.sum()]] = True
    return chosen[patches.labels]


def _tidy(pieces: Labels, code: NDArray[np.uint8]) -> Labels:
    """Adds crumbs of farmland to the land beside them, and carries the class code along."""
    small = absorb_small(pieces, 6)
    # A piece keeps one class: take it from the pixel where the piece was before.
    first = np.zeros(int(small.max()) + 1, np.uint8)
    same = _majority(small, code)
    first[:] = same
    code[:] = first[small]
    return small


def _majority(labels: Labels, code: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Most frequent class code of each label."""
    count = int(labels.max()) + 1
    votes = np.bincount(labels.ravel().astype(np.int64) * 16 + code.ravel(), minlength=count * 16)
    return np.asarray(np.argmax(votes.reshape(count, 16), axis=1), dtype=np.uint8)


def _covers_of_pieces(
    seed: int, pieces: Labels, code: NDArray[np.uint8], towns: Towns
) -> NDArray[np.int32]:
    """A cover for each piece, drawn by the covers' shares."""
    rng = stream(seed, "covers")
    count = int(pieces.max()) + 1
    class_of = _majority(pieces, code)
    draw = rng.uniform(0, 1, count)
    cover = np.zeros(count, np.int32)
    for name, value in CODES.items():
        places, shares = covers_of(name)
        here = class_of == value
        bound = np.cumsum(shares)
        cover[here] = np.asarray(places)[
            np.minimum(np.searchsorted(bound, draw[here]), len(places) - 1)
        ]
    area = np.maximum(np.bincount(pieces.ravel(), minlength=count), 1)
    core = np.bincount(pieces.ravel(), towns.centrality.ravel(), count) / area
    built = class_of == CODES["built-up"]
    index = cover_index()
    cover[built & (core > 0.62)] = index["centre"]
    cover[built & (core <= 0.62) & (cover == index["centre"])] = index["houses"]
    road = np.bincount(pieces.ravel(), towns.roads.ravel(), count) / area
    cover[built & (road > 0.55)] = index["road"]
    return cover
