"""The steps that a project may name, each with one contract, so that a cube can apply them in turn.

`align` moves the grid on which a scene is read, before there are pixels (`Align`). All others take
a scene's image and give it back changed (`HarmoniseStep`). They always run in the order of
`STEPS`, whatever the order in which a project names them: topography needs the light as it fell,
band-pass fits were made on reflectance seen from above.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from earthloom.archive.scene import Angles
from earthloom.cube.harmonise import radar
from earthloom.cube.harmonise.align import AlignSettings, Shift, estimate_shift
from earthloom.cube.harmonise.bandpass import HUB, adjust
from earthloom.cube.harmonise.brdf import normalise
from earthloom.cube.harmonise.topography import (
    SHADOW_REACH_M,
    Method,
    Terrain,
    TerrainSums,
    correct,
    terrain_of,
    terrain_sums,
)
from earthloom.errors import DataError, ProjectError, choices
from earthloom.sensors import Band
from earthloom.sensors.model import KindName

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SceneContext:
    """What steps know of a scene beside its image."""

    bands: tuple[Band, ...]
    """Of the image's channels."""
    pixel_m: float
    """Width of a pixel in metres."""
    platform: str | None = None
    """Such as `sentinel-2a`."""
    angles: Angles | None = None
    elevation: Floats | None = None
    """Metres, (H + 2 m, W + 2 m), where m is `elevation_margin` and (H, W) the image's shape."""
    elevation_margin: int = 0
    """Pixels that the elevation reaches beyond the image on each side."""
    terrain_c: Mapping[str, float] | None = None
    """c of each band by name, as `fit_c` found it for the whole scene."""


class HarmoniseStep(Protocol):
    """One change of a scene's image towards comparability."""

    @property
    def name(self) -> str:
        """As a project names it."""
        ...

    def needs_margin(self, pixel_m: float) -> int:
        """Pixels around a tile that the image must have for the tile to come out as the whole."""
        ...

    def elevation_margin(self, pixel_m: float) -> int:
        """Pixels that the elevation must reach beyond the image; 0 where none is needed."""
        ...

    def apply(self, image: Floats, context: SceneContext) -> Floats:
        """An image (C, H, W) in physical units to the same shape; NaN stays NaN.

        Channels of kinds that the step is not for stay as they are. DataError where the context
        lacks what the step needs.
        """
        ...


@dataclass(frozen=True)
class Align:
    """Finds how a scene lies beside a reference; the reader moves its grid (`shifted_box`)."""

    settings: AlignSettings = AlignSettings()
    name: str = "align"

    def shift(self, image: Floats, reference: Floats) -> Shift | None:
        """As `estimate_shift`; None means that the scene is read where it says that it is."""
        return estimate_shift(image, reference, self.settings)


@dataclass(frozen=True)
class Topography:
    """Takes the sun's play on slopes out of reflectance; see `topography`."""

    method: Method = "scs+c"
    name: str = "topography"

    def needs_margin(self, pixel_m: float) -> int:
        return 0

    def elevation_margin(self, pixel_m: float) -> int:
        # A shadow's ray reads the pixels on both sides of its line; slopes read one more.
        return int(SHADOW_REACH_M / pixel_m) + 2

    def sums(self, image: Floats, context: SceneContext) -> TerrainSums:
        """What a part of the scene adds to the fit of c, for its reflectance bands in order."""
        terrain, _ = self._terrain(image, context)
        return terrain_sums(image[_of_kind(context.bands, "reflectance")], terrain)

    def apply(self, image: Floats, context: SceneContext) -> Floats:
        terrain, angles = self._terrain(image, context)
        places = _of_kind(context.bands, "reflectance")
        fitted = context.terrain_c
        names = [context.bands[place].name for place in places]
        if fitted is None or not set(names) <= set(fitted):
            raise DataError(
                "the step 'topography' needs c of every band, fitted over the scene, for: "
                f"{choices(names)}; it has: {choices(fitted or ())}"
            )
        out = image.copy()
        c = tuple(fitted[name] for name in names)
        out[places] = correct(image[places], terrain, angles, c, self.method)
        return out

    def _terrain(self, image: Floats, context: SceneContext) -> tuple[Terrain, Angles]:
        angles, margin = _angles(context, self.name), context.elevation_margin
        if context.elevation is None:
            raise DataError("the step 'topography' needs an elevation layer, and there is none")
        shape = (image.shape[1] + 2 * margin, image.shape[2] + 2 * margin)
        if context.elevation.shape != shape:
            raise DataError(
                f"elevation of shape {context.elevation.shape} does not fit an image of shape "
                f"{image.shape[1:]} with a margin of {margin}"
            )
        whole = terrain_of(context.elevation, context.pixel_m, angles)
        inner = np.s_[margin : shape[0] - margin, margin : shape[1] - margin]
        parts = (whole.slope[inner], whole.aspect[inner], whole.cos_i[inner], whole.lit[inner])
        return Terrain(*parts), angles


