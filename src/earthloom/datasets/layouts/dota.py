"""Oriented boxes as DOTA has them (Xia et al. 2018): a text file an image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from earthloom.datasets.imagery import Imagery, folders_in, hidden, images_in
from earthloom.datasets.layouts.items import (
    Item,
    codes_of,
    image_samples,
    missing_folder,
    numbers_of,
    size_or_reason,
)
from earthloom.datasets.layouts.objects import turned_boxes
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import LabelError, choices

_Line = tuple[int, list[str], str, str]
"""Number, eight coordinates, class, and whether it is difficult."""


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
    `gsd:0.1` are passed over. Classes are those that the files of all splits name, in the order of
    the alphabet, or `classes`. `difficult=False` leaves out the boxes that are marked so. Boxes
    beside the image or without extent are counted and left out.
    """
    root = folder / split
    for place in (root / images, root / labels):
        if not place.is_dir():
            raise missing_folder(place)
    pairs = [(one, root / labels / f"{one.stem}.txt") for one in images_in(root / images)]
    lines = {label: _lines(label) for _, label in pairs if label.is_file()}
    names = tuple(classes) or _names(folder, split, labels)
    codes, skipped, changed, items = codes_of(names), Counter[str](), Counter[str](), list[Item]()
    for image, label in pairs:
        if label not in lines:
            skipped["without a label file"] += 1
        elif size := size_or_reason(image, skipped, imagery):
            rows = [
                (numbers_of(parts, label, at), _code(name, codes, label, at))
                for at, parts, name, hard in lines[label]
                if difficult or hard != "1"
            ]
            items.append(Item(image, image.stem, image.stem, turned_boxes(rows, size, changed)))
    return image_samples(folder, "oriented-boxes", names, imagery, items, skipped, changed)


def _names(folder: Path, split: str, labels: str) -> tuple[str, ...]:
    """The classes of a split and of those beside it, so that codes are the same in all."""
    above = (folder / split).parent if split else folder
    places = [each / labels for each in folders_in(above)] if split else [folder / labels]
    files = [file for place in places for file in place.glob("*.txt") if not hidden(file.name)]
    return tuple(sorted({name for file in files for _, _, name, _ in _lines(file)}))


def _lines(file: Path) -> list[_Line]:
    """The lines of boxes; the name of a class may have spaces."""
    found = []
    for at, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        parts = line.split()
        if not parts or line.lower().startswith(("imagesource:", "gsd:")):
            continue
        if len(parts) < 9:
            raise LabelError(
                f"{file}, line {at}: {len(parts)} values; a box has eight coordinates, its class, "
                "and whether it is difficult, with spaces between"
            )
        marked = len(parts) > 9 and parts[-1] in ("0", "1", "2")
        name = " ".join(parts[8:-1] if marked else parts[8:])
        found.append((at, parts[:8], name, parts[-1] if marked else "0"))
    return found


def _code(name: str, codes: Mapping[str, int], file: Path, at: int) -> int:
    if name not in codes:
        raise LabelError(f"{file}, line {at}: unknown class '{name}'; known: {choices(codes)}")
    return codes[name]
