"""What a simulated archive depends on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any

from earthloom.errors import ArchiveError

FORMAT = 1
"""Number of the way in which archives are made; another one makes other bytes."""


@dataclass(frozen=True)
class Faults:
    """What is wrong with the archive's items, as it is with real ones; nothing by default.

    Each is written down in `truth/faults.json`; see `simulated_index.read_faults`. The counts
    choose items at random; an item can have several faults.
    """

    brdf: bool = False
    """Reflectance depends on where the sun and the sensor stand, and items name the angles."""
    terrain: bool = False
    """Slopes are lit as they are; otherwise only a rest of it is left, as after a correction."""
    shift_px: float = 0.0
    """Standard deviation of an optical item's error of place, east and north, in pixels of 10 m."""
    quality_errors: float = 0.0
    """Part of the clear land that the quality band calls cloud, and part of the clouds that it
    calls clear, in blobs, beside the small errors that it always has."""
    wrong_offsets: int = 0
    """Sentinel-2 items that name another baseline and offset than their pixels have."""
    truncated: int = 0
    """Items with an asset that is cut off."""
    missing: int = 0
    """Items with an asset that is named and not there."""
    reprocessed: int = 0
    """Sentinel-2 items that are there in an older processing, too."""
    checksums: bool = False
    """Every asset has `file:checksum` and `file:size`, of the whole file."""
    wrong_checksums: int = 0
    """Items with an asset whose checksum is another file's; needs `checksums`."""


@dataclass(frozen=True)
class SimulationSpec:
    """A simulated archive: the same spec makes the same bytes on one machine."""

    seed: int = 0
    year: int = 2023
    size_m: float = 10_000.0
    """Side of the square window, m; a multiple of twice the resolution."""
    resolution: float = 10.0
    """Of the finest bands, m; the 20 m bands have twice that."""
    sentinel2_items: int = 48
    """Passes; across two zones each is delivered in both."""
    sentinel1_items: int = 24
    """Passes, as above."""
    two_zones: bool = False
    """Puts the window across the border of UTM zones that is nearest to `longitude`."""
    longitude: float = 11.2
    latitude: float = 48.9
    """Centre of the window, degrees."""
    baseline_change: date | None = None
    """From this date on products have baseline 05.09 and an offset, before 03.01 and none.
    In reality that was on 25 January 2022; not given, it is 1 April of the year."""
    points_per_class: int = 40
    """Labelled points."""
    polygons_per_class: int = 8
    """Labelled polygons."""
    landsat_items: int = 0
    """Landsat 8 and 9 passes, delivered in the zone of the window's centre."""
    modis_items: int = 0
    """Days of MODIS, spread over the year."""
    variability: float = 0.0
    """How far land of one class differs and classes look alike, 0 (little) to 1 (much)."""
    faults: Faults = Faults()

    @property
    def first_with_offset(self) -> date:
        """First day of products with an offset."""
        return self.baseline_change or date(self.year, 4, 1)

    def as_json(self) -> dict[str, object]:
        """The spec as the archive's manifest holds it; what is not asked for is not named."""
        values = asdict(self) | {"baseline_change": str(self.first_with_offset)}
        plain = SimulationSpec()
        for name in ("landsat_items", "modis_items", "variability", "faults"):
            if getattr(self, name) == getattr(plain, name):
                del values[name]
        return {"format": FORMAT, "spec": values}

    @property
    def has_index(self) -> bool:
        """Whether the truth has a list of items and their faults."""
        return bool(self.landsat_items or self.modis_items) or self.faults != Faults()


def spec_from_json(manifest: Mapping[str, Any]) -> SimulationSpec:
    """The spec that a manifest holds; ArchiveError for another format."""
    if manifest.get("format") != FORMAT or not isinstance(manifest.get("spec"), dict):
        raise ArchiveError(
            f"the manifest has format {manifest.get('format')}; this version reads {FORMAT}"
        )
    known = {field.name for field in fields(SimulationSpec)}
    values = {name: value for name, value in manifest["spec"].items() if name in known}
    values["baseline_change"] = date.fromisoformat(values["baseline_change"])
    values["faults"] = Faults(**values.get("faults", {}))
    return SimulationSpec(**values)


def check_spec(
    spec: SimulationSpec, most_optical: int, most_radar: int, most_landsat: int = 0
) -> None:
    """Raises ArchiveError for a spec that cannot be simulated."""
    cells = spec.size_m / spec.resolution
    faults, optical = spec.faults, spec.sentinel2_items
    limits: tuple[tuple[str, float, float, float], ...] = (
        ("seed", spec.seed, 0, 2**31 - 1),
        ("year", spec.year, 2015, 2100),
        ("resolution", spec.resolution, 1, 60),
        ("size_m", spec.size_m, 64 * spec.resolution, 60_000),
        ("sentinel2_items", spec.sentinel2_items, 1, most_optical),
        ("sentinel1_items", spec.sentinel1_items, 0, most_radar),
        ("latitude", spec.latitude, 35, 62),
        ("longitude", spec.longitude, -180, 179.9),
        ("points_per_class", spec.points_per_class, 0, 10_000),
        ("polygons_per_class", spec.polygons_per_class, 0, 1_000),
        ("landsat_items", spec.landsat_items, 0, most_landsat),
        ("modis_items", spec.modis_items, 0, 365),
        ("variability", spec.variability, 0, 1),
        ("faults.shift_px", faults.shift_px, 0, 10),
        ("faults.quality_errors", faults.quality_errors, 0, 0.5),
        ("faults.wrong_offsets", faults.wrong_offsets, 0, optical),
        ("faults.truncated", faults.truncated, 0, optical),
        ("faults.missing", faults.missing, 0, optical),
        ("faults.reprocessed", faults.reprocessed, 0, optical),
        ("faults.wrong_checksums", faults.wrong_checksums, 0, optical * faults.checksums),
    )
    for name, value, least, most in limits:
        if not least <= value <= most:
            raise ArchiveError(f"{name} is {value:g}; it must lie between {least:g} and {most:g}")
    if spec.landsat_items and spec.resolution > 30:
        raise ArchiveError(
            f"resolution is {spec.resolution:g}; with landsat_items it must be 30 at most"
        )
    if cells % 2:
        raise ArchiveError(
            f"size_m is {spec.size_m:g}; it must be a multiple of {2 * spec.resolution:g} m, "
            "twice the resolution"
        )
