"""Classes, labels, and how the area is cut into samples."""

from pydantic import Field

from earthloom.project.settings import Settings


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
