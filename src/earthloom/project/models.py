"""What is fitted, and how its map is made."""

from typing import Annotated, Literal

from pydantic import Field

from earthloom.project.outputs import PolygonChoice
from earthloom.project.settings import Settings


class RidgeModel(Settings):
    """Per-pixel time features under a closed-form classifier; fitted in seconds."""

    name: Literal["ridge"]
    radius: int = Field(1, ge=0, le=8)
    """Pixels of surroundings whose mean is a feature as well; 0 for the pixel alone."""
    random_features: int = Field(2048, ge=0, le=16384)
    """Random Fourier features of the kernel; 0 for a linear classifier."""


class ForestModel(Settings):
    """A random forest on the bands of every date: the plain baseline."""

    name: Literal["forest"]
    trees: int = Field(300, ge=1, le=5000)


class BoostedModel(Settings):
    """Gradient boosting on time features, stopped by held-out groups."""

    name: Literal["boosted"]
    radius: int = Field(1, ge=0, le=8)
    """Pixels of surroundings whose mean is a feature as well; 0 for the pixel alone."""
    rounds: int = Field(100, ge=1, le=5000)
    """At most."""
    learning_rate: float = Field(0.1, gt=0, le=1)
    leaves: int = Field(15, ge=2, le=255)


class LoomModel(Settings):
    """A closed-form head on the features of the any-sensor encoder, whose weights come with the
    package: for few labels, and for what a pixel's surroundings tell."""

    name: Literal["loom"]
    random_features: int = Field(2048, ge=0, le=16384)
    """Random Fourier features of the kernel; 0 for a linear classifier."""


class BoostedChangeModel(Settings):
    """Boosted trees on the change between two dates, against that of the whole place."""

    name: Literal["boosted-change"]
    trees: int = Field(150, ge=1, le=5000)
    learning_rate: float = Field(0.08, gt=0, le=1)
    cells: int = Field(2000, ge=10)
    """Cells of each change class taken from a place, and four times as many of the first class."""


class NetworkModel(Settings):
    """A small convolutional network, trained by gradient descent."""

    name: Literal["unet"]
    width: int = Field(16, ge=4, le=256)
    """Channels at full resolution; each level down has twice as many."""
    levels: int = Field(3, ge=1, le=5)
    steps: int = Field(300, ge=1)
    batch: int = Field(16, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    crop: int | None = Field(None, ge=8)
    """Pixels, both ways, of a random piece of each chip that a step trains on."""
    norm: Literal["group", "batch"] = "group"
    """Over what features are normalised: groups of channels of a window, or the training pixels,
    which `map.exact` needs."""
    members: int = Field(1, ge=1, le=20)
    """Networks trained from different seeds, whose probabilities are averaged."""


ModelChoice = Annotated[
    RidgeModel | ForestModel | BoostedModel | LoomModel | BoostedChangeModel | NetworkModel,
    Field(discriminator="name"),
]


class MapChoice(Settings):
    """How the map is made."""

    window: int = Field(256, ge=16, le=4096)
    """Pixels, both ways, that the model sees at a time."""
    overlap: float = Field(0.25, ge=0, le=0.75)
    """Share of a window that overlaps the next one, where the model looks beyond its pixel."""
    exact: bool = False
    """Whether the map is what the model would say of the whole area at once, to float tolerance;
    for models that look no farther than their radius, in wider windows that overlap more."""
    precision: Literal["fp32", "bf16", "tf32", "fp16", "auto"] = "fp32"
    """What a network is evaluated in. `auto` times what the machine offers, layouts and compiling
    too, and keeps the fastest way that says the same; another machine may choose another."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto` takes a GPU for networks where there is one."""
    polygons: PolygonChoice | None = None
    """Polygons of the map's classes; none are made without it."""
