"""The bench file: what is compared on what, validated once into frozen models."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from earthloom.bench.registry import adaptation_names, encoder_names
from earthloom.datasets import LAYOUTS, Capabilities, known_datasets
from earthloom.errors import choices
from earthloom.project import Settings
from earthloom.project.read import read_settings

DATA_VARIABLE = "EARTHLOOM_DATA"
"""Environment variable that says where the folders of datasets lie."""

LOWER_IS_BETTER = ("rmse", "mae", "bias", "ece")

Option = str | float | int | bool | tuple[str, ...] | tuple[int, ...]
Budget = Annotated[int, Field(ge=1)] | Literal["all"]


class PublishedSplit(Settings):
    """The dataset's own division."""

    by: Literal["published"]
    train: str = "train"
    test: str = "test"


class GroupFolds(Settings):
    """Whole groups (places, blocks, tiles) dealt to folds; every sample is tested on once."""

    by: Literal["groups"]
    folds: int = Field(5, ge=2)


class LeaveGroupOut(Settings):
    """A fold for every group: a country, a city, a tile."""

    by: Literal["leave-group-out"]


Split = Annotated[PublishedSplit | GroupFolds | LeaveGroupOut, Field(discriminator="by")]


class DatasetChoice(Settings):
    """A registered dataset, or a folder in a common layout."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """A name of the registry or, with `layout`, one of your own."""
    folder: str = "."
    """Relative to `data`."""
    layout: str | None = None
    sensor: str = "aerial-rgb"
    bands: tuple[str, ...] = ()
    gsd: float | None = Field(None, gt=0)
    options: dict[str, Option] = Field(default_factory=dict)
    """Of the layout."""
    capabilities: Capabilities | None = None
    """How results are grouped; a registered dataset has its own."""
    split: Split = GroupFolds(by="groups")
    regions: bool = False
    """Whether the groups are regions (countries, cities) already, so that the score on held-out
    groups is itself the score of geographic transfer."""
    size: int | None = Field(None, ge=8)
    """Pixels, both ways, of the pieces that images are cut into; whole images without."""
    most: int | None = Field(None, ge=10)
    """At most so many samples, drawn once for all cells."""
    metric: str | None = None
    """The metric that decides; by default the one of the dataset's task."""

    @model_validator(mode="after")
    def _known(self) -> "DatasetChoice":
        if self.layout is None and self.name not in known_datasets():
            raise ValueError(
                f"unknown dataset '{self.name}'; with a 'layout' it may be your own; "
                f"registered are: {choices(known_datasets())}"
            )
        if self.layout is not None and self.layout not in LAYOUTS:
            raise ValueError(f"unknown layout '{self.layout}'; known are: {choices(LAYOUTS)}")
        if self.metric in LOWER_IS_BETTER:
            raise ValueError(f"'{self.metric}' cannot decide: of that, lower is better")
        return self


class Bench(Settings):
    """All that is compared, and how."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    title: str = ""
    out: str = "bench-out"
    """Folder of results, relative to the file."""
    data: str = "."
    """Folder that datasets lie in, relative to the file."""
    datasets: tuple[DatasetChoice, ...] = Field(min_length=1)
    encoders: tuple[str, ...] = Field(min_length=1)
    adaptations: tuple[str, ...] = Field(min_length=1)
    budgets: tuple[Budget, ...] = Field(("all",), min_length=1)
    """Labels of each class to learn from, or all."""
    seeds: int = Field(3, ge=1)
    """How many, from 0."""
    search: int = Field(1, ge=1)
    """Settings that every adaptation may try, on validation drawn from the training samples."""
    missing_inputs: bool = True
    """Whether each model is tested once more with half of its bands and dates hidden."""
    transfer: bool = True
    """Whether models are fitted once more with whole regions left out, where places are known."""
    resamples: int = Field(1000, ge=100)
    """Of each bootstrap."""

    _file: Path = Path("bench.yaml")

    @field_validator("encoders")
    @classmethod
    def _encoders(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _all_known("encoder", names, encoder_names())

    @field_validator("adaptations")
    @classmethod
    def _adaptations(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _all_known("adaptation", names, adaptation_names())

    @model_validator(mode="after")
    def _distinct(self) -> "Bench":
        for what, values in (
            ("datasets", [each.name for each in self.datasets]),
            ("encoders", list(self.encoders)),
            ("adaptations", list(self.adaptations)),
            ("budgets", list(self.budgets)),
        ):
            twice = sorted({str(value) for value in values if values.count(value) > 1})  # type: ignore[arg-type]
            if twice:
                raise ValueError(f"named twice under '{what}': {choices(twice)}")
        return self

    @property
    def out_folder(self) -> Path:
        """Where results are written."""
        return self._file.parent / self.out

    def folder_of(self, dataset: DatasetChoice) -> Path:
        """Where a dataset lies."""
        return self._file.parent / self.data / dataset.folder


def _all_known(what: str, names: tuple[str, ...], known: list[str]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown {what} '{unknown[0]}'; known are: {choices(known)}")
    return names


def load_bench(file: Path | str, data: Path | None = None, out: Path | None = None) -> Bench:
    """Reads and validates a bench file; ProjectError names the line of the first mistake.

    `data` goes before the environment variable `EARTHLOOM_DATA`, which goes before the file's key.
    """
    file = Path(file)
    bench = read_settings(file, Bench, "bench", _changes(data, out))
    bench._file = file.absolute()
    return bench


def _changes(data: Path | None, out: Path | None) -> dict[str, Any]:
    told = os.environ.get(DATA_VARIABLE)
    chosen = data if data is not None else Path(told) if told else None
    changes = {"data": chosen, "out": out}
    return {key: str(path.absolute()) for key, path in changes.items() if path is not None}
