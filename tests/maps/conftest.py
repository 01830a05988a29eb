"""Small maps of several areas, as a project leaves them."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from earthloom.maps import ITEM
from earthloom.maps.cog import StripWriter, colour_table
from earthloom.maps.item import write_item
from earthloom.maps.outputs import class_outputs
from earthloom.tasks import PixelClasses

TASK = PixelClasses((1, 2, 3), ("water", "forêt", "town"), ((0, 0, 255), (0, 128, 0), (255, 0, 0)))
DAYS = (date(2023, 1, 1), date(2023, 12, 31))
BOXES = {
    "west": GeoBox.from_bbox((600_000, 5_400_000, 602_000, 5_401_000), "EPSG:32632", resolution=10),
    "east": GeoBox.from_bbox((603_000, 5_400_500, 604_000, 5_402_000), "EPSG:32632", resolution=10),
    "zone": GeoBox.from_bbox((265_000, 5_400_500, 266_000, 5_402_000), "EPSG:32633", resolution=10),
}


def write_area(folder, name, box=None, seed=0, **changes):
    """Writes the map of an area: COGs of random classes and shares, and the Item."""
    box = BOXES[name] if box is None else box
    rng = np.random.default_rng([seed, len(name)])
    place = folder / name
    place.mkdir()
    for output in class_outputs(TASK):
        writer = StripWriter(place / output.file, box, output.bands, output.nodata)
        if output.scale == 1:
            writer.file.write_colormap(1, colour_table(TASK))
        else:
            writer.file.scales = (output.scale,) * len(output.bands)
        shape = (len(output.bands), *box.shape)
        writer.write(0, rng.integers(0, 4, shape, np.uint8))
        writer.finish(output.overviews)
    settings = {"collection": "tiny"} | changes
    write_item(
        place / ITEM, f"tiny-{name}", box, None, DAYS, TASK, {"seed": 1}, ["s1", "s2"], **settings
    )
    return place


@dataclass(frozen=True)
class SmallMaps:
    """What tests of several maps share."""

    task: PixelClasses
    boxes: dict[str, GeoBox]

    def write(self, folder, name, box=None, seed=0, **changes):
        return write_area(folder, name, box, seed, **changes)


@pytest.fixture(scope="session")
def maps():
    """Writes small maps: `west` and `east` in one UTM zone, `zone` in the next."""
    return SmallMaps(TASK, BOXES)
