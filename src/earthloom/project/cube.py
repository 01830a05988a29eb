"""Which pixels a cube holds: period, grid, sensors, and what is done to them."""

import re
from datetime import date
from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from earthloom.errors import DataError, choices
from earthloom.project.settings import Settings
from earthloom.sensors import Meaning, Sensor, load_sensor


class Dates(Settings):
    """A period, both days included."""

    start: date
    end: date

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"'end' ({self.end}) must not be before 'start' ({self.start})")
        return self


class CellArea(Settings):
    """Cells of the Major TOM grid."""

    cells: tuple[str, ...] = Field(min_length=1)
    """Their names, such as 433U_1014R."""
    distance_km: float = Field(10.0, gt=0)
    """Distance of the grid's lines."""


class Grid(Settings):
    """The base grid, the finest that the map is made on."""

    crs: str = "auto"
    """`auto` (the UTM zone of the area's middle), `native` (that of the archive's own files) or
    a code such as EPSG:32633."""
    resolution: float = Field(10.0, gt=0)
    """Metres, or whatever the CRS measures in."""
    anchor: tuple[float, float] = (0.0, 0.0)
    """A point, in the CRS, that a corner of pixels lies on: (15, 15) for Landsat's own pixels."""
    like: str | None = None
    """With `native`: the band whose pixels are the base grid."""


COMPOSITES = (
    *("median", "mean", "newest", "medoid", "nearest-median", "geomedian", "best-pixel"),
    *("max-ndvi", "max", "min", "count"),
    *("harmonic", "harmonic-robust", "harmonic-2", "harmonic-2-robust"),
)
"""How the observations of a time step become one; percentiles, `p0` to `p100`, besides."""

HARMONISE = ("align", "topography", "nbar", "bandpass", "speckle")
"""What can be done to make scenes comparable; always in this order."""

PERIODS = ("date", "dekad", "month", "quarter", "season", "phenology", "year", "period")
"""What a time step can be; `16 days` and the like besides."""


class MaskChoice(Settings):
    """What hides the ground in a sensor's scenes."""

    hide: tuple[Meaning, ...] | None = None
    """Meanings of the quality band under which a pixel counts as not seen; by default those that
    the sensor's table names."""
    dilate_m: dict[Meaning, float] = Field(default_factory=dict)
    """Metres around pixels of a meaning that are hidden as well."""
    detector: str | None = None
    """A cloud detector that hides what the quality band misses."""
    least_probability: float = Field(0.5, gt=0, le=1)
    """Of the detector's, from which on a pixel counts as hidden."""


class SeriesChoice(Settings):
    """A regular series without gaps, made of a sensor's time steps."""

    method: Literal["whittaker", "linear", "nearest", "akima"] = "whittaker"
    """`whittaker` smooths; the others interpolate."""
    every: str | None = None
    """The length of its time steps, as of a sensor; by default the sensor's own."""
    smoothing: float = Field(1e4, gt=0, le=1e9)
    """Of `whittaker`, in days cubed: the greater the smoother."""
    most_gap_days: float = Field(90, gt=0)
    """Between two observations further apart nothing is made up."""
    hold_days: float = Field(15, ge=0)
    """Before the first and after the last observation their values are held for so many days."""

    @field_validator("every")
    @classmethod
    def _every_regular(cls, every: str | None) -> str | None:
        if every in ("date", "phenology", "period"):
            raise ValueError(f"'{every}' is no regular length; valid: dekad, month, '16 days', ...")
        return None if every is None else _length(every)


class SensorChoice(Settings):
    """A sensor to use, and how its dates become the cube's time steps."""

    name: str
    bands: tuple[str, ...] = ()
    """All bands if none is named."""
    every: str = "month"
    """A time step a `month`, `dekad`, `quarter`, `season` (of three months), `year` or `date`,
    every so many days (`16 days`), one for each stage of the place's own vegetation (`phenology`),
    or one for the whole `period`; elevation is always one."""
    by: str | None = None
    """How the clear observations of a time step become one; by default the median of reflectance
    and the mean of backscatter, whose speckle it averages."""
    mask: MaskChoice = MaskChoice()
    harmonise: tuple[str, ...] = ()
    """What is done to make scenes comparable: `align`, `topography`, `nbar`, `bandpass` for
    optical ones, `speckle` for radar."""
    indices: tuple[str, ...] = ()
    """Spectral indices, such as NDVI, that stand beside the bands that they are made of."""
    series: SeriesChoice | None = None
    """Makes the time steps a regular series without gaps."""
    wrong_offsets: Literal["report", "repair"] = "report"
    """What is done about scenes whose pixels tell that their offset is wrong: `repair` reads them
    with the one that fits."""
    max_cloud: float = Field(100.0, ge=0, le=100)
    """Scenes whose metadata say that they are cloudier, in per cent, are left out."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        _sensor(name, info)
        return name

    @field_validator("every")
    @classmethod
    def _every_known(cls, every: str) -> str:
        return _length(every)

    @field_validator("by")
    @classmethod
    def _by_known(cls, by: str | None) -> str | None:
        percentile = re.fullmatch(r"p(\d{1,3}(?:\.\d+)?)", by or "")
        if by is None or by in COMPOSITES or (percentile and float(percentile[1]) <= 100):
            return by
        raise ValueError(f"unknown '{by}'; valid: {choices(COMPOSITES)}, p0 to p100")

    @field_validator("harmonise")
    @classmethod
    def _harmonise_known(cls, steps: tuple[str, ...]) -> tuple[str, ...]:
        for step in steps:
            if step not in HARMONISE:
                raise ValueError(f"unknown '{step}'; valid: {choices(HARMONISE)}")
        return steps

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


def _length(every: str) -> str:
    if every not in PERIODS and not re.fullmatch(r"[1-9]\d{0,3} days?", every):
        raise ValueError(f"unknown '{every}'; valid: {choices(PERIODS)}, or as '16 days'")
    return every


def _sensor(name: str, info: ValidationInfo) -> Sensor:
    try:
        return load_sensor(name, (info.context or {}).get("folder"))
    except DataError as error:
        raise ValueError(str(error)) from None
