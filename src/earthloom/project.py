"""The project file: one YAML that says all, validated once, at the edge, into frozen models.

An error names the file, the line, the value and the valid choices. Paths in the file are relative
to the file.
"""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from earthloom.errors import DataError, ProjectError, choices
from earthloom.explain import explain, keys_of
from earthloom.sensors import Sensor, load_sensor


class Settings(BaseModel):
    """Base of every part of the project file: frozen, and no key is accepted that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def as_inputs(self) -> dict[str, Any]:
        """The settings as JSON values, for a stage's manifest."""
        return self.model_dump(mode="json")


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


class LandClass(Settings):
    """A class of the map."""

    code: int = Field(ge=1, le=254)
    name: str = Field(min_length=1)
    colour: str = Field(pattern=r"^#[0-9a-fA-F]{6}$")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return red, green, blue


class Labels(Settings):
    """Where the labels are."""

    path: str = ""
    """A vector file (GeoPackage, GeoJSON, ...) or a raster of class codes; with a folder archive
    `{place}` stands for the place, whose file may be missing. A series archive has its own."""
    column: str = "class"
    """Of a vector file: class names or codes."""
    on_grid: bool = False
    """The raster has no georeference of its own: its pixels are those of the base grid."""


class Chips(Settings):
    """How the area is cut into samples."""

    size: int = Field(64, ge=1, le=1024)
    """Pixels of the base grid, both ways."""
    stride: int | None = Field(None, ge=1)
    """Pixels between chips; by default their size, so that they do not overlap."""


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
    members: int = Field(1, ge=1, le=20)
    """Networks trained from different seeds, whose probabilities are averaged."""


ModelChoice = Annotated[
    RidgeModel | ForestModel | BoostedChangeModel | NetworkModel, Field(discriminator="name")
]


class MapChoice(Settings):
    """How the map is made."""

    window: int = Field(256, ge=16, le=4096)
    """Pixels, both ways, that the model sees at a time."""
    overlap: float = Field(0.25, ge=0, le=0.75)
    """Share of a window that overlaps the next one, where the model looks beyond its pixel."""


class SampleAssessment(Settings):
    """Accuracy and area from a stratified probability sample of the map (Olofsson et al. 2014)."""

    method: Literal["sample"]
    reference: str | None = None
    """What the sample's true classes come from: a raster of class codes, or the vector file of
    the sample that an interpreter has filled in. Without it the sample is drawn and written out,
    and the report says that the map has no accuracy yet."""
    points: int = Field(900, ge=20)
    min_per_class: int = Field(50, ge=2)
    apart_m: float = Field(100.0, ge=0)
    """No sample point lies nearer to a training label than this."""
    truth: str | None = None
    """A raster that knows the truth everywhere, as only a simulated world has: the report then
    says whether the intervals hold it."""


class FoldsAssessment(Settings):
    """Accuracy by leaving out one group of labels after the other."""

    method: Literal["folds"]
    by: Literal["place", "blocks"]
    """`place`: one place of the archive at a time; `blocks`: squares of `block` degrees, dealt
    to `folds` parts."""
    block: float = Field(1.0, gt=0)
    folds: int = Field(5, ge=2)
    focus: str | None = None
    """The class whose F1 and IoU are reported first, such as `change`."""
    baselines: tuple[Literal["forest", "change-vectors"], ...] = ()
    """What stands beside the model on the same folds: a random forest on the bands, and, for two
    dates, change-vector analysis with an automatic threshold."""


Assessment = Annotated[SampleAssessment | FoldsAssessment, Field(discriminator="method")]


class Project(Settings):
    """All that is needed to make a map."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    seed: int = Field(0, ge=0)
    out: str = "out"
    """Folder that all results are written to."""
    archive: Archive
    area: str | tuple[float, float, float, float] = "archive"
    """A vector file, or west, south, east, north in degrees, or `archive`: each place of it."""
    dates: Dates | None = None
    grid: Grid = Grid()
    sensors: tuple[SensorChoice, ...] = Field(min_length=1)
    failed_scenes: Literal["report", "accept"] = "report"
    """What the run ends with where scenes did not load: `report` makes the map without them,
    names them and exits with 3; `accept` exits with 0."""
    classes: tuple[LandClass, ...] = Field(min_length=2)
    labels: Labels = Labels()
    chips: Chips = Chips()
    model: ModelChoice
    map: MapChoice = MapChoice()
    assess: Assessment

    _file: Path = Path("project.yaml")

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[LandClass, ...]) -> tuple[LandClass, ...]:
        for what in ("code", "name"):
            values = [getattr(each, what) for each in classes]
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"each class needs a {what} of its own; twice: {choices(twice)}")
        return classes

    @property
    def folder(self) -> Path:
        """The folder of the project file."""
        return self._file.parent

    @property
    def file(self) -> Path:
        """The project file."""
        return self._file

    @property
    def out_folder(self) -> Path:
        """Where results are written."""
        return self.path(self.out)

    def path(self, relative: str) -> Path:
        """A path of the project file, seen from here."""
        return self.folder / relative

    def sensor(self, name: str) -> Sensor:
        """A sensor's table, the project's own ones included."""
        return load_sensor(name, self.folder)


class _Loader(yaml.SafeLoader):
    """Leaves dates as text: a day that is none is then an error with a line, as any other."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load_project(file: Path | str, **changes: Any) -> Project:
    """Reads and validates a project file; ProjectError names the line of the first mistake.

    `changes` replace keys of the file, as the command line's options do.
    """
    file = Path(file)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ProjectError(f"cannot read the project file {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ProjectError(f"{file}: not text in UTF-8: {error}") from error
    try:
        node = yaml.compose(text, _Loader)
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise ProjectError(f"{file}{line}: not valid YAML: {problem}") from error
    if not isinstance(content, dict):
        raise ProjectError(f"{file}: a project is a mapping of keys such as {keys_of(Project)}")
    try:
        project = Project.model_validate(content | changes, context={"folder": file.parent})
    except ValidationError as error:
        raise ProjectError(f"{file}{explain(error, node, Project)}") from error
    project._file = file
    return project


def _sensor(name: str, info: ValidationInfo) -> Sensor:
    try:
        return load_sensor(name, (info.context or {}).get("folder"))
    except DataError as error:
        raise ValueError(str(error)) from None


def _groups(pattern: str) -> list[str]:
    try:
        return list(re.compile(pattern).groupindex)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
