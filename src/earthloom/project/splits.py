"""How chips are divided into training, validation and test."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from earthloom.project.settings import Settings


class _Shared(Settings):
    """A division by shares."""

    val: float = Field(0.1, ge=0, lt=1)
    """Share of the chips that choose a model."""
    test: float = Field(0.2, ge=0, lt=1)
    """Share of the chips that are tested on."""

    @model_validator(mode="after")
    def _leaves_some(self) -> "_Shared":
        if self.val + self.test >= 1:
            raise ValueError(
                f"'val' and 'test', {self.val:g} and {self.test:g}, leave nothing to train on; "
                "together they are below 1"
            )
        return self


class RandomSplitChoice(_Shared):
    """Each chip by itself: a score on neighbours of training chips is too good."""

    by: Literal["random"]


class GroupsSplitChoice(_Shared):
    """Blocks of 2 x 2 neighbouring chips, or whole places."""

    by: Literal["groups"]


class BlocksSplitChoice(_Shared):
    """Square blocks of the Earth."""

    by: Literal["blocks"]
    block_m: float = Field(gt=0)
    """Side of a block."""
    buffer_m: float = Field(0.0, ge=0)
    """Metres about what is held out, in which nothing is trained on."""


class CellsSplitChoice(_Shared):
    """Cells of the Major TOM grid."""

    by: Literal["cells"]
    distance_km: float = Field(10.0, gt=0)
    """Between the grid's points."""
    buffer_m: float = Field(0.0, ge=0)


class AreasSplitChoice(Settings):
    """Areas by name; all that are not named are trained on."""

    by: Literal["areas"]
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = Field(min_length=1)
    buffer_m: float | None = Field(None, ge=0)


class TimeSplitChoice(Settings):
    """Before and after a day; chips of both sides are left out."""

    by: Literal["time"]
    test_from: date
    val_from: date | None = None
    gap_days: int = Field(0, ge=0)
    """Between the last day of one split and the first of the next."""

    @model_validator(mode="after")
    def _in_order(self) -> "TimeSplitChoice":
        if self.val_from is not None and self.val_from >= self.test_from:
            raise ValueError(f"'val_from', {self.val_from}, is not before {self.test_from}")
        return self


class ClassesSplitChoice(_Shared):
    """Groups of chips, such that every class has its share on all sides."""

    by: Literal["classes"]
    buffer_m: float | None = Field(None, ge=0)


SplitChoice = Annotated[
    RandomSplitChoice
    | GroupsSplitChoice
    | BlocksSplitChoice
    | CellsSplitChoice
    | AreasSplitChoice
    | TimeSplitChoice
    | ClassesSplitChoice,
    Field(discriminator="by"),
]
