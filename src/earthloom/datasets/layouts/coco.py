"""COCO (Lin et al. 2014): one JSON file of boxes and outlines for a folder of images."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earthloom.datasets.imagery import Imagery
from earthloom.datasets.layouts.items import (
    MISSING,
    OTHER_SIZE,
    Item,
    codes_of,
    image_samples,
    size_or_reason,
)
from earthloom.datasets.layouts.objects import CROWD, Bounds, checked, outlines, upright_boxes
from earthloom.datasets.layouts.rle import rings_of_runs
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample import Shape2d
from earthloom.sample.target import Ring


@dataclass(frozen=True)
class _Coco:
    """What a COCO file says."""

    file: Path
    images: Mapping[object, str]
    """File names by id."""
    sizes: Mapping[str, Shape2d | None]
    """Of images by file name, where the file says them."""
    categories: Mapping[object, str]
    """Names by id, in the order of the ids."""
    notes: Mapping[str, Sequence[Mapping[str, Any]]]
    """Annotations by file name, without crowds."""
    crowds: int

    def where(self, note: Mapping[str, Any]) -> str:
        return f"{self.file}, annotation {note.get('id', '(no id)')}"

    def code(self, note: Mapping[str, Any], codes: Mapping[str, int]) -> int:
        name = self.categories[note["category_id"]]
        if name not in codes:
            raise LabelError(
                f"{self.where(note)}: the category '{name}' is of no class; classes are: "
                f"{choices(codes)}"
            )
        return codes[name]

    def bounds(self, note: Mapping[str, Any]) -> Bounds:
        """The box of an annotation; the one around its polygons where it has none."""
        where = self.where(note)
        try:
            if "bbox" in note:
                left, top, width, height = (float(each) for each in note["bbox"])
                return checked((left, top, left + width, top + height), where)
            corners = np.concatenate(_polygons(note["segmentation"]))
            return checked([*corners.min(axis=0), *corners.max(axis=0)], where)
        except (KeyError, TypeError, ValueError) as error:
            raise LabelError(
                f"{where} has no 'bbox' of left, top, width, height: {error!r}"
            ) from error

    def rings(self, note: Mapping[str, Any], size: Shape2d) -> list[Ring]:
        """The outlines of an annotation, of polygons or of a run-length mask."""
        try:
            segmentation = note["segmentation"]
            if isinstance(segmentation, Mapping):
                return rings_of_runs(segmentation, size)
            return _polygons(segmentation)
        except (KeyError, TypeError, ValueError) as error:
            words = f"'segmentation': {error!r}" if isinstance(error, KeyError) else str(error)
            raise LabelError(
                f"{self.where(note)}: no polygon and no run-length mask can be read: {words}"
            ) from error


def read_coco_boxes(
    folder: Path, imagery: Imagery, annotations: str, images: str = "", classes: Sequence[str] = ()
) -> LabelledSamples:
    """The boxes of a COCO file `annotations` in `folder`, with images in `folder/images`.

    Classes are the file's categories by their ids, or `classes`. Boxes are cut at the edges of
    their image. Crowds, and boxes without extent, are left out and counted; so are images that are
    missing or broken.
    """
    coco = _read(folder / annotations)
    names = tuple(classes) or tuple(coco.categories.values())
    codes, skipped, items = codes_of(names), Counter[str](), list[Item]()
    changed = Counter({CROWD: coco.crowds})
    for name, image, size in _images(coco, imagery, folder / images, skipped):
        rows = [(coco.bounds(note), coco.code(note, codes)) for note in coco.notes[name]]
        items.append(Item(image, name, name, upright_boxes(rows, size, changed)))
    return image_samples(folder, "boxes", names, imagery, items, skipped, changed)


def read_coco_instances(
    folder: Path, imagery: Imagery, annotations: str, images: str = "", classes: Sequence[str] = ()
) -> LabelledSamples:
    """The outlines of a COCO file, polygons or run-length masks; as `read_coco_boxes`."""
    coco = _read(folder / annotations)
    names = tuple(classes) or tuple(coco.categories.values())
    codes, skipped, items = codes_of(names), Counter[str](), list[Item]()
    changed = Counter({CROWD: coco.crowds})
    for name, image, size in _images(coco, imagery, folder / images, skipped):
        things = [(coco.rings(note, size), coco.code(note, codes)) for note in coco.notes[name]]
        items.append(Item(image, name, name, outlines(things, size, changed)))
    return image_samples(folder, "instances", names, imagery, items, skipped, changed)


def _images(
    coco: _Coco, imagery: Imagery, folder: Path, skipped: Counter[str]
) -> Iterator[tuple[str, Path, Shape2d]]:
    """File name, file and size of every image that is there."""
    names = dict.fromkeys(coco.images.values())
    for name in names:
        image = _image(coco.file, folder, name)
        size = size_or_reason(image, skipped, imagery)
        if size is not None and coco.sizes[name] not in (None, size):
            skipped[OTHER_SIZE] += 1
        elif size is not None:
            yield name, image, size
    if names and skipped[MISSING] == len(names):
        raise DataError(
            f"none of the {len(names)} images of {coco.file} is there, such as {image}; say where "
            "they are by 'images'"
        )


def _image(file: Path, folder: Path, name: str) -> Path:
    """Where an image lies. Some tools write `..\\images\\a.jpg`, and put the file elsewhere."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    ways = [folder.joinpath(*parts), folder / parts[-1], file.parent.joinpath(*parts)]
    return next((way for way in ways if way.is_file()), ways[0])


