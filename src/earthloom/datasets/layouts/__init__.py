"""Readers of the common layouts of datasets, for registered ones and for one's own.

`read_layout("yolo", folder, split="train")` gives chips with their answers. Each layout's own
arguments stand at its function.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from earthloom.datasets.imagery import Imagery, hidden
from earthloom.datasets.layouts.box_table import read_box_table
from earthloom.datasets.layouts.coco import read_coco_boxes, read_coco_instances
from earthloom.datasets.layouts.dota import read_dota
from earthloom.datasets.layouts.image_pairs import read_change, read_pixel_values
from earthloom.datasets.layouts.image_table import read_image_table
from earthloom.datasets.layouts.masks import read_masks
from earthloom.datasets.layouts.points import read_points
from earthloom.datasets.layouts.scenes import read_scenes
from earthloom.datasets.layouts.series import read_npz
from earthloom.datasets.layouts.shards import read_webdataset
from earthloom.datasets.layouts.told import as_told
from earthloom.datasets.layouts.voc import read_voc_boxes
from earthloom.datasets.layouts.yolo import read_yolo, read_yolo_instances
from earthloom.datasets.samples import Expected, LabelledSamples, check_scale
from earthloom.errors import DataError, choices
from earthloom.sensors import Sensor, load_sensor

Option = str | float | int | bool | Sequence[str] | Sequence[int]

_BRIGHT = 0.026
"""The brightest hundredth of reflectance reaches this; numbers of 8 bits that are taken for ten
thousandths do not."""

_REMEDY = "Say so by 'scale' or 'nodata', or leave this out by check=False"

LAYOUTS: Mapping[str, Callable[..., LabelledSamples]] = {
    "scenes": read_scenes,
    "image-table": read_image_table,
    "masks": read_masks,
    "change": read_change,
    "pixel-values": read_pixel_values,
    "coco": read_coco_boxes,
    "coco-instances": read_coco_instances,
    "box-table": read_box_table,
    "voc": read_voc_boxes,
    "yolo": read_yolo,
    "yolo-instances": read_yolo_instances,
    "dota": read_dota,
    "points": read_points,
    "webdataset": read_webdataset,
    "series": read_npz,
}
"""By name; every one takes a folder, `Imagery`, and arguments of its own."""


def read_layout(
    layout: str,
    folder: str | Path,
    sensor: str | Sensor = "aerial-rgb",
    bands: Sequence[str] = (),
    gsd: float | None = None,
    check: bool = True,
    scale: Option | None = None,
    nodata: Option | None = None,
    **options: Option,
) -> LabelledSamples:
    """The samples of a folder in a common layout.

    `sensor`, `bands`, `gsd` (metres), `scale` and `nodata` say what the image files hold, see
    `Imagery.of`; `options` are those of the layout's function. Without `gsd`, files that have a
    place tell it. With `check`, some chips are read to see whether
    their values look like the sensor's unit. DataError for an unknown layout or option, and where
    nothing can be read.
    """
    if layout not in LAYOUTS:
        raise DataError(f"unknown layout '{layout}'; known are: {choices(LAYOUTS)}")
    read = LAYOUTS[layout]
    parameters = list(inspect.signature(read).parameters.values())[2:]
    known = [parameter.name for parameter in parameters]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise DataError(
            f"the layout '{layout}' has no option '{unknown[0]}'; it has: {choices(known)}"
        )
    place = Path(folder)
    if not place.is_dir():
        raise DataError(f"there is no folder {place}")
    needed = [p.name for p in parameters if p.default is p.empty and p.name not in options]
    if needed:
        there = choices(sorted(path.name for path in place.iterdir() if not hidden(path.name)))
        raise DataError(
            f"the layout '{layout}' needs the option '{needed[0]}'; {place} holds: {there}"
        )
    # A table beside the data goes before a built-in one of the same name.
    known_sensor = load_sensor(sensor, place) if isinstance(sensor, str) else sensor
    imagery = Imagery.of(
        known_sensor, bands, gsd, _number("scale", scale), _number("nodata value", nodata)
    )
    samples = as_told(read(place, imagery, **options), gsd)
    if check:
        check_scale(samples, _expected(samples, imagery), _REMEDY)
    return samples


def _number(what: str, given: Option | None) -> float | None:
    if not (given is None or isinstance(given, int | float)):
        raise DataError(f"the {what} must be a number, but is {given!r}")
    return given


def _expected(samples: LabelledSamples, imagery: Imagery) -> dict[str, Expected]:
    """What the sensor's table allows, for layers where it says so of every band."""
    found = {}
    for key, spec in samples.specs.items():
        bands = [imagery.sensor.band(name) for name in spec.bands]
        ranges = [band.valid_range for band in bands if band.valid_range is not None]
        if len(ranges) == len(bands):
            low, high = min(each[0] for each in ranges), max(each[1] for each in ranges)
            reflective = any(band.kind == "reflectance" for band in bands)
            found[key] = Expected((low, high), _BRIGHT if reflective else low)
    return found
