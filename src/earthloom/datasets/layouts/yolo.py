"""Boxes and outlines as YOLO has them (Redmon et al. 2016): a text file an image."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from earthloom.datasets.imagery import Imagery
from earthloom.datasets.layouts.items import Item, image_samples, numbers_of, size_or_reason
from earthloom.datasets.layouts.objects import (
    UNLABELLED_IMAGE,
    outlines,
    turned_boxes,
    upright_boxes,
)
from earthloom.datasets.layouts.yolo_settings import classes_and_images
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import DataError, LabelError
from earthloom.sample import Shape2d
from earthloom.sample.target import Boxes

_Line = tuple[int, list[float], int]
"""Number, coordinates and class code of a line."""


def read_yolo(
    folder: Path,
    imagery: Imagery,
    split: str = "train",
    data: str = "",
    classes: Sequence[str] = (),
) -> LabelledSamples:
    """The images of a split as `data.yaml` says it, with `labels/NAME.txt` for `images/NAME.jpg`.

    A line is `class x y width height`, or the class and four corners for oriented boxes, as shares
    of the image's size; an image without a file shows nothing, and is counted. Code 1 is class 0.
    LabelError for another line, with its number, DataError if no image has a file. `data` names
    other settings, such as darknet's `obj.data`. `classes`, or a file `classes.txt`, stand for
    settings that are not there; images then lie in `images/SPLIT` or `SPLIT/images`.
    """
    names, files = classes_and_images(folder, split, data, classes)
    skipped, changed, items, turned = Counter[str](), Counter[str](), list[Item](), False
    for image, size, lines in _labelled(files, imagery, len(names), skipped, changed):
        boxes, oriented = _boxes(_label_of(image), lines, size, changed)
        turned |= oriented
        items.append(Item(image, image.stem, image.stem, boxes))
    task = "oriented-boxes" if turned else "boxes"
    return image_samples(folder, task, names, imagery, items, skipped, changed)


def read_yolo_instances(
    folder: Path,
    imagery: Imagery,
    split: str = "train",
    data: str = "",
    classes: Sequence[str] = (),
) -> LabelledSamples:
    """Outlines: lines are `class x1 y1 x2 y2 x3 y3 ...`; otherwise as `read_yolo`.

    A line of a box among them is an outline of four corners.
    """
    names, files = classes_and_images(folder, split, data, classes)
    skipped, changed, items = Counter[str](), Counter[str](), list[Item]()
    for image, size, lines in _labelled(files, imagery, len(names), skipped, changed):
        things = []
        for at, given, code in lines:
            corners = _from_centre(given) if len(given) == 4 else given
            if len(corners) < 6 or len(corners) % 2:
                raise LabelError(
                    f"{_label_of(image)}, line {at}: {len(given) + 1} values; an outline has its "
                    "class, and x and y of three corners at least"
                )
            scale = np.array([size.cols, size.rows], np.float32)
            things.append(([np.array(corners, np.float32).reshape(-1, 2) * scale], code))
        items.append(Item(image, image.stem, image.stem, outlines(things, size, changed)))
    return image_samples(folder, "instances", names, imagery, items, skipped, changed)


def _labelled(
    images: Sequence[Path],
    imagery: Imagery,
    classes: int,
    skipped: Counter[str],
    changed: Counter[str],
) -> Iterator[tuple[Path, Shape2d, list[_Line]]]:
    """Each image that is there, its size, and the lines of its file."""
    without, there = 0, list[Path]()
    for image in images:
        size = size_or_reason(image, skipped, imagery)
        if size is None:
            continue
        there.append(image)
        file = _label_of(image)
        without += not file.is_file()
        yield image, size, list(_lines(file, classes)) if file.is_file() else []
    changed[UNLABELLED_IMAGE] += without
    if there and without == len(there):
        raise DataError(
            f"none of {without} images has a label file, such as {_label_of(there[0])} for "
            f"{there[0]}"
        )


def _label_of(image: Path) -> Path:
    """The text file of an image: its last folder `images` is `labels`; or it lies beside it."""
    beside = image.with_suffix(".txt")
    parts = list(image.with_suffix(".txt").parts)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    apart = Path(*parts)
    return beside if beside.is_file() and not apart.is_file() else apart


def _lines(file: Path, classes: int) -> Iterator[_Line]:
    """Number, coordinates and class code of each line."""
    for at, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        number, *given = numbers_of(parts, file, at)
        if number not in range(classes):
            raise LabelError(
                f"{file}, line {at}: class {parts[0]} is not one of 0 to {classes - 1}"
            )
        # Corners of turned boxes may lie beside the image; numbers of pixels are far greater.
        beyond = 1.0 if len(given) == 8 else 0.001
        wrong = [each for each in given if not -beyond <= each <= 1 + beyond]
        if wrong:
            raise LabelError(
                f"{file}, line {at}: {wrong[0]:g} is not between 0 and 1; coordinates are shares "
                "of the image's width and height"
            )
        yield at, given, int(number) + 1


def _boxes(
    file: Path, lines: Sequence[_Line], size: Shape2d, changed: Counter[str]
) -> tuple[Boxes, bool]:
    """The boxes of a file in pixels, and whether any is oriented."""
    upright, turned = [], []
    for at, given, code in lines:
        if len(given) not in (4, 8):
            raise LabelError(
                f"{file}, line {at}: {len(given) + 1} values; a box has 5 (class, centre, width, "
                "height) or 9 (class, four corners); outlines are read by the layout "
                "yolo-instances"
            )
        corners = given if len(given) == 8 else _from_centre(given)
        scaled = [v * (size.cols, size.rows)[k % 2] for k, v in enumerate(corners)]
        if len(given) == 8:
            turned.append((scaled, code))
        else:
            upright.append(((scaled[0], scaled[1], scaled[4], scaled[5]), code))
    found = upright_boxes(upright, size, changed), turned_boxes(turned, size, changed)
    together = Boxes(
        np.concatenate([each.corners for each in found]),
        np.concatenate([each.codes for each in found]),
    )
    return together, bool(turned)


def _from_centre(given: Sequence[float]) -> list[float]:
    """Eight coordinates of a box that is said by its centre, width and height."""
    x, y, width, height = given
    left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    return [left, top, right, top, right, bottom, left, bottom]