def _read(file: Path) -> _Coco:
    content = _content(file)
    images = {each["id"]: str(each["file_name"]) for each in _listed(content, "images", file)}
    categories = {each["id"]: str(each["name"]) for each in _listed(content, "categories", file)}
    named = [f"{number} {name}" for number, name in categories.items()]
    notes: dict[str, list[Mapping[str, Any]]] = {name: [] for name in images.values()}
    crowds = 0
    for note in _listed(content, "annotations", file):
        where = f"{file}, annotation {note.get('id', '(no id)')}"
        if note["image_id"] not in images:
            raise LabelError(
                f"{where}: the image {note['image_id']} is none of the {len(images)} in 'images'"
            )
        if note["category_id"] not in categories:
            raise LabelError(
                f"{where}: the category {note['category_id']} is not there; there are: "
                f"{choices(named)}"
            )
        if note.get("iscrowd"):
            crowds += 1
        else:
            notes[images[note["image_id"]]].append(note)
    try:
        ordered = dict(sorted(categories.items()))
    except TypeError as error:
        raise LabelError(f"the labels {file} are no COCO file: {error}") from error
    sizes = {str(each["file_name"]): _size(each) for each in content["images"]}
    return _Coco(file, images, sizes, _without_families(ordered, content), notes, crowds)


def _size(image: Mapping[str, Any]) -> Shape2d | None:
    rows, cols = image.get("height"), image.get("width")
    return Shape2d(int(rows), int(cols)) if rows and cols else None


def _without_families(
    categories: Mapping[object, str], content: Mapping[str, Any]
) -> Mapping[object, str]:
    """Categories without those that nothing is of, and that are the family of others: Roboflow
    writes such a one."""
    used = {note["category_id"] for note in content["annotations"]}
    families = {each.get("supercategory") for each in content["categories"]}
    return {
        number: name
        for number, name in categories.items()
        if number in used or name not in families or len(categories) == 1
    }


def _content(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        near = sorted(path.name for path in file.parent.glob("*.json")) or ["no JSON file"]
        raise DataError(
            f"the labels {file} cannot be read: {error.strerror}; beside it: {choices(near)}"
        ) from error
    except ValueError as error:
        raise LabelError(f"the labels {file} are no COCO file: {error}") from error
    if not isinstance(content, dict):
        raise LabelError(f"the labels {file} are no COCO file: it is not an object")
    return content


_KEYS = {
    "images": ("id", "file_name"),
    "categories": ("id", "name"),
    "annotations": ("image_id", "category_id"),
}


def _listed(content: Mapping[str, Any], key: str, file: Path) -> Sequence[Mapping[str, Any]]:
    """One of the lists of the file; LabelError if an entry lacks a key."""
    found = content.get(key)
    if not isinstance(found, list):
        raise LabelError(
            f"the labels {file} are no COCO file: there must be a list '{key}'; "
            f"the keys are: {choices(content)}"
        )
    for at, each in enumerate(found):
        missing = [name for name in _KEYS[key] if not isinstance(each, dict) or name not in each]
        if missing:
            raise LabelError(
                f"the labels {file} are no COCO file: {key}[{at}] has no '{missing[0]}'"
            )
    return found


def _polygons(segmentation: object) -> list[Ring]:
    """Rings of lists of numbers x, y, x, y, ...; ValueError for an odd number of them."""
    if not isinstance(segmentation, list):
        raise ValueError(f"{segmentation!r} is no list of polygons")
    rings = [np.array(ring, np.float32) for ring in segmentation]
    if any(ring.ndim != 1 or ring.size % 2 or not np.isfinite(ring).all() for ring in rings):
        raise ValueError("a polygon must be finite numbers x, y, x, y, ...")
    return [ring.reshape(-1, 2) for ring in rings]
