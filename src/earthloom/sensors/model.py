"""What an instrument's table says, as frozen types."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import DataError, choices

KindName = Literal[
    "reflectance",
    "radiance",
    "backscatter",
    "temperature",
    "elevation",
    "index",
    "angle",
    "class",
    "quantity",
    "counts",
]

Meaning = Literal[
    "fill",
    "defective",
    "saturated",
    "cloud",
    "cirrus",
    "shadow",
    "snow",
    "water",
    "dark",
    "land",
    "vegetation",
    "bare",
    "adjacent",
    "aerosol",
    "unclassified",
]
"""What a quality value can say of a pixel, in one vocabulary for all products. `cloud` is any
cloud but thin cirrus, `adjacent` is next to a cloud, `dark` is a dark area of unknown cause."""

Transform = Literal["linear", "square", "decibel", "brightness"]
"""How stored numbers become physical ones; see `to_physical`."""

HIDES: frozenset[Meaning] = frozenset(
    {"fill", "defective", "saturated", "cloud", "cirrus", "shadow", "snow"}
)
"""Under these the ground is not seen clearly, unless a project says otherwise."""


@dataclass(frozen=True)
class Kind:
    """How a kind of measurement is resampled and composited; policy hangs on it, never on dtype."""

    continuous: bool
    """Values between two measured ones make sense: interpolated and averaged. Else the nearest
    pixel counts, or the most frequent one."""
    static: bool = False
    """Time plays no part; one time step, whatever the period."""
    composite: Literal["median", "mean", "newest"] = "median"
    """What becomes of several clear observations if the project does not say."""


KINDS: Mapping[KindName, Kind] = {
    "reflectance": Kind(continuous=True),
    "radiance": Kind(continuous=True),
    "backscatter": Kind(continuous=True, composite="mean"),  # averages speckle, in linear power
    "temperature": Kind(continuous=True),
    "elevation": Kind(continuous=True, static=True, composite="mean"),
    "index": Kind(continuous=True),
    "angle": Kind(continuous=True, composite="mean"),
    "class": Kind(continuous=False, composite="newest"),
    "quantity": Kind(continuous=True, composite="mean"),
    "counts": Kind(continuous=True),  # as a camera counted, of no calibrated unit
}


@dataclass(frozen=True)
class Band:
    """One band of an instrument, and how its stored numbers become physical ones.

    physical = stored * scale + offset, wherever stored != nodata; for some products there is a
    `transform` as well, or the scale is another one in every scene.
    """

    name: str
    kind: KindName
    """What is measured; see `KINDS`."""
    unit: str
    """Of the physical value: `1` (a ratio), `linear power`, `m`, `K`."""
    gsd: float
    """Ground sampling distance of the product in metres."""
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    valid_range: tuple[float, float] | None = None
    """Least and greatest physical value that the product's definition allows."""
    wavelength_nm: float | None = None
    """Centre wavelength; None where the instrument is not optical."""
    width_nm: float | None = None
    frequency_ghz: float | None = None
    """Centre frequency of a radar."""
    polarisation: str | None = None
    """Sent and received, such as `VH`."""
    common_name: str | None = None
    """The STAC `eo` common name, such as `red` or `nir`."""
    transform: Transform = "linear"
    constants: tuple[float, float] | None = None
    """K1 (in the unit of radiance) and K2 (K), which the transform `brightness` needs."""
    index: int = 1
    """Which band of the file, from 1, where one file holds several of the product's bands."""
    per_scene: bool = False
    """Scale and offset change from scene to scene, and count only where a scene's own metadata say
    them; the table's say what is usual."""
    over_sun: bool = False
    """What is stored is reflectance times the cosine of the sun's zenith: scale and offset are
    divided by it, scene by scene."""

    def physical(self, stored: NDArray[np.number]) -> NDArray[np.float64]:
        """Stored numbers in the band's unit, by the table's own scale and offset; NaN for nodata.
        Same shape."""
        found = to_physical(stored, self.scale, self.offset, self.transform, self.constants)
        return found if self.nodata is None else np.where(stored == self.nodata, np.nan, found)

    @property
    def policy(self) -> Kind:
        """How the band is resampled and composited."""
        return KINDS[self.kind]


def to_physical(
    stored: NDArray[np.number],
    scale: float,
    offset: float,
    transform: Transform = "linear",
    constants: tuple[float, float] | None = None,
) -> NDArray[np.float64]:
    """Stored numbers in their physical unit; same shape, nodata not regarded.

    - `linear`: stored * scale + offset.
    - `square`: stored ** 2 * scale + offset, of radar amplitude whose square is power.
    - `decibel`: 10 ** ((stored * scale + offset) / 10), of power stored as its logarithm.
    - `brightness`: K2 / ln(K1 / (stored * scale + offset) + 1), kelvin, of thermal radiance: the
      inverse of Planck's law with a band's `constants` K1 and K2 (Chander et al. 2009); NaN where
      the radiance is not above 0.
    """
    numbers = np.asarray(stored, np.float64)
    if transform == "square":
        return numbers**2 * scale + offset
    linear: NDArray[np.float64] = numbers * scale + offset
    if transform == "decibel":
        return 10.0 ** (linear / 10.0)
    if transform == "brightness":
        k1, k2 = _needed(constants)
        return k2 / np.log(k1 / np.where(linear > 0, linear, np.nan) + 1.0)
    return linear


