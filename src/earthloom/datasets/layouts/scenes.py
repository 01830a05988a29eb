"""Folders of images, one folder a class: `train/Forest/a.jpg`."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from earthloom.datasets.imagery import Imagery, folders_in, images_in
from earthloom.datasets.layouts.items import (
    MISSING,
    Item,
    codes_of,
    image_samples,
    missing_folder,
    size_or_reason,
    without_suffix,
)
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample.target import SceneClasses

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
"""Names of folders that are splits and no classes."""


def read_scenes(
    folder: Path, imagery: Imagery, split: str = "", classes: Sequence[str] = ()
) -> LabelledSamples:
    """Images whose folder is their class; `split` is a folder between, or a list `SPLIT.txt`.

    Classes are the folders in the order of their names, those of all splits, or `classes`, of which
    each folder must be one. They may lie some folders deeper. Hidden folders are none. Without any
    folder, an image's class is its name without the number at the end: `harbor_012.jpg`. Broken
    images, and those that a list names in vain, are counted and left out.
    """
    listed = folder / f"{split}.txt" if split and not (folder / split).is_dir() else None
    if listed is not None and not listed.is_file():
        raise missing_folder(folder / split)
    root, read = _root(folder / split if split and listed is None else folder, classes)
    found = [path.name for path in folders_in(root)]
    if found and {name.casefold() for name in found} <= SPLITS and not classes:
        raise DataError(f"{root} holds the splits {choices(found)}; name one as 'split'")
    images = [path for name in found for path in images_in(root / name, deep=True)]
    kinds = {image: image.relative_to(root).parts[0] for image in images}
    if not found:
        kinds = {image: _named(image) for image in images_in(root)}
        images, read = list(kinds), ["the class in the name of an image"]
    names = tuple(classes) or tuple(sorted({*found, *_beside(folder, split), *kinds.values()}))
    _expect_known(root, kinds, names, bool(classes))
    codes, skipped, items = codes_of(names), Counter[str](), list[Item]()
    for image in images if listed is None else _listed(images, root, listed, skipped):
        if size_or_reason(image, skipped, imagery):
            id_ = image.relative_to(root).with_suffix("").as_posix()
            items.append(Item(image, id_, id_, SceneClasses((codes[kinds[image]],))))
    return image_samples(folder, "scene-class", names, imagery, items, skipped, read=read)


def _root(root: Path, classes: Sequence[str]) -> tuple[Path, list[str]]:
    """The folder that holds those of the classes: below `root` where that holds one folder alone,
    which holds folders and no image; so on from there. And words for it."""
    inside = folders_in(root)
    if len(inside) != 1 or inside[0].name in classes or inside[0].name.casefold() in SPLITS:
        return root, []
    if images_in(root) or images_in(inside[0]) or not folders_in(inside[0]):
        return root, []
    found, _ = _root(inside[0], classes)
    return found, [f"the folders in '{found.name}' are the classes"]


def _beside(folder: Path, split: str) -> set[str]:
    """The classes of the other splits, so that codes are the same in all of them."""
    if split.casefold() not in SPLITS or not (folder / split).is_dir():
        return set()
    others = [path for path in folders_in(folder) if path.name.casefold() in SPLITS]
    return {each.name for other in others for each in folders_in(_root(other, ())[0])}


def _named(image: Path) -> str:
    """The class that an image is called by: `dense residential` of `dense residential (3).jpg`."""
    return re.sub(r"[\s_.()-]*\d+[\s)]*$", "", image.stem) or image.stem


def _expect_known(root: Path, kinds: Mapping[Path, str], names: Sequence[str], given: bool) -> None:
    """Errors where there is no class, where names tell none, and for a class that is not known."""
    flat = [image for image in kinds if image.parent == root]
    if not names or (flat and not given and len(set(kinds.values())) > len(kinds) / 2):
        raise DataError(
            f"{root} holds no folder of a class"
            + (f", and names such as {flat[0].name} tell none" if flat else "")
        )
    unknown = next((image for image, name in kinds.items() if name not in names), None)
    if unknown is not None:
        where = unknown if unknown.parent == root else f"folder {root / kinds[unknown]}"
        raise LabelError(f"the {where} is of no class; classes are: {choices(names)}")


def _listed(images: Sequence[Path], root: Path, file: Path, skipped: Counter[str]) -> list[Path]:
    """The images that a list names, by their path below the root or by the end of it."""
    named: dict[str, list[Path]] = {}
    for image in images:
        parts = image.relative_to(root).with_suffix("").parts
        for at in range(len(parts)):
            named.setdefault("/".join(parts[at:]), []).append(image)
    found = []
    for line in filter(str.strip, file.read_text(encoding="utf-8-sig").splitlines()):
        name = without_suffix(line)
        same = named.get(name, [])
        if len(same) > 1:
            raise LabelError(
                f"{file}: '{name}' may be {same[0].relative_to(root)} or "
                f"{same[1].relative_to(root)}"
            )
        skipped[MISSING] += not same
        found += same
    return found
