"""Where scenes come from."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from earthloom.project.settings import Settings

ISO = "iso"
"""The date format that stands for ISO 8601."""

_DAYS = ("Ymd", "ymd", "Yj", "yj", "YBd", "Ybd", "ybd", "yBd")
"""Letters of `strptime` that make a day."""


class SimulatedFaults(Settings):
    """What is wrong with the simulated items; nothing by default."""

    brdf: bool = False
    """Reflectance hangs on where sun and satellite stand."""
    terrain: bool = False
    """Slopes are lit as they face the sun."""
    shift_px: float = Field(0.0, ge=0, le=10)
    """Standard deviation of how far an item lies off, in pixels of 10 m."""
    quality_errors: float = Field(0.0, ge=0, le=0.5)
    """Part of the clear land called cloud, and of the clouds called clear."""
    wrong_offsets: int = Field(0, ge=0)
    """Items that say another offset than their pixels have."""
    truncated: int = Field(0, ge=0)
    """Items with a file that is cut off."""
    missing: int = Field(0, ge=0)
    """Items with a file that is not there."""
    reprocessed: int = Field(0, ge=0)
    """Items that are delivered in an older processing as well."""
    checksums: bool = False
    """Items say the checksums of their files."""
    wrong_checksums: int = Field(0, ge=0)
    """Items with a checksum that is another file's."""


class SimulatedArchive(Settings):
    """The built-in simulated Earth; its catalog is made on first use."""

    kind: Literal["simulated"]
    path: str = "archive"
    """Folder that the catalog is written to."""
    year: int = Field(2023, ge=2017, le=2035)
    size_m: int = Field(10_000, ge=1_000, le=100_000)
    sentinel2_items: int = Field(48, ge=12, le=73)
    sentinel1_items: int = Field(24, ge=12, le=61)
    two_zones: bool = False
    landsat_items: int = Field(0, ge=0, le=92)
    modis_items: int = Field(0, ge=0, le=365)
    variability: float = Field(0.0, ge=0, le=1)
    """How much fields of one class differ; 0 is an easy world, 1 a hard one."""
    faults: SimulatedFaults = SimulatedFaults()


class NoSign(Settings):
    """The files are open to everyone."""

    kind: Literal["none"]


class HeaderSign(Settings):
    """A secret from an environment variable goes with each request, as an HTTP header."""

    kind: Literal["header"]
    variable: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the environment variable; the secret itself never stands in a file."""
    name: str = Field("Authorization", pattern=r"^[A-Za-z0-9-]+$")
    prefix: str = "Bearer "
    hosts: tuple[str, ...] = ()
    """Host names that are sent the secret; by default the archive's own alone."""


class PlanetaryComputerSign(Settings):
    """Tokens of Microsoft's Planetary Computer for its files in Azure blob storage."""

    kind: Literal["planetary-computer"]
    token_url: str = "https://planetarycomputer.microsoft.com/api/sas/v1/token"


class PluginSign(Settings):
    """A signer of an installed package, as an entry point of the group `earthloom.signers`."""

    kind: Literal["plugin"]
    name: str


Sign = Annotated[
    NoSign | HeaderSign | PlanetaryComputerSign | PluginSign, Field(discriminator="kind")
]


class Remote(Settings):
    """How an archive on the network is asked."""

    sign: Sign = NoSign(kind="none")
    """What opens files that are not open to everyone."""
    requests_per_second: float = Field(10.0, gt=0)
    retries: int = Field(5, ge=0, le=20)
    """Further tries of a request that fails in passing."""
    timeout_s: float = Field(30.0, gt=0)


class CatalogArchive(Remote):
    """A static STAC catalog."""

    kind: Literal["catalog"]
    path: str = Field(min_length=1)
    """Its `catalog.json`: a file, or an http(s) address."""


class ApiArchive(Remote):
    """A STAC API that can search."""

    kind: Literal["api"]
    url: str = Field(pattern=r"^https?://[^/\s]+")
    """Its landing page."""
    collections: Mapping[str, str] = {}
    """Collection id of each sensor; by default the first of those that the sensor's table knows
    and the API has."""
    page_size: int = Field(100, ge=1, le=10_000)
    """Items that an answer holds at most."""


