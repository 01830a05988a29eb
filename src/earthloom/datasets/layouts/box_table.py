"""Tables of boxes: a row a thing, with its image, its edges and its class."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earthloom.datasets.imagery import Imagery
from earthloom.datasets.layouts.image_table import image_named, rows_of
from earthloom.datasets.layouts.items import (
    Item,
    codes_of,
    image_samples,
    missing_folder,
    size_or_reason,
)
from earthloom.datasets.layouts.objects import Bounds, checked, upright_boxes
from earthloom.datasets.layouts.tables import known_column, need, numbers, read_table, texts
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import DataError, LabelError, choices

_IMAGE = ("image", "image_path", "filename", "file_name", "path")
_LABEL = ("label", "class", "category", "name")
_EDGES = ("xmin", "ymin", "xmax", "ymax")


def read_box_table(
    folder: Path,
    imagery: Imagery,
    table: str,
    image: str = "",
    label: str = "",
    edges: Sequence[str] = _EDGES,
    images: str = "",
    split: str = "",
    split_column: str = "split",
    group: str = "",
    classes: Sequence[str] = (),
) -> LabelledSamples:
    """The rows of a table (CSV or Parquet) with a box each, as DeepForest and TensorFlow have them.

    `image` and `label` are columns, of well-known names unless said; `edges` those of left, top,
    right and bottom in pixels. A row whose edges are empty says that its image shows nothing.
    Files lie in `folder/images`; their names may lack the suffix. With `split`, rows alone whose
    `split_column` says so; classes are those of all. Boxes are cut at the image's edges; that, and
    images that are missing or broken, are counted.
    """
    file = folder / table
    if not (folder / images).is_dir():
        raise missing_folder(folder / images)
    every = read_table(file)
    rows = rows_of(every, file, split, split_column)
    image = image or _column(rows, _IMAGE, "image", file)
    label = label or _column(rows, _LABEL, "label", file)
    need(rows, [image, label, *edges, *([group] if group else [])], file)
    things = _things(rows, label, edges, file)
    names = tuple(classes) or tuple(
        sorted({name for _, name in _things(every, label, edges, file).values()})
    )
    _expect_pixels(np.array([bounds for bounds, _ in things.values()]), file)
    codes = codes_of(names)
    skipped, changed, items = Counter[str](), Counter[str](), list[Item]()
    groups = texts(rows, group or image)
    named = pd.Series(texts(rows, image))
    for name, numbered in named.groupby(named, sort=False):
        path = image_named(folder / images, str(name))
        if size := size_or_reason(path, skipped, imagery):
            here = [things[row] for row in numbered.index if row in things]
            boxes = [(bounds, _code(called, codes, file)) for bounds, called in here]
            target = upright_boxes(boxes, size, changed)
            items.append(Item(path, str(name), groups[numbered.index[0]], target))
    return image_samples(folder, "boxes", names, imagery, items, skipped, changed)


def _things(
    rows: pd.DataFrame, label: str, edges: Sequence[str], file: Path
) -> dict[int, tuple[Bounds, str]]:
    """Edges and class by the number of the row, for those that have edges."""
    bounds = np.stack([numbers(rows, edge, file) for edge in edges], axis=-1)
    return {
        at: (checked(each, f"{file}, row {rows.index[at] + 1}"), name)
        for at, (each, name) in enumerate(zip(bounds.tolist(), texts(rows, label), strict=True))
        if not np.isnan(each).all()
    }


def _expect_pixels(bounds: NDArray[np.float64], file: Path) -> None:
    """LabelError if all edges (N, 4) lie from 0 to 1."""
    if bounds.size and bounds.max() <= 1 and (bounds % 1 != 0).any():
        raise LabelError(
            f"{file}: all edges lie from 0 to {bounds.max():g}: they seem to be shares of width "
            "and height, but pixels are read; multiply them"
        )


def _code(name: str, codes: Mapping[str, int], file: Path) -> int:
    if name not in codes:
        raise LabelError(f"{file} has the class '{name}'; classes are: {choices(codes)}")
    return codes[name]


def _column(rows: pd.DataFrame, known: Sequence[str], option: str, file: Path) -> str:
    """The column of a well-known name."""
    found = known_column(rows, known)
    if found is None:
        raise DataError(
            f"the table {file} has no column {choices(known)}; name one by '{option}'; it has: "
            f"{choices(rows.columns)}"
        )
    return found
