"""The chip: pixels of one place, by layer, with everything that a model must know about them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError, choices
from earthloom.sample.place import Place, Shape2d
from earthloom.sample.target import Target, shape_of

UNLABELLED = 0
"""The label of a pixel that has none; class codes start at 1, and a map's nodata is 0 as well."""

IGNORE = 255
"""The label of a pixel that must not be used, whatever else is said of it; `UNLABELLED` pixels are
those of which nothing is said.

Both may be in the label of a chip, in memory and in a store, and neither is ever a class: losses,
metrics and counts of labelled pixels pass them over. They differ where labels are made: another
label, or a background class, may fill what is `UNLABELLED`, and never what is `IGNORE`.
"""


@dataclass(frozen=True)
class Measure:
    """What a band measures, beyond the centre of its wavelength; None where nobody says."""

    width_nm: float | None = None
    frequency_ghz: float | None = None
    """Of a radar, its centre."""
    polarisation: str | None = None
    """As `VV`."""


@dataclass(frozen=True)
class LayerSpec:
    """What the pixels of one sensor at one ground sampling distance are.

    An encoder states the layers it was made for with these, and the loader compares.
    """

    sensor: str
    gsd: float
    """Metres between pixels, as the cube holds them."""
    bands: tuple[str, ...]
    unit: str
    dates: tuple[str, ...]
    """One a time step: the period of a composite (`2023-05`) or the position of a date (`1`);
    `static` where time plays no part."""
    wavelengths_nm: tuple[float | None, ...]
    """Centre of each band; None where the sensor is not optical."""
    factor: int = 1
    """How many pixels of the base grid one pixel of this layer is wide."""
    measures: tuple[Measure, ...] = ()
    """Of each band of a sensor that is a project's own; none where the package has its table."""

    @property
    def key(self) -> str:
        """The layer's name in cubes, stores and models: `sentinel-2-l2a_20m`."""
        return f"{self.sensor}_{self.gsd:g}m"

    def to_json(self) -> dict[str, Any]:
        """The specification as JSON values."""
        return {n: list(v) if isinstance(v, tuple) else v for n, v in asdict(self).items()}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "LayerSpec":
        """A specification from what `to_json` made."""
        fields: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in value.items()
        }
        measures = tuple(Measure(**each) for each in fields.pop("measures", ()))
        return LayerSpec(**fields, measures=measures)

    def with_bands(self, positions: Sequence[int]) -> "LayerSpec":
        """The same layer with some of its bands, in this order."""
        return replace(
            self,
            bands=tuple(self.bands[at] for at in positions),
            wavelengths_nm=tuple(self.wavelengths_nm[at] for at in positions),
            measures=tuple(self.measures[at] for at in positions) if self.measures else (),
        )

    def check(self, given: "LayerSpec") -> None:
        """ContractError if `given` is not what this specification asks for."""
        for what in ("sensor", "gsd", "bands", "unit", "factor"):
            wanted, came = getattr(self, what), getattr(given, what)
            if wanted != came:
                raise ContractError(
                    f"the model expects {what} = {wanted} in layer {self.key}, but got {came}"
                )
        if len(self.dates) != len(given.dates):
            raise ContractError(
                f"the model expects {len(self.dates)} dates ({choices(self.dates)}) in layer "
                f"{self.key}, but got {len(given.dates)} ({choices(given.dates)})"
            )


@dataclass(frozen=True)
class Layer:
    """Pixels of one sensor at one ground sampling distance."""

    spec: LayerSpec
    pixels: NDArray[np.float32]
    """(T, C, H, W) in the spec's unit; NaN where `valid` is False."""
    valid: NDArray[np.bool_]
    """(T, H, W): True where the ground was seen in every band."""
    days: NDArray[np.int32]
    """(T,) days since 1970-01-01 of each date, the middle of a composite's period."""

    def __post_init__(self) -> None:
        times, bands, rows, cols = self.pixels.shape
        expected = (len(self.spec.dates), len(self.spec.bands))
        if (times, bands) != expected:
            raise ContractError(
                f"layer {self.spec.key} has {times} dates and {bands} bands; "
                f"its specification says {expected[0]} and {expected[1]}"
            )
        if self.valid.shape != (times, rows, cols) or self.days.shape != (times,):
            raise ContractError(
                f"layer {self.spec.key}: valid {self.valid.shape} and days {self.days.shape} "
                f"do not fit pixels {self.pixels.shape} (T, C, H, W)"
            )


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of every band on every date over a whole place.

    They tell what is unusual in a place from what its seasons and its light do to all of it. The N
    variables stand in the order of the layers, then of their dates, then of their bands.
    """

    mean: NDArray[np.float32]
    """(N,) in the layers' units."""
    covariance: NDArray[np.float32]
    """(N, N)."""


@dataclass(frozen=True)
class Chip:
    """A sample: the layers of one place, and its label where it has one."""

    id: str
    shape: Shape2d
    """Of the base grid, the finest; a layer of factor f has this shape divided by f."""
    layers: Mapping[str, Layer]
    """By the key of their specification."""
    label: NDArray[np.uint8] | None = None
    """(H, W) class codes on the base grid, `UNLABELLED` where there is none, `IGNORE` where it must
    not be used."""
    group: str = ""
    """What must not be split between training and test: a place, a block, a date."""
    place: Place | None = None
    """Absent for a photograph, or for a bare pixel series."""
    moments: Moments | None = None
    """Of the whole place that the chip was cut from, where a model compares with it."""
    weight: NDArray[np.float32] | None = None
    """(H, W) how much the label or value of a pixel counts, 0 and above; None for 1 wherever there
    is one. 2 is the same pixel twice, 0 is no label. It says nothing where there is none. A class,
    value or count of the whole chip counts as their mean."""
    target: Target | None = None
    """The answer, where it is not class codes of pixels: classes or a value of the whole chip,
    values of pixels, boxes, instances, counts. Its pixels are those of the base grid."""

    def __post_init__(self) -> None:
        known = None if self.target is None else shape_of(self.target)
        if known is not None and known != tuple(self.shape):
            raise ContractError(
                f"chip {self.id} has {self.shape.rows} x {self.shape.cols} pixels, "
                f"and an answer of {known[0]} x {known[1]}"
            )
        if self.weight is not None:
            self._check_weight(self.weight)

    def _check_weight(self, weight: NDArray[np.float32]) -> None:
        if weight.shape != tuple(self.shape):
            raise ContractError(
                f"chip {self.id} has {self.shape.rows} x {self.shape.cols} pixels, and weights of "
                f"{choices(map(str, weight.shape))}"
            )
        if not (np.isfinite(weight) & (weight >= 0)).all():
            raise ContractError(
                f"chip {self.id} has label weights of {weight.min():g} to "
                f"{weight.max():g}; valid are 0 and above"
            )

    @property
    def usable_label(self) -> NDArray[np.uint8] | None:
        """(H, W) the label, `UNLABELLED` where it does not count: `IGNORE`, or weight 0."""
        if self.label is None:
            return None
        unused = self.label == IGNORE
        if self.weight is not None:
            unused |= self.weight == 0
        return np.where(unused, np.uint8(UNLABELLED), self.label)


def weight_unless_one(
    label: NDArray[np.uint8], weight: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """The weights (H, W) of a label (H, W), or None if every pixel of a class has weight 1."""
    classed = (label != UNLABELLED) & (label != IGNORE)
    return None if (weight[classed] == 1).all() else weight
