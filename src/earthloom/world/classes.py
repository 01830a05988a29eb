"""The land-cover classes of the simulated Earth."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LandClass:
    """A class of the map; code 0 is kept for "no data"."""

    code: int
    name: str
    colour: str
    """#rrggbb."""


CLASSES = (
    LandClass(1, "water", "#2f74b5"),
    LandClass(2, "built-up", "#c8313f"),
    LandClass(3, "broadleaf forest", "#4f9d3f"),
    LandClass(4, "needleleaf forest", "#1d5b36"),
    LandClass(5, "shrubland", "#9a8b3c"),
    LandClass(6, "grassland", "#a6d86a"),
    LandClass(7, "winter cereal", "#e8c96b"),
    LandClass(8, "maize", "#f08c2e"),
    LandClass(9, "rapeseed", "#f7ef3a"),
    LandClass(10, "bare ground", "#b9a99a"),
    LandClass(11, "wetland", "#6fc3c7"),
)

CODES = {land_class.name: land_class.code for land_class in CLASSES}