def to_stored(
    physical: NDArray[np.number],
    scale: float,
    offset: float,
    transform: Transform = "linear",
    constants: tuple[float, float] | None = None,
) -> NDArray[np.float64]:
    """The numbers, not rounded, that `to_physical` makes these of; same shape."""
    values = np.asarray(physical, np.float64)
    if transform == "decibel":
        values = 10.0 * np.log10(values)
    elif transform == "brightness":
        k1, k2 = _needed(constants)
        values = k1 / (np.exp(k2 / values) - 1.0)
    numbers: NDArray[np.float64] = (values - offset) / scale
    return np.sqrt(numbers) if transform == "square" else numbers


def _needed(constants: tuple[float, float] | None) -> tuple[float, float]:
    if constants is None:
        raise DataError("a band with the transform 'brightness' needs its constants K1 and K2")
    return constants


@dataclass(frozen=True)
class State:
    """One thing that a quality band says: under which stored numbers it holds.

    Either whole `values`, or a field of `length` bits from bit `bit` (0 is the least) that holds
    one of `values`.
    """

    means: Meaning
    values: tuple[int, ...]
    bit: int | None = None
    length: int = 1
    note: str = ""
    """In the words of the product's handbook."""

    def where(self, stored: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Where stored numbers say so; same shape."""
        field = stored if self.bit is None else (stored >> self.bit) & ((1 << self.length) - 1)
        return np.isin(field, self.values)


@dataclass(frozen=True)
class Quality:
    """The product's own quality band."""

    band: str
    gsd: float
    states: tuple[State, ...]
    hides: frozenset[Meaning] = HIDES
    """Meanings under which the ground was not seen clearly."""
    index: int = 1
    """Which band of the file, from 1."""

    @property
    def meanings(self) -> frozenset[Meaning]:
        """All that the band can say."""
        return frozenset(state.means for state in self.states)

    def where(self, stored: NDArray[np.integer], meanings: Iterable[Meaning]) -> NDArray[np.bool_]:
        """Where stored numbers (H, W), of an integer dtype, say any of some meanings; (H, W)."""
        wanted = set(meanings)
        found = np.zeros(stored.shape, np.bool_)
        for state in self.states:
            if state.means in wanted:
                found |= state.where(stored)
        return found


@dataclass(frozen=True)
class ClassValue:
    """One class of a product's own map."""

    value: int
    name: str


@dataclass(frozen=True)
class OffsetRule:
    """An offset that holds from a certain value of an item's property on, or at that value alone.

    Example: Sentinel-2 from processing baseline 04.00 has 1000 added to its stored numbers.
    """

    item_property: str
    offset: float
    from_value: str | None = None
    """The rule holds where the property is this or comes after it: as numbers where both are
    numbers, else as text."""
    before_value: str | None = None
    """The rule holds where the property comes before this."""
    equals: str | float | bool | None = None
    """The rule holds where the property is this."""
    over_item: bool = False
    """The rule goes before what the item's own `raster:bands` say, which are known to be wrong."""

    def holds(self, properties: Mapping[str, object]) -> bool:
        """Whether the rule holds for an item with these properties."""
        if self.item_property not in properties:
            return False
        value = properties[self.item_property]
        if value is None:
            return False
        if self.from_value is not None:
            return not _before(value, self.from_value)
        if self.before_value is not None:
            return _before(value, self.before_value)
        if isinstance(self.equals, bool):  # tables of items hold truth as text
            return str(value).lower() == str(self.equals).lower()
        return value == self.equals


def _before(value: object, limit: str) -> bool:
    try:
        return float(str(value)) < float(limit)
    except ValueError:
        return str(value) < limit


@dataclass(frozen=True)
class Provider:
    """One archive that holds a product, and what it calls things."""

    name: str
    collections: tuple[str, ...]
    """STAC collection ids."""
    assets: Mapping[str, str]
    """Asset name of each band; bands not named keep their own name."""
    every: str | None = None
    """The asset that holds all bands, in the order of their `index`; the quality band not."""


@dataclass(frozen=True)
class Sensor:
    """One product of one instrument."""

    name: str
    title: str
    source: str
    """Where the table's figures come from."""
    bands: tuple[Band, ...]
    quality: Quality | None = None
    offset_rules: tuple[OffsetRule, ...] = ()
    """The first that holds counts."""
    providers: tuple[Provider, ...] = ()
    platforms: tuple[str, ...] = ()
    """The only satellites whose items are of the product, where a collection holds several
    instruments' items; STAC's `platform` in small letters. Any if none is named."""
    classes: tuple[ClassValue, ...] = ()
    """What the values of bands of the kind `class` mean."""

    @cached_property
    def by_name(self) -> Mapping[str, Band]:
        return {band.name: band for band in self.bands}

    @property
    def static(self) -> bool:
        """Whether time plays no part in any band."""
        return all(band.policy.static for band in self.bands)

    @property
    def collections(self) -> tuple[str, ...]:
        """STAC collection ids that hold the product, our own name first."""
        named = (each for provider in self.providers for each in provider.collections)
        return tuple(dict.fromkeys((self.name, *named)))

    def band(self, name: str) -> Band:
        """The band of that name; DataError if the sensor has none."""
        if name not in self.by_name:
            raise DataError(
                f"{self.name} has no band '{name}'; its bands are: {choices(self.by_name)}"
            )
        return self.by_name[name]

    def asset_of(self, band: str, assets: Mapping[str, object]) -> str | None:
        """Which of an item's assets holds a band, by any provider's naming; None if none does."""
        named = (p.assets[band] for p in self.providers if band in p.assets)
        whole = (p.every for p in self.providers if p.every and band in self.by_name)
        return next((name for name in (band, *named, *whole) if name in assets), None)

    def has_platform(self, platform: str | None) -> bool:
        """Whether items of a satellite can be of the product; those that name none can."""
        return platform is None or not self.platforms or platform in self.platforms