@dataclass(frozen=True)
class Nbar:
    """Reflectance as if seen from straight above; see `brdf`."""

    sun_zenith_out: float | None = None
    """Degrees where the sun shall stand; where it stood, if not given."""
    name: str = "nbar"

    def needs_margin(self, pixel_m: float) -> int:
        return 0

    def elevation_margin(self, pixel_m: float) -> int:
        return 0

    def apply(self, image: Floats, context: SceneContext) -> Floats:
        angles = _angles(context, self.name)
        places = _of_kind(context.bands, "reflectance")
        out, bands = image.copy(), [context.bands[place] for place in places]
        out[places] = normalise(image[places], bands, angles, self.sun_zenith_out)
        return out


@dataclass(frozen=True)
class Bandpass:
    """One instrument's bands as another's; see `bandpass`."""

    to: str = HUB
    name: str = "bandpass"

    def needs_margin(self, pixel_m: float) -> int:
        return 0

    def elevation_margin(self, pixel_m: float) -> int:
        return 0

    def apply(self, image: Floats, context: SceneContext) -> Floats:
        places = _of_kind(context.bands, "reflectance")
        out, bands = image.copy(), [context.bands[place] for place in places]
        out[places] = adjust(image[places], bands, context.platform, self.to)
        return out


@dataclass(frozen=True)
class Speckle:
    """Calms the speckle of backscatter; see `radar`."""

    filter: Literal["refined-lee", "lee", "boxcar"] = "refined-lee"
    looks: float = 4.4
    """Equivalent number of looks; that of Sentinel-1 IW GRD in high resolution."""
    window: int = 7
    """Pixels, both ways, of `lee` and `boxcar`; `refined-lee` always has 7."""
    name: str = "speckle"

    def needs_margin(self, pixel_m: float) -> int:
        window = radar.REFINED_WINDOW if self.filter == "refined-lee" else self.window
        return window // 2

    def elevation_margin(self, pixel_m: float) -> int:
        return 0

    def apply(self, image: Floats, context: SceneContext) -> Floats:
        places = _of_kind(context.bands, "backscatter")
        filters: Mapping[str, Callable[[Floats], Floats]] = {
            "refined-lee": lambda power: radar.refined_lee(power, self.looks),
            "lee": lambda power: radar.lee(power, self.looks, self.window),
            "boxcar": lambda power: radar.boxcar(power, self.window),
        }
        if self.filter not in filters:
            raise DataError(f"no speckle filter '{self.filter}'; valid: {choices(filters)}")
        out = image.copy()
        if places:
            out[places] = filters[self.filter](image[places])
        return out


STEPS: Mapping[str, Callable[[], HarmoniseStep]] = MappingProxyType(
    {"topography": Topography, "nbar": Nbar, "bandpass": Bandpass, "speckle": Speckle}
)
"""What makes each step of images with its usual settings, in the order in which they run."""

KNOWN = ("align", *STEPS)
"""All names that a project may give under `harmonise`."""


@dataclass(frozen=True)
class Chain:
    """What is done to the scenes of one sensor."""

    align: Align | None
    """None where scenes are read where they say that they are."""
    steps: tuple[HarmoniseStep, ...]

    def needs_margin(self, pixel_m: float) -> int:
        """Pixels around a tile that all steps together need."""
        return sum(step.needs_margin(pixel_m) for step in self.steps)

    def elevation_margin(self, pixel_m: float) -> int:
        """Pixels that the elevation must reach beyond the image with its margin; 0 if unused."""
        return max((step.elevation_margin(pixel_m) for step in self.steps), default=0)

    def apply(self, image: Floats, context: SceneContext) -> Floats:
        """All steps in turn on an image (C, H, W); see `HarmoniseStep.apply`."""
        for step in self.steps:
            image = step.apply(image, context)
        return image


def make_chain(names: Sequence[str]) -> Chain:
    """The steps that a project names, with their usual settings; ProjectError if one is unknown."""
    for name in names:
        if name not in KNOWN:
            raise ProjectError(f"unknown harmonise step '{name}'; valid: {choices(KNOWN)}")
    steps = tuple(make() for name, make in STEPS.items() if name in names)
    return Chain(Align() if "align" in names else None, steps)


def _of_kind(bands: Sequence[Band], kind: KindName) -> list[int]:
    """Channels of a kind."""
    return [place for place, band in enumerate(bands) if band.kind == kind]


def _angles(context: SceneContext, step: str) -> Angles:
    if context.angles is None:
        raise DataError(f"the scene has no sun angles, which the step '{step}' needs")
    return context.angles
