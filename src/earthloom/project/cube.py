"""Which pixels a cube holds: period, grid, sensors, and what is done to them."""

from datetime import date
from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from earthloom.errors import DataError
from earthloom.project.settings import Settings
from earthloom.sensors import Sensor, load_sensor


class Dates(Settings):
    """A period, both days included."""

    start: date
    end: date

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"'end' ({self.end}) must not be before 'start' ({self.start})")
        return self


class Grid(Settings):
    """The base grid, the finest that the map is made on."""

    crs: str = "auto"
    """`auto` (the UTM zone of the area's middle), `native` (that of the archive's own files) or
    a code such as EPSG:32633."""
    resolution: float = Field(10.0, gt=0)
    """Metres, or whatever the CRS measures in."""
    like: str | None = None
    """With `native`: the band whose pixels are the base grid."""


class SensorChoice(Settings):
    """A sensor to use, and how its dates become the cube's time steps."""

    name: str
    bands: tuple[str, ...] = ()
    """All bands if none is named."""
    every: Literal["month", "date", "period"] = "month"
    """One time step a month, one a date, or one for the whole period; elevation is always one."""
    by: Literal["median", "mean"] | None = None
    """How the clear observations of a time step become one; by default the median of reflectance
    and the mean of backscatter, whose speckle it averages."""
    max_cloud: float = Field(100.0, ge=0, le=100)
    """Scenes whose metadata say that they are cloudier, in per cent, are left out."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        _sensor(name, info)
        return name

    @field_validator("bands")
    @classmethod
    def _bands_known(cls, bands: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "name" in info.data:
            sensor = _sensor(info.data["name"], info)
            for band in bands:
                try:
                    sensor.band(band)
                except DataError as error:
                    raise ValueError(str(error)) from None
        return bands


def _sensor(name: str, info: ValidationInfo) -> Sensor:
    try:
        return load_sensor(name, (info.context or {}).get("folder"))
    except DataError as error:
        raise ValueError(str(error)) from None
