"""What is predicted of each pixel."""

from typing import Annotated, Literal

from pydantic import Field

from earthloom.project.settings import Settings


class PixelClassChoice(Settings):
    """One of the project's classes; what is meant where no task is named."""

    kind: Literal["pixel-class"]


class PixelValueChoice(Settings):
    """A number, such as a biomass, a height or a yield."""

    kind: Literal["pixel-value"]
    unit: str = Field(min_length=1, pattern=r"\S")
    """Of the labels and of the map, such as `t/ha`; `1` for a bare number."""
    quantity: str = Field("value", min_length=1)
    """What is measured, as a person calls it: `biomass`."""
    level: float = Field(0.9, gt=0, lt=1)
    """Share of true values that the map's interval, from `low` to `high`, is to hold."""
    link: Literal["identity", "sqrt", "log", "log1p"] = "identity"
    """What is fitted in place of the number: `sqrt` or `log1p` for what is never below 0, `log` for
    what is above it. The map is in the unit in any case, and never below what the link takes."""


TaskChoice = Annotated[PixelClassChoice | PixelValueChoice, Field(discriminator="kind")]
