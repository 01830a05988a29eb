"""Tables of images: a row an image, with its class, its classes, or a number."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from earthloom.datasets.imagery import SUFFIXES, Imagery
from earthloom.datasets.layouts.items import (
    Item,
    codes_of,
    image_samples,
    missing_folder,
    size_or_reason,
)
from earthloom.datasets.layouts.tables import (
    classes_in,
    is_list,
    need,
    numbers,
    read_table,
    texts,
    values_in,
    words_in,
)
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample.target import SceneClasses, Target


def read_image_table(
    folder: Path,
    imagery: Imagery,
    table: str,
    image: str = "image",
    label: str = "",
    between: str = "",
    labels: Sequence[str] = (),
    value: str = "",
    unit: str = "1",
    images: str = "",
    split: str = "",
    split_column: str = "split",
    group: str = "",
    classes: Sequence[str] = (),
) -> LabelledSamples:
    """The rows of a table (CSV or Parquet) whose column `image` names files in `folder/images`.

    The answer is the class in the column `label`; several with `between` between them; the
    `labels`, columns of 0 and 1, one a class; or the number in the column `value`, in `unit`.
    A cell may be a list, as Parquet has them and Python writes them. Classes are those of all
    splits. Names may lack their suffix, and paths of another machine count from where they are
    found. With `split`, rows alone whose `split_column` says so. Rows without an answer, and images
    that are missing or broken, are counted.
    """
    file = folder / table
    if not (folder / images).is_dir():
        raise missing_folder(folder / images)
    every = read_table(file)
    rows = rows_of(every, file, split, split_column)
    if sum(map(bool, (label, labels, value))) != 1:
        raise DataError(
            f"{file}: name one kind of answer: 'label', 'labels' or 'value'; the columns are: "
            f"{choices(rows.columns)}"
        )
    answered = [column for column in (label, value) if column]
    need(rows, [image, *answered, *labels, *([group] if group else [])], file)
    known = rows.dropna(subset=[image, *answered])
    if known[image].map(lambda cell: isinstance(cell, dict | bytes)).any():
        raise DataError(
            f"the column '{image}' of {file} holds images themselves, but their paths are read; "
            "write them into files, a folder for each class, and take the layout 'scenes'"
        )
    skipped = +Counter({"without an answer": len(rows) - len(known)})
    if label and not classes:
        classes = _classes(every[label].dropna(), between, file)
    several = bool(between or labels or (label and known[label].map(is_list).any()))
    names, answers = _answers(known, label, between, labels, value, unit, classes, file)
    groups = texts(known, group) if group else [""] * len(known)
    items = list[Item]()
    for name, answer, together in zip(texts(known, image), answers, groups, strict=True):
        path = image_named(folder / images, name)
        if size_or_reason(path, skipped, imagery):
            items.append(Item(path, name, together or name, answer))
    task = "scene-value" if value else "scene-labels" if several else "scene-class"
    return image_samples(folder, task, names, imagery, items, skipped)


def rows_of(rows: pd.DataFrame, file: Path, split: str, column: str) -> pd.DataFrame:
    """The rows of a table, with `split` those whose column says so; DataError if none does."""
    if not split:
        return rows
    need(rows, [column], file)
    kept = rows[rows[column].astype(str) == split]
    if not len(kept):
        raise DataError(
            f"{file} has no row of the split '{split}'; the column '{column}' holds: "
            f"{choices(sorted(rows[column].astype(str).unique()))}"
        )
    return kept


def _answers(
    rows: pd.DataFrame,
    label: str,
    between: str,
    labels: Sequence[str],
    value: str,
    unit: str,
    classes: Sequence[str],
    file: Path,
) -> tuple[tuple[str, ...], tuple[Target, ...]]:
    if value:
        return (), values_in(rows, value, unit, file)
    if label:
        return classes_in(_words(rows[label], between), classes, file)
    codes = codes_of(labels)
    shown = {name: numbers(rows, name, file) for name in labels}
    wrong = [name for name, column in shown.items() if not set(column) <= {0.0, 1.0}]
    if wrong:
        raise LabelError(f"the column '{wrong[0]}' of {file} must hold 0 or 1 in every row")
    found = (
        tuple(code for name, code in codes.items() if shown[name][at]) for at in range(len(rows))
    )
    return tuple(labels), tuple(SceneClasses(each) for each in found)


def _words(column: pd.Series, between: str) -> list[list[str]]:
    """The words of each cell."""
    return [[one for one in words_in(each, between) if one] for each in column]


def _classes(column: pd.Series, between: str, file: Path) -> tuple[str, ...]:
    return classes_in(_words(column, between), (), file)[0]


def image_named(folder: Path, name: str) -> Path:
    """The file that a table names, with or without its suffix; of a path that is not there, what
    its end names."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    suffixes = ["", *(each for suffix in SUFFIXES for each in (suffix, suffix.upper()))]
    tails = ["/".join(parts[at:]) for at in range(len(parts))]
    ways = (folder / f"{tail}{suffix}" for tail in tails for suffix in suffixes)
    return next((way for way in ways if way.is_file()), folder / name)
