"""Labels of single things on a grid: boxes around them, or parcels with a number each.

Boxes may also come from tables of images without georeference: COCO (Lin et al. 2014), Pascal VOC
(Everingham et al. 2010), or a CSV.
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from earthloom.chips.label_dates import EVER, Period
from earthloom.chips.label_vector import VectorLabels
from earthloom.chips.label_vocabulary import IGNORE, Vocabulary
from earthloom.errors import LabelError, choices
from earthloom.sample import UNLABELLED

_CSV = ("image", "xmin", "ymin", "xmax", "ymax", "class")


@dataclass(frozen=True)
class Boxes:
    """Upright boxes on one image."""

    bounds: NDArray[np.float32]
    """(N, 4) left, top, right, bottom in pixels from the image's upper left corner: edges, not
    centres, so that the whole image of W x H pixels is 0, 0, W, H."""
    codes: NDArray[np.uint8]
    """(N,) class codes."""


@dataclass(frozen=True)
class Parcels:
    """Things that cover pixels, such as fields."""

    ids: NDArray[np.int32]
    """(H, W) number of the parcel from 1 on, 0 where there is none or where two overlap."""
    codes: NDArray[np.uint8]
    """(K,) class of the parcels 1 to K."""
    features: NDArray[np.int64]
    """(K,) their positions in the label file from 1."""


def boxes_of(labels: VectorLabels, box: GeoBox, least_share: float = 0.0) -> Boxes:
    """The boxes around the polygons and lines of a grid, cut at its edges.

    Things of which less than `least_share` of the area (or length) lies in the grid are left out.
    """
    near = _near(labels, box)
    shapes, codes = near.geometry.to_numpy(), near["code"].to_numpy(np.uint8)
    cut = shapely.intersection(shapes, shapely.box(*box.boundingbox.bbox))
    size, whole = shapely.area(cut), shapely.area(shapes)
    line = whole == 0
    size[line], whole[line] = shapely.length(cut[line]), shapely.length(shapes[line])
    kept = (size > 0) & (size >= least_share * whole) & (codes != IGNORE)
    bounds = np.array([_pixel_bounds(shape, box) for shape in cut[kept]], np.float32)
    return Boxes(bounds.reshape(-1, 4), codes[kept])


def parcels_of(labels: VectorLabels, box: GeoBox) -> Parcels:
    """The polygons of a grid, numbered in the order of the label file; a pixel belongs to the one
    that holds its centre."""
    near = _near(labels, box)
    shapes = near[near.geometry.type.isin(["Polygon", "MultiPolygon"]) & (near["code"] != IGNORE)]
    size = (box.shape.y, box.shape.x)
    pairs = [(shape, number) for number, shape in enumerate(shapes.geometry, start=1)]
    burned = [_burn(order, box, size) for order in (pairs, pairs[::-1])]
    # First and last are the same where there is one alone.
    ids = np.where(burned[0] == burned[1], burned[0], 0)
    seen, ids = np.unique(np.append(0, ids.ravel()), return_inverse=True)
    chosen = shapes.iloc[seen[1:] - 1]
    return Parcels(
        ids[1:].reshape(size).astype(np.int32),
        chosen["code"].to_numpy(np.uint8),
        chosen["feature"].to_numpy(np.int64),
    )


def read_coco(path: Path, vocabulary: Vocabulary) -> dict[str, Boxes]:
    """The boxes of a COCO file by the images' file names; images without boxes are there as well.

    LabelError for a file that is none, an unknown class, or a box without extent.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images = {each["id"]: str(each["file_name"]) for each in content["images"]}
        names = {each["id"]: str(each["name"]) for each in content["categories"]}
        rows = [
            (images[each["image_id"]], *_from_width(each["bbox"]), names[each["category_id"]])
            for each in content["annotations"]
        ]
    except (OSError, UnicodeError, ValueError, KeyError, TypeError) as error:
        raise LabelError(f"the labels {path} are no COCO file: {error!r}") from error
    found = _boxes_by_image(rows, path, vocabulary)
    return {name: found.get(name, _none()) for name in images.values()}


