"""What the registry says of a published dataset, as frozen types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from earthloom.errors import DataError
from earthloom.sample import LayerSpec
from earthloom.sensors import known_sensors, load_sensor

Task = Literal[
    "scene-class",
    "scene-labels",
    "scene-value",
    "pixel-class",
    "pixel-value",
    "change",
    "boxes",
    "oriented-boxes",
    "instances",
    "series-class",
]
"""`scene-class`: one class; `scene-labels`: several. `change`: classes of pixels of two dates."""

Resolution = Literal["under 1 m", "1 to 10 m", "10 to 30 m", "over 30 m"]
Bands = Literal[
    "rgb", "rgb+nir", "multispectral", "hyperspectral", "radar", "optical+radar", "other"
]
Temporality = Literal["single date", "two dates", "series"]

STRICT: ConfigDict = {"extra": "forbid"}


@dataclass(frozen=True)
class EntryLayer:
    """Pixels of one sensor in a dataset, and how its numbers become physical ones."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    sensor: str
    """One of our sensors where there is a table, else a name of the dataset's own."""
    gsd: float
    """Metres; nominal where images differ."""
    bands: tuple[str, ...]
    """In the order of the arrays, by our sensor's names."""
    unit: str
    range: tuple[float, float]
    """Least and greatest physical value that can be; a hundredth of all values may lie outside."""
    peak: float
    """The brightest hundredth of some chips' values begins at or above this, in the physical unit:
    numbers that are scaled otherwise stay below it."""
    trough: float | None = None
    """The darkest hundredth ends at or below this."""
    scale: float = 1.0
    """physical = number * scale + offset."""
    offset: float = 0.0
    decibel: bool = False
    """Numbers are ten times the logarithm of the physical value."""
    nodata: float | None = None
    """The number of pixels without data, in all bands."""
    dates: tuple[str, ...] = ("static",)
    dates_in_bands: bool = False
    """The array's bands are all bands of the first date, then those of the second, and so on."""
    only: int | None = None
    """Which date of an array with several this layer is, from 0; all of them unless said."""
    ragged: bool = False
    """Samples may have fewer dates; those that are missing come last, and nothing is seen then."""
    wavelengths_nm: tuple[float, ...] = ()
    """Of each band, where the sensor is none of ours."""
    key: str = "image"
    """What the reader calls the array."""
    first: int = 0
    """Where the bands begin in the array."""
    factor: int = 1
    """How many pixels of the base grid one pixel is wide."""

    @cached_property
    def spec(self) -> LayerSpec:
        """The layer as chips have it."""
        waves: tuple[float | None, ...] = self.wavelengths_nm or (None,) * len(self.bands)
        if self.sensor in known_sensors():
            sensor = load_sensor(self.sensor)
            waves = tuple(sensor.band(name).wavelength_nm for name in self.bands)
        return LayerSpec(
            self.sensor, self.gsd, self.bands, self.unit, self.dates, waves, self.factor
        )

    def physical(self, numbers: NDArray[np.number]) -> NDArray[np.float32]:
        """A reader's numbers in the unit; same shape, nodata not regarded."""
        linear = np.asarray(numbers, np.float64) * self.scale + self.offset
        return (10.0 ** (linear / 10.0) if self.decibel else linear).astype(np.float32)


@dataclass(frozen=True)
class Source:
    """What reads the files."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: Literal["torchgeo", "layout", "own"]
    """A class of TorchGeo, a common layout (`earthloom.datasets.layouts`), or a reader of ours for
    this dataset alone (`earthloom.datasets.own`)."""
    reader: str
    split_key: str = "split"
    """The reader's argument that chooses the split; empty if there is none."""
    arguments: Mapping[str, str | float | int | bool | tuple[str, ...] | tuple[int, ...]] = field(
        default_factory=dict
    )
    """Further arguments of the reader."""
    target: str = ""
    """What TorchGeo's reader calls the answer."""
    images: str = ""
    """Where a sample's image lies in the folder, if TorchGeo's reader keeps its name alone: `{}` is
    that name, and SPLIT the reader's name of the split. It tells the place."""
    labels: str = ""
    """A second class of TorchGeo, whose classes of pixels lie over the first one's images; both are
    sampled by bounds, and cut into squares of the entry's size."""
    dates: str = ""
    """A pattern whose first group is a date as YYYYMMDD, in the paths of TorchGeo's reader."""


@dataclass(frozen=True)
class Capabilities:
    """By what results over many datasets are grouped (Simumba et al. 2025, GEO-Bench-2)."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    resolution: Resolution
    bands: Bands
    temporality: Temporality
    sensors: Literal["one", "several"] = "one"


@dataclass(frozen=True)
class Entry:
    """A published dataset."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    title: str
    task: Task
    licence: str
    """As published; `not stated` where the publisher says nothing."""
    citation: str
    source: Source
    layers: tuple[EntryLayer, ...]
    capabilities: Capabilities
    size: tuple[int, int] | None = None
    """Rows and columns of the images; none where they differ."""
    classes: tuple[str, ...] = ()
    """Names in the order of their codes, which count from 1."""
    values: tuple[int, ...] = ()
    """What the files hold for each class; 0, 1, ... unless said."""
    unlabelled: tuple[int, ...] = ()
    """What the files hold where there is no label."""
    colours: tuple[str, ...] = ()
    """`#rrggbb` of each class, where published."""
    unit: str = ""
    """Of values, in tasks of values."""
    splits: Mapping[str, str] = field(default_factory=lambda: {"all": ""})
    """Names of the splits as published, and what the reader calls them."""
    field_ids: tuple[int, ...] = ()
    """Systems of the field list that publish the dataset, or are measured on it."""
    note: str = ""
    """What a user must know: traps, and what is not read."""
    real: bool = False
    """Read on real data in the tests; else on fixtures in the published layout alone."""

    @cached_property
    def codes(self) -> dict[int, int]:
        """Our code of each number in the files; 0 for those without a label."""
        stored = self.values or tuple(range(len(self.classes)))
        found = {value: code for code, value in enumerate(stored, start=1)}
        return found | dict.fromkeys(self.unlabelled, 0)

    def code(self, value: int) -> int:
        """Our code of a number in the files; DataError for one that is not published."""
        if value not in self.codes:
            raise DataError(
                f"{self.name}: the label {value} is of no class; published are: "
                + ", ".join(map(str, self.codes))
            )
        return self.codes[value]
