"""The truth of a simulated archive for scoring: its faults, and reflectance without them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from earthloom.archive.simulated_faults import ItemFaults
from earthloom.archive.simulated_files import read_json
from earthloom.archive.simulated_plan import SceneGrid
from earthloom.archive.simulated_spec import Faults, spec_from_json
from earthloom.archive.simulated_stac import Json
from earthloom.archive.simulated_studio import Studio, open_studio
from earthloom.errors import ArchiveError, choices
from earthloom.world import Geometry, Sun, World, instruments
from earthloom.world.noise import Floats

_FILE = Path("truth", "faults.json")


@dataclass(frozen=True, eq=False)
class FaultIndex:
    """What is wrong in an archive."""

    faults: Faults
    """What was asked for."""
    items: Mapping[str, ItemFaults]
    """Every optical item by its id."""


def index_as_json(faults: Faults, items: Iterable[ItemFaults]) -> Json:
    """The index as `truth/faults.json` holds it."""
    return {"faults": asdict(faults), "items": {item.item: asdict(item) for item in items}}


def read_faults(folder: Path) -> FaultIndex:
    """The index of an archive; ArchiveError where it has none."""
    if not (folder / _FILE).exists():
        raise ArchiveError(
            f"{folder} has no {_FILE.as_posix()}: it is no simulated archive, or one without "
            "faults, Landsat and MODIS"
        )
    held = read_json(folder / _FILE)
    items = {name: ItemFaults(**fields) for name, fields in held["items"].items()}
    return FaultIndex(Faults(**held["faults"]), items)


def true_grid(folder: Path) -> SceneGrid:
    """The grid of `truth_reflectance`, and of the other rasters of the truth: the world's own."""
    return _studio(folder.resolve()).layout.home


def true_world(folder: Path) -> World:
    """The world of an archive, made from its manifest."""
    return _studio(folder.resolve()).world


def truth_reflectance(
    folder: Path,
    when: int | str,
    bands: tuple[str, ...],
    instrument: str = "msi",
    sun_zenith: float | None = None,
) -> Floats:
    """Surface reflectance (band, rows, cols) on the world's own grid, unit 1, without any fault.

    `when` is a day of the year or the id of an optical item, `instrument` one of `msi`, `oli` and
    `modis`, whose bands are named as in its collection. Seen from the zenith under the sun of
    Sentinel-2's pass on that day, or under a sun at `sun_zenith` degrees; that is what observations
    become when they are brought to one geometry.
    """
    known = instruments()
    if instrument not in known:
        raise ArchiveError(f"there is no instrument '{instrument}'; there are: {choices(known)}")
    sensor = known[instrument]
    unknown = [band for band in bands if band not in sensor.bands]
    if unknown:
        raise ArchiveError(
            f"{instrument} has no band '{unknown[0]}'; its bands are: {choices(sensor.bands)}"
        )
    world = true_world(folder)
    day = when if isinstance(when, int) else _day_of(folder, when)
    geometry = None
    if sun_zenith is not None:
        geometry = Geometry(Sun(world.sun(day).azimuth, 90.0 - sun_zenith))
    places = [sensor.bands.index(band) for band in bands]
    return sensor.look(world.reflectance(day, geometry=geometry))[places]


def _day_of(folder: Path, item: str) -> int:
    items = read_faults(folder).items
    if item not in items:
        raise ArchiveError(f"{folder} has no optical item '{item}'")
    return items[item].day


@lru_cache(maxsize=2)
def _studio(folder: Path) -> Studio:
    manifest = folder / "simulation.json"
    if not manifest.exists():
        raise ArchiveError(f"{folder} is no simulated archive: it has no simulation.json")
    return open_studio(spec_from_json(read_json(manifest)))
