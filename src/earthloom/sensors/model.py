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
}


@dataclass(frozen=True)
class Band:
    """One band of an instrument, and how its stored numbers become physical ones.

    physical = stored * scale + offset, wherever stored != nodata.
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

    @property
    def policy(self) -> Kind:
        """How the band is resampled and composited."""
        return KINDS[self.kind]


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
class OffsetRule:
    """An offset that holds from a certain value of an item's property on, or at that value alone.

    Example: Sentinel-2 from processing baseline 04.00 has 1000 added to its stored numbers.
    """

    item_property: str
    offset: float
    from_value: str | None = None
    """The rule holds where the property, as text, is this or comes after it."""
    equals: str | float | bool | None = None
    """The rule holds where the property is this."""
    over_item: bool = False
    """The rule goes before what the item's own `raster:bands` say, which are known to be wrong."""

    def holds(self, properties: Mapping[str, object]) -> bool:
        """Whether the rule holds for an item with these properties."""
        if self.item_property not in properties:
            return False
        value = properties[self.item_property]
        if self.from_value is not None:
            return str(value) >= self.from_value
        return value == self.equals


@dataclass(frozen=True)
class Provider:
    """One archive that holds a product, and what it calls things."""

    name: str
    collections: tuple[str, ...]
    """STAC collection ids."""
    assets: Mapping[str, str]
    """Asset name of each band; bands not named keep their own name."""


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
        return next((name for name in (band, *named) if name in assets), None)
