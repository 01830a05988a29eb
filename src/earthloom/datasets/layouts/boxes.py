"""Boxes around things: COCO (Lin et al. 2014) and Pascal VOC (Everingham et al. 2010)."""

import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from earthloom.chips.label_objects import read_coco, read_voc
from earthloom.datasets.imagery import SUFFIXES, Imagery
from earthloom.datasets.layouts.items import (
    BAD_LABEL,
    MISSING,
    Item,
    codes_of,
    image_samples,
    size_or_reason,
    vocabulary_of,
)
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import DataError, LabelError
from earthloom.sample.target import Boxes, Instances, Ring


def read_coco_boxes(
    folder: Path, imagery: Imagery, annotations: str, images: str = "", classes: Sequence[str] = ()
) -> LabelledSamples:
    """The boxes of a COCO file `annotations` in `folder`, with images in `folder/images`.

    Classes are the file's categories by their ids, or `classes`. Images that are missing or broken
    are counted and left out.
    """
    file = folder / annotations
    names = tuple(classes) or tuple(_categories(_coco(file), file).values())
    skipped, items = Counter[str](), list[Item]()
    for name, boxes in read_coco(file, vocabulary_of(names)).items():
        image = folder / images / name
        if size_or_reason(image, skipped):
            target = Boxes.upright(boxes.bounds, boxes.codes)
            items.append(Item(image, name, name, target))
    return image_samples(folder, "boxes", names, imagery, items, skipped)


def read_coco_instances(
    folder: Path, imagery: Imagery, annotations: str, images: str = "", classes: Sequence[str] = ()
) -> LabelledSamples:
    """The polygons of a COCO file; as `read_coco_boxes`.

    Crowds are left out, since they are no single things. Other run-length masks are refused:
    LabelError.
    """
    file = folder / annotations
    content = _coco(file)
    ids = _categories(content, file)
    names = tuple(classes) or tuple(ids.values())
    codes = codes_of(names)
    found: dict[object, list[tuple[tuple[Ring, ...], int]]] = {}
    try:
        for each in content["annotations"]:
            if each.get("iscrowd"):
                continue
            code = codes.get(ids[each["category_id"]])
            if code is None:
                raise vocabulary_of(names).unknown(ids[each["category_id"]], str(file))
            rings = _rings(each["segmentation"], file, each.get("id"))
            found.setdefault(each["image_id"], []).append((rings, code))
        listed = [(each["id"], str(each["file_name"])) for each in content["images"]]
    except (KeyError, TypeError, ValueError) as error:
        raise LabelError(f"the labels {file} are no COCO file: {error!r}") from error
    skipped, items = Counter[str](), list[Item]()
    for number, name in listed:
        things = found.get(number, [])
        if size_or_reason(folder / images / name, skipped):
            target = Instances(
                codes=np.array([code for _, code in things], np.uint8),
                polygons=tuple(rings for rings, _ in things),
            )
            items.append(Item(folder / images / name, name, name, target))
    return image_samples(folder, "instances", names, imagery, items, skipped)


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

    With `split`, those that `folder/ImageSets/Main/SPLIT.txt` lists. The image is the one that the
    file names, or the one of the file's own name; with `images=""` it lies beside the file. Things
    without a name are of the class `unnamed`. Files that cannot be read are counted.
    """
    files = _voc_files(folder, annotations, split)
    names = tuple(classes) or _voc_classes(files)
    vocabulary = vocabulary_of(names)
    if unnamed:
        named = {"": codes_of(names).get(unnamed, 0)}
        vocabulary = replace(vocabulary, codes={**vocabulary.codes, **named})
    skipped, items = Counter[str](), list[Item]()
    for file in files:
        if not file.is_file():
            skipped[BAD_LABEL] += 1
            continue
        try:
            ET.fromstring(file.read_text(encoding="utf-8"))
        except (ET.ParseError, UnicodeError):
            skipped[BAD_LABEL] += 1
            continue
        ((name, boxes),) = read_voc(file, vocabulary).items()
        image = _voc_image(folder / images if images else file.parent, name, file.stem)
        if image is None:
            skipped[MISSING] += 1
        elif size_or_reason(image, skipped):
            target = Boxes.upright(boxes.bounds, boxes.codes)
            items.append(Item(image, file.stem, file.stem, target))
    return image_samples(folder, "boxes", names, imagery, items, skipped)


def _coco(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"the labels {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise LabelError(f"the labels {file} are no COCO file: {error}") from error
    if not isinstance(content, dict):
        raise LabelError(f"the labels {file} are no COCO file: it is not an object")
    return content


def _categories(content: Mapping[str, Any], file: Path) -> dict[object, str]:
    """Names by id, in the order of the ids."""
    try:
        pairs = {each["id"]: str(each["name"]) for each in content["categories"]}
        return dict(sorted(pairs.items()))
    except (KeyError, TypeError) as error:
        raise LabelError(f"the labels {file} are no COCO file: {error!r}") from error


def _rings(segmentation: object, file: Path, number: object) -> tuple[Ring, ...]:
    if not isinstance(segmentation, list):
        raise LabelError(
            f"annotation {number} of {file} is a run-length mask; polygons alone are read"
        )
    rings = tuple(np.array(ring, np.float32).reshape(-1, 2) for ring in segmentation)
    if not rings or any(len(ring) < 3 for ring in rings):
        raise LabelError(f"annotation {number} of {file} has a polygon of fewer than 3 corners")
    return rings


def _voc_files(folder: Path, annotations: str, split: str) -> list[Path]:
    if not (folder / annotations).is_dir():
        raise DataError(f"there is no folder {folder / annotations}")
    if not split:
        return sorted((folder / annotations).glob("*.xml"))
    listed = folder / "ImageSets" / "Main" / f"{split}.txt"
    if not listed.is_file():
        raise DataError(f"there is no list {listed} of the split '{split}'")
    lines = [line.split() for line in listed.read_text(encoding="utf-8").splitlines()]
    return [folder / annotations / f"{line[0]}.xml" for line in lines if line]


def _voc_classes(files: Sequence[Path]) -> tuple[str, ...]:
    """All names in some files, in the order of the alphabet; broken files have none."""
    found = set[str]()
    for file in files:
        try:
            root = ET.fromstring(file.read_text(encoding="utf-8"))
        except (ET.ParseError, OSError, UnicodeError):
            continue  # counted where the file's boxes are read
        found |= {(one.findtext("name") or "").strip() for one in root.iter("object")}
    return tuple(sorted(found - {""}))


def _voc_image(folder: Path, name: str, stem: str) -> Path | None:
    """The image of a file: what it names, or what is called as the file itself."""
    named = [folder / name, *(folder / f"{stem}{suffix}" for suffix in SUFFIXES)]
    return next((path for path in named if path.is_file()), None)
