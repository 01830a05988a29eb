"""What each instrument's bands measure, as tables: one TOML file an instrument, no code.

`load_sensor("sentinel-2-l2a")` reads `sentinel-2-l2a.toml` beside this file, or a file of that name
in the folder of the project, so that a user adds an instrument without touching the package.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from earthloom.errors import DataError, choices

TABLES = Path(__file__).parent


@dataclass(frozen=True)
class Band:
    """One band of an instrument, and how its stored numbers become physical ones.

    physical = stored * scale + offset, wherever stored != nodata.
    """

    name: str
    kind: str
    """What is measured: `reflectance`, `backscatter`, `elevation` or `index`; it decides how the
    band is resampled and composited."""
    unit: str
    """Of the physical value: `1` (a ratio), `linear power`, `m`."""
    gsd: float
    """Ground sampling distance of the product in metres."""
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    wavelength_nm: float | None = None
    """Centre wavelength; None where the instrument is not optical."""
    width_nm: float | None = None
    common_name: str | None = None
    """The STAC `eo` common name, such as `red` or `nir`."""


@dataclass(frozen=True)
class Quality:
    """The product's own quality band and which of its values do not show clear ground."""

    band: str
    gsd: float
    values: Mapping[int, str]
    """Meaning of each value."""
    invalid: frozenset[int]
    """Values under which the ground was not seen clearly."""


@dataclass(frozen=True)
class OffsetRule:
    """An offset that holds from a certain value of an item's property on.

    Example: Sentinel-2 from processing baseline 04.00 has 1000 added to its stored numbers.
    """

    item_property: str
    from_value: str
    offset: float


@dataclass(frozen=True)
class Sensor:
    """One product of one instrument."""

    name: str
    title: str
    source: str
    """Where the table's figures come from."""
    bands: tuple[Band, ...]
    quality: Quality | None = None
    offset_rule: OffsetRule | None = None
    asset_names: tuple[Mapping[str, str], ...] = ()
    """For each provider, its asset name of each band; bands not named keep their own name."""

    @cached_property
    def by_name(self) -> Mapping[str, Band]:
        return {band.name: band for band in self.bands}

    def band(self, name: str) -> Band:
        """The band of that name; DataError if the sensor has none."""
        if name not in self.by_name:
            raise DataError(
                f"{self.name} has no band '{name}'; its bands are: {choices(self.by_name)}"
            )
        return self.by_name[name]

    def asset_of(self, band: str, assets: Mapping[str, object]) -> str | None:
        """Which of an item's assets holds a band, by any provider's naming; None if none does."""
        candidates = [band, *(names[band] for names in self.asset_names if band in names)]
        return next((name for name in candidates if name in assets), None)


def known_sensors(folder: Path | None = None) -> list[str]:
    """Names of all sensor tables, those of a project's folder included."""
    files = [*TABLES.glob("*.toml"), *(folder.glob("*.sensor.toml") if folder else ())]
    return sorted(file.name.removesuffix(".toml").removesuffix(".sensor") for file in files)


def load_sensor(name: str, folder: Path | None = None) -> Sensor:
    """Reads a sensor's table; `NAME.sensor.toml` in `folder` goes before the built-in one."""
    own = folder / f"{name}.sensor.toml" if folder else None
    file = own if own and own.exists() else TABLES / f"{name}.toml"
    if not file.exists():
        raise DataError(f"unknown sensor '{name}'; known are: {choices(known_sensors(folder))}")
    return parse_sensor(tomllib.loads(file.read_text(encoding="utf-8")), file.name)


def parse_sensor(table: Mapping[str, object], file: str) -> Sensor:
    """A table's content as a `Sensor`; DataError names the file and what is wrong in it."""
    try:
        return _sensor(dict(table))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the sensor table {file} is not valid: {error!r}") from error


def _sensor(table: dict) -> Sensor:  # type: ignore[type-arg]
    defaults = table.get("band_defaults", {})
    quality = table.get("quality")
    rule = table.get("offset_rule")
    return Sensor(
        name=table["name"],
        title=table["title"],
        source=table["source"],
        bands=tuple(Band(**{**defaults, **band}) for band in table["bands"]),
        quality=Quality(
            band=quality["band"],
            gsd=quality["gsd"],
            values={int(value): meaning for value, meaning in quality["values"].items()},
            invalid=frozenset(quality["invalid"]),
        )
        if quality
        else None,
        offset_rule=OffsetRule(**rule) if rule else None,
        asset_names=tuple(table.get("asset_names", {}).values()),
    )
