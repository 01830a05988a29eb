"""Boxes around things as Pascal VOC has them (Everingham et al. 2010): an XML file an image."""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from earthloom.datasets.imagery import SUFFIXES, Imagery
from earthloom.datasets.layouts.items import (
    BAD_LABEL,
    MISSING,
    OTHER_SIZE,
    Item,
    codes_of,
    image_samples,
    missing_folder,
    named_in,
    size_or_reason,
)
from earthloom.datasets.layouts.objects import checked, turned_boxes, upright_boxes
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample import Shape2d
from earthloom.sample.target import Boxes

_CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")


def read_voc_boxes(
    folder: Path,
    imagery: Imagery,
    annotations: str = "Annotations",
    images: str = "JPEGImages",
    split: str = "",
    classes: Sequence[str] = (),
    unnamed: str = "",
) -> LabelledSamples:
    """Pascal VOC files `folder/annotations/*.xml` with their images; pixels count from 1.

    With `split`, those that `folder/ImageSets/Main/SPLIT.txt` lists; classes are those of all. The
    image is the one that the
    file names, or the one of the file's own name; with `images=""` it lies beside the file. Things
    without a name are of the class `unnamed`. Upright boxes are cut at the image's edges; turned
    ones are a `robndbox` of four corners, or of centre, sides and angle in radians. Files that
    cannot be read are counted.
    """
    files = _files(folder, annotations, split)
    roots = {file: _root(file) for file in files}
    every = roots if classes or not split else _all(folder / annotations, roots)
    names = tuple(classes) or _classes([root for root in every.values() if root is not None])
    codes = codes_of(names)
    codes |= {"": codes[unnamed]} if unnamed in codes else {}
    skipped, changed, items, turned = Counter[str](), Counter[str](), list[Item](), False
    for file, root in roots.items():
        if root is None:
            skipped[BAD_LABEL] += 1
            continue
        named = (root.findtext("filename") or "").strip()
        image = _image(folder / images if images else file.parent, named, file.stem)
        if image is None:
            skipped[MISSING] += 1
        elif (size := size_or_reason(image, skipped, imagery)) and not _of_size(root, size):
            skipped[OTHER_SIZE] += 1
        elif size:
            boxes, oriented = _boxes(root, file, codes, size, changed)
            turned |= oriented
            items.append(Item(image, file.stem, file.stem, boxes))
    task = "oriented-boxes" if turned else "boxes"
    return image_samples(folder, task, names, imagery, items, skipped, changed)


def _boxes(
    root: ET.Element, file: Path, codes: Mapping[str, int], size: Shape2d, changed: Counter[str]
) -> tuple[Boxes, bool]:
    """The boxes of a file, and whether any is turned."""
    upright, turned = [], []
    for at, thing in enumerate(root.iter("object"), start=1):
        where = f"{file}, object {at}"
        name = (thing.findtext("name") or "").strip()
        if name not in codes:
            raise LabelError(f"{where}: unknown class '{name}'; known: {choices(codes)}")
        box, oriented = thing.find("bndbox"), thing.find("robndbox")
        if oriented is not None:
            turned.append((_corners(oriented, where), codes[name]))
        elif box is not None:
            left, top, right, bottom = (
                _number(box, key, where) for key in ("xmin", "ymin", "xmax", "ymax")
            )
            upright.append((checked((left - 1, top - 1, right, bottom), where), codes[name]))
        else:
            raise LabelError(f"{where} has no box; known are: bndbox, robndbox")
    found = upright_boxes(upright, size, changed), turned_boxes(turned, size, changed)
    corners = np.concatenate([each.corners for each in found])
    return Boxes(corners, np.concatenate([each.codes for each in found])), bool(turned)


def _of_size(root: ET.Element, size: Shape2d) -> bool:
    """Whether a file says its image's size, if it says one."""
    told = [root.findtext(f"size/{key}") or "0" for key in ("height", "width")]
    whole = [int(each) if each.strip().isdigit() else 0 for each in told]
    return not all(whole) or tuple(whole) == tuple(size)


def _corners(box: ET.Element, where: str) -> list[float]:
    """Eight coordinates of a turned box, in pixels from the upper left corner."""
    if box.find("cx") is None:
        return [_number(box, f"{axis}_{key}", where) for key in _CORNERS for axis in "xy"]
    x, y, width, height, angle = (
        _number(box, key, where) for key in ("cx", "cy", "w", "h", "angle")
    )
    along = np.array([np.cos(angle), np.sin(angle)]) * width / 2
    across = np.array([-np.sin(angle), np.cos(angle)]) * height / 2
    sides = (-along - across, along - across, along + across, across - along)
    return [float(each) for side in sides for each in side + np.array([x, y])]


def _number(box: ET.Element, key: str, where: str) -> float:
    text = box.findtext(key)
    try:
        found = float(text or "")
    except ValueError as error:
        raise LabelError(f"{where}: <{key}> is {text!r}, not a number") from error
    if not np.isfinite(found):
        raise LabelError(f"{where}: <{key}> is {text!r}, not a finite number")
    return found


def _files(folder: Path, annotations: str, split: str) -> list[Path]:
    place = folder / annotations
    if not place.is_dir():
        raise missing_folder(place)
    if not split:
        return sorted(path for path in place.glob("*.xml") if not path.name.startswith("."))
    lists = folder / "ImageSets" / "Main"
    if not (lists / f"{split}.txt").is_file():
        there = choices(sorted(path.stem for path in lists.glob("*.txt")))
        raise DataError(
            f"there is no list {lists / f'{split}.txt'} of the split '{split}'; there are: {there}"
        )
    return [place / f"{name}.xml" for name in named_in(lists / f"{split}.txt")]


def _all(place: Path, known: Mapping[Path, ET.Element | None]) -> dict[Path, ET.Element | None]:
    """What all files of the folder hold, so that classes are the same in every split."""
    files = [path for path in place.glob("*.xml") if not path.name.startswith(".")]
    return {file: known[file] if file in known else _root(file) for file in files}


def _root(file: Path) -> ET.Element | None:
    """What a file holds; None if that is no XML. Entities are not read."""
    try:
        content = file.read_bytes()
        return None if b"<!ENTITY" in content else ET.fromstring(content)
    except (ET.ParseError, OSError, ValueError, LookupError):
        return None  # counted by the caller


def _classes(roots: Sequence[ET.Element]) -> tuple[str, ...]:
    """All names in some files, in the order of the alphabet."""
    things = [one for root in roots for one in root.iter("object")]
    return tuple(sorted({(one.findtext("name") or "").strip() for one in things} - {""}))


def _image(folder: Path, name: str, stem: str) -> Path | None:
    """The image of a file: what it names, or what is called as the file itself."""
    suffixes = [each for suffix in SUFFIXES for each in (suffix, suffix.upper())]
    named = [folder / name, *(folder / f"{stem}{suffix}" for suffix in suffixes)]
    return next((path for path in named if path.is_file()), None)
