"""HRSC2016 (Liu et al. 2017): ships with turned boxes."""

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np

from earthloom.datasets.model import Entry
from earthloom.datasets.own.files import inside, text_of
from earthloom.datasets.own.rasters import Scene, raster_samples
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import LabelError
from earthloom.sample.target import Boxes

_BOX = ("mbox_cx", "mbox_cy", "mbox_w", "mbox_h", "mbox_ang")


def read_hrsc(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """`FullDataSet/AllImages/NAME.bmp` with `FullDataSet/Annotations/NAME.xml`, and the lists
    `ImageSets/SPLIT.txt`; in the folder or in `HRSC2016`. Every kind of ship is one class."""
    root = inside(folder, "HRSC2016")
    base, skipped, scenes = root / "FullDataSet", Counter[str](), list[Scene]()
    for name in text_of(root / "ImageSets" / f"{entry.splits[split]}.txt").split():
        image, notes = base / "AllImages" / f"{name}.bmp", base / "Annotations" / f"{name}.xml"
        if not image.is_file() or not notes.is_file():
            skipped["not whole"] += 1
            continue
        files = (((image,),),)
        scenes.append(Scene(name, name, files, ((),), image, answer=_ships(notes)))
    return raster_samples(entry, folder, scenes, skipped, None)


def _ships(file: Path) -> Boxes:
    """Boxes by centre, width, height, and the angle in radians by which they are turned to the
    right, as images show it."""
    try:
        things = list(ET.fromstring(text_of(file)).iter("HRSC_Object"))
        rows = [[float(str(thing.findtext(key))) for key in _BOX] for thing in things]
    except (ET.ParseError, ValueError) as error:
        raise LabelError(f"{file} is no annotation of HRSC2016: {error}") from error
    x, y, width, height, angle = np.array(rows, np.float64).reshape(-1, 5).T[..., None]
    right = np.array([-0.5, 0.5, 0.5, -0.5]) * width
    down = np.array([-0.5, -0.5, 0.5, 0.5]) * height
    cos, sin = np.cos(angle), np.sin(angle)
    corners = np.stack([x + right * cos - down * sin, y + right * sin + down * cos], axis=-1)
    return Boxes(corners.astype(np.float32), np.ones(len(rows), np.uint8))
