"""What a simulated archive depends on."""

from dataclasses import asdict, dataclass
from datetime import date

from earthloom.errors import ArchiveError

FORMAT = 1
"""Number of the way in which archives are made; another one makes other bytes."""


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

    @property
    def first_with_offset(self) -> date:
        """First day of products with an offset."""
        return self.baseline_change or date(self.year, 4, 1)

    def as_json(self) -> dict[str, object]:
        """The spec as the archive's manifest holds it."""
        fields = asdict(self) | {"baseline_change": str(self.first_with_offset)}
        return {"format": FORMAT, "spec": fields}


def check_spec(spec: SimulationSpec, most_optical: int, most_radar: int) -> None:
    """Raises ArchiveError for a spec that cannot be simulated."""
    cells = spec.size_m / spec.resolution
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
    )
    for name, value, least, most in limits:
        if not least <= value <= most:
            raise ArchiveError(f"{name} is {value:g}; it must lie between {least:g} and {most:g}")
    if cells % 2:
        raise ArchiveError(
            f"size_m is {spec.size_m:g}; it must be a multiple of {2 * spec.resolution:g} m, "
            "twice the resolution"
        )
