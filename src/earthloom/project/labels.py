"""Classes, labels, and how the area is cut into samples."""

from typing import Literal

from pydantic import Field, model_validator

from earthloom.project.settings import Settings
from earthloom.project.splits import SplitChoice


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
    """Where the labels are, and what their values and columns mean."""

    path: str = ""
    """A vector file (GeoPackage, GeoJSON, ...), a table with coordinates (CSV, Parquet) or a raster
    of class codes or values; with a folder archive `{place}` stands for the place, whose file may
    be missing. A series archive has its own."""
    column: str = "class"
    """Of a vector file or a table: class names or codes, or numbers. For a map of numbers it is
    `value` unless it is given."""
    on_grid: bool = False
    """The raster has no georeference of its own: its pixels are those of the base grid."""
    crs: str | None = None
    """Of coordinates in a file that does not say its own, such as `EPSG:4326`."""
    x: str | None = None
    """Column of a table: longitude or easting. By default `lon`, `longitude` or `x`."""
    y: str | None = None
    """Column of a table: latitude or northing. By default `lat`, `latitude` or `y`."""
    date_column: str | None = None
    """When a label was true: a day, a month, a year, or two of them with `/` between."""
    end_column: str | None = None
    """The last day, where `date_column` has the first."""
    weight_column: str | None = None
    """Numbers from 0: how much a label counts."""
    confidence_column: str | None = None
    """Numbers from 0 to 1, multiplied with the weight."""
    least_confidence: float = Field(0.0, ge=0.0, le=1.0)
    """Labels of a lower confidence are left out, and counted."""
    buffer_m: float = Field(0.0, ge=0.0)
    """Metres around points and lines that have their class as well."""
    ignore: tuple[int | str, ...] = (255,)
    """Values that say: there is no use in this pixel, whatever other labels say. In a map of
    numbers there are none, unless they are given."""
    background: str | None = None
    """Name of the class of all pixels that nothing else labels, where labels are dense."""
    scheme: str | None = None
    """The class scheme that the file's values belong to, such as `corine`."""
    mapping: str | dict[str, tuple[int | str, ...]] | None = None
    """How the file's values become the project's classes: for each class the values that it takes
    together (a value of a scheme stands for the finer ones as well); or the scheme whose classes
    the project's are, by name."""
    broken: Literal["error", "skip"] = "error"
    """Features without a class, a place or a date that can be read: the first one ends the run, or
    all are left out and counted."""

    @model_validator(mode="after")
    def _fits(self) -> "Labels":
        if self.end_column is not None and self.date_column is None:
            raise ValueError("'end_column' needs 'date_column', which holds the first day")
        if (self.x is None) != (self.y is None):
            raise ValueError("'x' and 'y' are given together, or neither of them")
        if self.least_confidence and self.confidence_column is None:
            raise ValueError("'least_confidence' needs 'confidence_column'")
        if isinstance(self.mapping, str) and self.scheme is None:
            raise ValueError("a 'mapping' into another scheme needs 'scheme', that of the file")
        return self


class Chips(Settings):
    """How the area is cut into samples."""

    size: int = Field(64, ge=1, le=1024)
    """Pixels of the base grid, both ways."""
    stride: int | None = Field(None, ge=1)
    """Pixels between chips; by default their size, so that they do not overlap."""
    compressed: bool = False
    """Whether the store is: about half the disk, and slower to read."""
    split: SplitChoice | None = None
    """How chips are divided into training, validation and test, for `assess.by: split`."""
