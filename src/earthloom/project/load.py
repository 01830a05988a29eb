"""The whole project file, and reading it."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from earthloom.errors import choices
from earthloom.project.archives import Archive, SeriesArchive
from earthloom.project.assess import Assessment, FoldsAssessment
from earthloom.project.cube import CellArea, Dates, Grid, SensorChoice
from earthloom.project.labels import Chips, Labels, LandClass
from earthloom.project.models import MapChoice, ModelChoice
from earthloom.project.outputs import EnergyChoice, PublishChoice
from earthloom.project.read import read_settings
from earthloom.project.settings import Settings
from earthloom.project.tasks import TaskChoice
from earthloom.project.values import check_task
from earthloom.sensors import Sensor, load_sensor


class Project(Settings):
    """All that is needed to make a map."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    seed: int = Field(0, ge=0)
    out: str = "out"
    """Folder that all results are written to."""
    archive: Archive
    area: str | tuple[float, float, float, float] | CellArea = "archive"
    """A vector file, or west, south, east, north in degrees, `archive` (each place of it), or
    `cells` of the Major TOM grid."""
    dates: Dates | None = None
    grid: Grid = Grid()
    sensors: tuple[SensorChoice, ...] = Field(min_length=1)
    failed_scenes: Literal["report", "accept"] = "report"
    """What the run ends with where scenes did not load: `report` makes the map without them,
    names them and exits with 3; `accept` exits with 0."""
    task: TaskChoice | None = None
    """What is predicted; by default one of `classes` of each pixel."""
    classes: tuple[LandClass, ...] = Field((), min_length=2)
    """Of a map of classes; a map of numbers has none."""
    labels: Labels = Labels()
    chips: Chips = Chips()
    model: ModelChoice
    map: MapChoice = MapChoice()
    assess: Assessment
    publish: PublishChoice = PublishChoice()
    energy: EnergyChoice = EnergyChoice()

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

    @field_validator("out")
    @classmethod
    def _on_a_disk(cls, out: str) -> str:
        if "://" in out:
            raise ValueError(f"'out' is a folder; send results to {out} with 'earthloom publish'")
        return out

    @model_validator(mode="after")
    def _split_is_tested(self) -> "Project":
        tested = isinstance(self.assess, FoldsAssessment) and self.assess.by == "split"
        if tested and (self.chips.split is None or isinstance(self.archive, SeriesArchive)):
            raise ValueError(
                "'assess.by: split' needs 'chips.split', which says how chips are divided; "
                "a table of series has none, and is tested 'by: blocks'"
            )
        if self.chips.split is not None and not tested:
            raise ValueError(
                "'chips.split' is for 'assess: {method: folds, by: split}', which tests on it"
            )
        return self

    @model_validator(mode="after")
    def _fits_its_task(self) -> "Project":
        check_task(self)
        return self

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


def load_project(file: Path | str, **changes: Any) -> Project:
    """Reads and validates a project file; ProjectError names the line of the first mistake.

    `changes` replace keys of the file, as the command line's options do.
    """
    file = Path(file)
    project = read_settings(file, Project, "project", changes)
    project._file = file
    return project
