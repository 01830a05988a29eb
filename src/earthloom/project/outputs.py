"""What is made of finished maps, who publishes them, and what energy is reckoned with."""

from typing import Literal

from pydantic import Field

from earthloom.project.settings import Settings


class PolygonChoice(Settings):
    """How polygons are made of a map."""

    formats: tuple[Literal["gpkg", "parquet", "fgb"], ...] = Field(("gpkg",), min_length=1)
    """GeoPackage, GeoParquet, FlatGeobuf."""
    minimum_area_m2: float = Field(0.0, ge=0)
    """The minimum mapping unit: smaller patches join the class that borders on them most."""
    simplify_m: float = Field(0.0, ge=0)
    """Metres of the steps that are taken out of borders; 0 keeps the outlines of pixels."""
    corners: bool = False
    """Whether pixels that touch with a corner alone are of one patch."""


class ProviderChoice(Settings):
    """Who made, paid for or keeps the maps."""

    name: str = Field(min_length=1)
    roles: tuple[Literal["licensor", "producer", "processor", "host"], ...] = ("producer",)
    url: str | None = None
    description: str | None = None


class PublishChoice(Settings):
    """What people are told of the maps, and may do with them."""

    title: str | None = None
    description: str | None = None
    licence: str = Field("other", pattern=r"^[A-Za-z0-9.+-]+$")
    """A name of the SPDX list, such as `CC-BY-4.0`, or `other`."""
    licence_url: str | None = None
    providers: tuple[ProviderChoice, ...] = ()
    keywords: tuple[str, ...] = ()


class EnergyChoice(Settings):
    """What energy, carbon and cost of a run are reckoned with."""

    watts_per_core: float = Field(8.0, ge=0)
    """Of a core at work, where its energy cannot be measured."""
    watts_per_gb: float = Field(0.375, ge=0)
    """Of memory in use, where its energy cannot be measured."""
    grams_per_kwh: float | None = Field(None, ge=0)
    """Carbon dioxide equivalent of the electricity."""
    price_per_kwh: float | None = Field(None, ge=0)
    price_per_hour: float | None = Field(None, ge=0)
    """Of the machine, as a cloud bills it."""
    currency: str | None = None
