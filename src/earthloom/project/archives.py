"""Where scenes come from."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from earthloom.project.settings import Settings


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


class CatalogArchive(Settings):
    """A static STAC catalog."""

    kind: Literal["catalog"]
    path: str
    """Its `catalog.json`."""


class DatesFile(Settings):
    """Where the dates of a folder's scenes are written down."""

    file: str
    """Path below the archive, in which fields of the archive's pattern, as `{place}`, may stand."""
    pattern: str
    """Regular expression whose first group is the date as YYYYMMDD; fields may stand in it."""


class FolderArchive(Settings):
    """A folder of image files, one file a band."""

    kind: Literal["folder"]
    path: str
    sensor: str
    pattern: str
    """Regular expression over a file's path below the folder, with named groups: `band`, and any
    of `place` (files of one place lie on one grid), `slot` (tells the dates of a place apart)
    and `date` (YYYYMMDD)."""
    dates: DatesFile | None = None

    @field_validator("pattern")
    @classmethod
    def _has_band(cls, pattern: str) -> str:
        groups = _groups(pattern)
        if "band" not in groups:
            raise ValueError(f"the pattern must have a group (?P<band>...); it has {groups}")
        return pattern

    @model_validator(mode="after")
    def _has_date(self) -> Self:
        if "date" not in _groups(self.pattern) and self.dates is None:
            raise ValueError("dates are needed: a group (?P<date>...) in 'pattern', or 'dates'")
        return self


class SeriesArchive(Settings):
    """A table of labelled pixel series: an `.npz` of X (n, t, bands), bands, y, lon, lat, dates."""

    kind: Literal["series"]
    path: str
    sensor: str


Archive = Annotated[
    SimulatedArchive | CatalogArchive | FolderArchive | SeriesArchive, Field(discriminator="kind")
]


def _groups(pattern: str) -> list[str]:
    try:
        return list(re.compile(pattern).groupindex)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