class GeoParquetArchive(Settings):
    """Items of a catalog as one stac-geoparquet file."""

    kind: Literal["geoparquet"]
    path: str = Field(min_length=1)
    """The `.parquet`; hrefs in it that are no addresses are relative to its folder."""
    collections: Mapping[str, str] = {}
    """Collection id of each sensor; by default any of those that the sensor's table knows."""


class DatesFile(Settings):
    """Where the dates of a folder's scenes are written down."""

    file: str
    """Path below the archive, in which fields of the archive's pattern, as `{place}`, may stand."""
    pattern: str
    """Regular expression whose first group is the date, as `date_format` says; fields may stand
    in it."""


class FolderPart(Settings):
    """The files of one sensor in a folder: one file a band, or several bands in a file."""

    sensor: str
    pattern: str
    """Regular expression over a file's path below the folder, with named groups: any of `band`,
    `place` (files of one place lie on one grid), `slot` (tells the dates of a place apart) and
    `date`. The band may be the sensor's quality band."""
    date_format: str = "%Y%m%d"
    """Of dates, in the letters of `strptime`; `iso` for 2018-03-01 or 2018-03-01T10:30:00Z."""
    dates: DatesFile | None = None
    day: date | None = None
    """Of all files, where neither their names nor a file of dates tell."""
    bands: tuple[str | None, ...] = ()
    """Where the pattern has no group `band`: the band at each place of the file, from its first
    on; null for one that is passed over."""
    subdatasets: Mapping[str, str] = {}
    """Where files hold several images, as NetCDF and HDF do: the name of each band's image."""
    values: Literal["table", "file"] = "table"
    """Where scale, offset and nodata are taken from: the sensor's table, or each file itself."""

    @field_validator("date_format")
    @classmethod
    def _is_a_format(cls, text: str) -> str:
        whole = any({"%" + d for d in day} <= set(re.findall("%.", text)) for day in _DAYS)
        if text != ISO and not whole:
            raise ValueError(
                f"{text!r} does not make a day; valid: {ISO}, or a year with month and day or with "
                "the day of the year, such as %Y%m%d, %Y-%m-%d, %Y%j"
            )
        return text

    @model_validator(mode="after")
    def _knows_bands(self) -> Self:
        groups = _groups(self.pattern)
        given = [name for name in ("bands", "subdatasets") if getattr(self, name)]
        if "band" not in groups and not given:
            raise ValueError(
                "the pattern must have a group (?P<band>...), or 'bands' or 'subdatasets' must say "
                f"what a file holds; the pattern has {groups}"
            )
        if "band" in groups and given:
            raise ValueError(f"the pattern's group 'band' and {given[0]!r} exclude each other")
        named = [band for band in self.bands if band is not None]
        if len(set(named)) < len(named) or (self.bands and not named):
            raise ValueError(f"'bands' must name each band once; it has {list(self.bands)}")
        return self

    @model_validator(mode="after")
    def _has_date(self) -> Self:
        told = ("date" in _groups(self.pattern), self.dates is not None, self.day is not None)
        if not any(told):
            raise ValueError(
                "dates are needed: a group (?P<date>...) in 'pattern', or 'dates', or one 'day'"
            )
        return self


class FolderArchive(FolderPart):
    """A folder of image files of one sensor or several."""

    kind: Literal["folder"]
    path: str
    more: tuple[FolderPart, ...] = ()
    """Files of other sensors in the same folder; places of one name are one place."""

    @property
    def parts(self) -> Mapping[str, FolderPart]:
        """What the folder holds, by sensor."""
        return {part.sensor: part for part in (self, *self.more)}

    @model_validator(mode="after")
    def _one_part_a_sensor(self) -> Self:
        if len(self.parts) <= len(self.more):
            raise ValueError(
                "each sensor of 'more' must be another one, and not that of the folder"
            )
        return self


class SeriesArchive(Settings):
    """A table of labelled pixel series: an `.npz` of X (n, t, bands), bands, y, lon, lat, dates."""

    kind: Literal["series"]
    path: str
    sensor: str


Archive = Annotated[
    SimulatedArchive
    | CatalogArchive
    | ApiArchive
    | GeoParquetArchive
    | FolderArchive
    | SeriesArchive,
    Field(discriminator="kind"),
]


def _groups(pattern: str) -> list[str]:
    try:
        return list(re.compile(pattern).groupindex)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