def read_voc(path: Path, vocabulary: Vocabulary) -> dict[str, Boxes]:
    """The boxes of a Pascal VOC file, whose pixels count from 1, by the image's file name."""
    try:
        text = path.read_text(encoding="utf-8")
        if "<!" in text.replace("<!--", ""):
            raise LabelError(f"the labels {path} have a document type, which is not read")
        root = ET.fromstring(text)
        image = _text(root, "filename")
        rows = [
            (
                image,
                float(_text(one, "bndbox/xmin")) - 1,
                float(_text(one, "bndbox/ymin")) - 1,
                float(_text(one, "bndbox/xmax")),
                float(_text(one, "bndbox/ymax")),
                _text(one, "name"),
            )
            for one in root.iter("object")
        ]
    except (OSError, UnicodeError, ValueError, ET.ParseError) as error:
        raise LabelError(f"the labels {path} are no Pascal VOC file: {error}") from error
    return {image: _none()} | _boxes_by_image(rows, path, vocabulary)


def read_box_table(path: Path, vocabulary: Vocabulary) -> dict[str, Boxes]:
    """The boxes of a CSV with the columns image, xmin, ymin, xmax, ymax (edges) and class."""
    try:
        table = pd.read_csv(path)
    except (OSError, UnicodeError, ValueError) as error:
        words = " ".join(str(error).split())
        raise LabelError(f"the labels {path} cannot be read: {words}") from error
    missing = [column for column in _CSV if column not in table.columns]
    if missing:
        raise LabelError(
            f"the labels {path} have no column '{missing[0]}'; they have: {choices(table.columns)}"
        )
    rows = [
        (str(image), float(x0), float(y0), float(x1), float(y1), str(name))
        for image, x0, y0, x1, y1, name in zip(
            table["image"], *(pd.to_numeric(table[c], errors="coerce") for c in _CSV[1:5]),
            table["class"], strict=True,
        )
    ]  # fmt: skip
    return _boxes_by_image(rows, path, vocabulary)


_Row = tuple[str, float, float, float, float, str]


def _boxes_by_image(rows: Sequence[_Row], path: Path, vocabulary: Vocabulary) -> dict[str, Boxes]:
    found: dict[str, list[tuple[tuple[float, ...], int]]] = {}
    for number, (image, *bounds, name) in enumerate(rows, start=1):
        left, top, right, bottom = bounds
        if not (np.isfinite(bounds).all() and left < right and top < bottom):
            raise LabelError(
                f"box {number} of the labels {path} has no extent: "
                f"{choices(f'{edge:g}' for edge in bounds)} (left, top, right, bottom)"
            )
        code = vocabulary.code(name)
        if code is None:
            raise vocabulary.unknown(name, f"box {number} of the labels {path}")
        boxes = found.setdefault(image, [])
        if code not in (UNLABELLED, IGNORE):
            boxes.append((tuple(bounds), code))
    return {
        image: Boxes(
            np.array([bounds for bounds, _ in boxes], np.float32).reshape(-1, 4),
            np.array([code for _, code in boxes], np.uint8),
        )
        for image, boxes in found.items()
    }


def _near(labels: VectorLabels, box: GeoBox) -> gpd.GeoDataFrame:
    """Lines and polygons that meet a grid, in its CRS and in the order of the file."""
    here = labels.to(box).shapes
    near = here.iloc[np.sort(here.sindex.query(shapely.box(*box.boundingbox.bbox)))]
    period = labels.period or Period(*EVER)
    return near.loc[(near["first"] <= period.last) & (near["last"] >= period.first)]


def _pixel_bounds(shape: shapely.Geometry, box: GeoBox) -> tuple[float, float, float, float]:
    inverse, (left, bottom, right, top) = ~box.affine, shapely.bounds(shape)
    corners = [inverse @ (x, y) for x in (left, right) for y in (bottom, top)]
    cols, rows = zip(*corners, strict=True)
    return min(cols), min(rows), max(cols), max(rows)


def _burn(
    pairs: Sequence[tuple[shapely.Geometry, int]], box: GeoBox, size: tuple[int, int]
) -> NDArray[np.int32]:
    if not pairs:
        return np.zeros(size, np.int32)
    burned: NDArray[np.int32] = rasterize(
        pairs, out_shape=size, transform=box.affine, fill=0, dtype="int32"
    )
    return burned


def _from_width(bounds: Sequence[float]) -> tuple[float, float, float, float]:
    """COCO's left, top, width, height as edges."""
    left, top, width, height = (float(each) for each in bounds)
    return left, top, left + width, top + height


def _text(node: ET.Element, path: str) -> str:
    text = node.findtext(path)
    if text is None:
        raise ValueError(f"<{path}> is missing in <{node.tag}>")
    return text.strip()


def _none() -> Boxes:
    return Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.uint8))
