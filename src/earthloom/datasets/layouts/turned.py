"""Boxes as lines of text, a file an image: YOLO (Redmon et al. 2016), DOTA (Xia et al. 2018)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from earthloom.datasets.imagery import Imagery, images_in
from earthloom.datasets.layouts.items import (
    Item,
    codes_of,
    image_samples,
    size_or_reason,
)
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample import Shape2d
from earthloom.sample.target import Boxes, Instances, Ring

_Row = tuple[list[float], int]
"""Eight coordinates in pixels, and a class code."""


def read_yolo(
    folder: Path,
    imagery: Imagery,
    split: str = "train",
    data: str = "data.yaml",
    classes: Sequence[str] = (),
) -> LabelledSamples:
    """The images of a split as `data.yaml` says it, with `labels/NAME.txt` for `images/NAME.jpg`.

    A line is `class x y width height`, or the class and four corners for oriented boxes, all
    between 0 and 1 of the image's size; an image without a file shows nothing. Code 1 is class 0.
    LabelError for another line, with its number. `classes` stand for a settings file that is not
    there; images then lie in `images/SPLIT` or `SPLIT/images`.
    """
    names, images = _yolo_images(folder, split, data, classes)
    skipped, items, turned = Counter[str](), list[Item](), False
    for image in images:
        size = size_or_reason(image, skipped)
        if size is None:
            continue
        rows, oriented = _yolo_rows(_label_of(image), size, len(names))
        turned |= oriented
        items.append(Item(image, image.stem, image.stem, _boxes(rows)))
    task = "oriented-boxes" if turned else "boxes"
    return image_samples(folder, task, names, imagery, items, skipped)


def read_yolo_instances(
    folder: Path,
    imagery: Imagery,
    split: str = "train",
    data: str = "data.yaml",
    classes: Sequence[str] = (),
) -> LabelledSamples:
    """Outlines: lines are `class x1 y1 x2 y2 x3 y3 ...`; otherwise as `read_yolo`."""
    names, images = _yolo_images(folder, split, data, classes)
    skipped, items = Counter[str](), list[Item]()
    for image in images:
        size = size_or_reason(image, skipped)
        if size is None:
            continue
        file, outlines = _label_of(image), list[tuple[Ring, ...]]()
        codes: list[int] = []
        for at, given, code in _yolo_lines(file, len(names)):
            if len(given) < 6 or len(given) % 2:
                raise LabelError(
                    f"{file}, line {at}: {len(given) + 1} values; an outline has its class, and "
                    "x and y of three corners at least"
                )
            scale = np.array([size.cols, size.rows], np.float32)
            outlines.append((np.array(given, np.float32).reshape(-1, 2) * scale,))
            codes.append(code)
        target = Instances(np.array(codes, np.uint8), polygons=tuple(outlines))
        items.append(Item(image, image.stem, image.stem, target))
    return image_samples(folder, "instances", names, imagery, items, skipped)


def read_dota(
    folder: Path,
    imagery: Imagery,
    split: str = "",
    images: str = "images",
    labels: str = "labelTxt",
    classes: Sequence[str] = (),
    difficult: bool = True,
) -> LabelledSamples:
    """Oriented boxes: `labels/NAME.txt` for `images/NAME.png`, both in `folder/split`.

    A line is `x1 y1 x2 y2 x3 y3 x4 y4 class difficult` in pixels; lines at the top such as
    `gsd:0.1` are passed over. Classes are those that the files name, in the order of the alphabet,
    or `classes`. `difficult=False` leaves out the boxes that are marked so.
    """
    root = folder / split
    pairs = [(one, root / labels / f"{one.stem}.txt") for one in images_in(root / images)]
    lines = {label: _dota_lines(label) for _, label in pairs if label.is_file()}
    found = sorted({parts[8] for each in lines.values() for _, parts in each})
    names = tuple(classes) or tuple(found)
    codes = codes_of(names)
    skipped, items = Counter[str](), list[Item]()
    for image, label in pairs:
        if label not in lines:
            skipped["without a label file"] += 1
        elif size_or_reason(image, skipped):
            rows = [
                (_numbers(parts[:8], label, at), _code(parts[8], codes, label, at))
                for at, parts in lines[label]
                if difficult or parts[9:10] != ["1"]
            ]
            items.append(Item(image, image.stem, image.stem, _boxes(rows)))
    return image_samples(folder, "oriented-boxes", names, imagery, items, skipped)


def _yolo_images(
    folder: Path, split: str, data: str, classes: Sequence[str]
) -> tuple[tuple[str, ...], list[Path]]:
    """The classes, and the images of a split."""
    if classes and not (folder / data).is_file():
        codes_of(classes)
        ways = (folder / "images" / split, folder / split / "images")
        place = next((way for way in ways if way.is_dir()), ways[0])
        return tuple(classes), images_in(place, deep=True)
    settings = _settings(folder / data)
    return _names(settings, folder / data), _images_of(settings, folder, split, folder / data)


def _settings(file: Path) -> Mapping[str, object]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"the YOLO settings {file} cannot be read: {words}") from error
    if not isinstance(found, dict):
        raise DataError(f"the YOLO settings {file} must be keys and values")
    return found


def _names(settings: Mapping[str, object], file: Path) -> tuple[str, ...]:
    names = settings.get("names")
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[at] for at in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{file}: 'names' must list the classes, or number them from 0 on")
    found = tuple(str(name) for name in names)
    codes_of(found)
    return found


def _images_of(settings: Mapping[str, object], folder: Path, split: str, file: Path) -> list[Path]:
    """The images of a split: a folder, a list of folders, or a text file of paths."""
    listed = settings.get(split) or (settings.get("valid") if split == "val" else None)
    if not listed:
        known = [key for key in ("train", "val", "test") if settings.get(key)]
        raise DataError(f"{file} has no split '{split}'; it has: {choices(known)}")
    root = folder / str(settings.get("path") or ".")
    roots = [root if root.is_dir() else folder, folder]
    found: list[Path] = []
    for each in listed if isinstance(listed, list) else [listed]:
        # Exports often say ../train/images, seen from a folder that is not there.
        ways = [*(one / str(each) for one in roots), folder / str(each).removeprefix("../")]
        place = next((way for way in ways if way.exists()), None)
        if place is None:
            raise DataError(f"{file}: the split '{split}' names {each}, which is not there")
        if place.is_dir():
            found += images_in(place, deep=True)
        else:
            lines = place.read_text(encoding="utf-8").split("\n")
            found += [place.parent / line.strip() for line in lines if line.strip()]
    return found


def _label_of(image: Path) -> Path:
    """The text file of an image: its last folder `images` is `labels`."""
    parts = list(image.with_suffix(".txt").parts)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return Path(*parts)


def _yolo_rows(file: Path, size: Shape2d, classes: int) -> tuple[list[_Row], bool]:
    """The boxes of a file in pixels, and whether any is oriented."""
    rows: list[_Row] = []
    turned = False
    for at, given, code in _yolo_lines(file, classes):
        if len(given) not in (4, 8):
            raise LabelError(
                f"{file}, line {at}: {len(given) + 1} values; a box has 5 (class, centre, width, "
                "height) or 9 (class, four corners); outlines are read by the layout "
                "yolo-instances"
            )
        turned |= len(given) == 8
        corners = given if len(given) == 8 else _from_centre(given, file, at)
        scaled = [v * (size.cols, size.rows)[k % 2] for k, v in enumerate(corners)]
        rows.append((scaled, code))
    return rows, turned


def _yolo_lines(file: Path, classes: int) -> Iterator[tuple[int, list[float], int]]:
    """Number, coordinates and class code of each line; none where there is no file."""
    if not file.is_file():
        return
    for at, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        number, *given = _numbers(parts, file, at)
        if number not in range(classes):
            raise LabelError(
                f"{file}, line {at}: class {parts[0]} is not one of 0 to {classes - 1}"
            )
        if given and (min(given) < -0.001 or max(given) > 1.001):
            raise LabelError(f"{file}, line {at}: {max(given, key=abs):g} is not between 0 and 1")
        yield at, given, int(number) + 1


def _from_centre(given: Sequence[float], file: Path, at: int) -> list[float]:
    x, y, width, height = given
    if width <= 0 or height <= 0:
        raise LabelError(f"{file}, line {at}: a box of {width:g} x {height:g} has no extent")
    left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    return [left, top, right, top, right, bottom, left, bottom]


def _dota_lines(file: Path) -> list[tuple[int, list[str]]]:
    """The lines of boxes, with their numbers."""
    found = []
    for at, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        parts = line.split()
        if not parts or line.lower().startswith(("imagesource:", "gsd:")):
            continue
        if len(parts) not in (9, 10):
            raise LabelError(
                f"{file}, line {at}: {len(parts)} values; a box has eight coordinates, its class, "
                "and whether it is difficult"
            )
        found.append((at, parts))
    return found


def _numbers(parts: Sequence[str], file: Path, at: int) -> list[float]:
    try:
        found = [float(part) for part in parts]
    except ValueError as error:
        raise LabelError(f"{file}, line {at}: {error}") from error
    if not np.isfinite(found).all():
        raise LabelError(f"{file}, line {at}: not all of {choices(parts)} are finite")
    return found


def _code(name: str, codes: Mapping[str, int], file: Path, at: int) -> int:
    if name not in codes:
        raise LabelError(f"{file}, line {at}: unknown class '{name}'; known: {choices(codes)}")
    return codes[name]


def _boxes(rows: Sequence[_Row]) -> Boxes:
    corners = np.array([corners for corners, _ in rows], np.float32).reshape(-1, 4, 2)
    return Boxes(corners, np.array([code for _, code in rows], np.uint8))
