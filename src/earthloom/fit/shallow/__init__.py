"""Heads that are fitted to a frozen encoder's features without gradient descent."""

from earthloom.fit.shallow.base import Shallow
from earthloom.fit.shallow.boosted import Boosted
from earthloom.fit.shallow.forest import Forest
from earthloom.fit.shallow.gather import gather
from earthloom.fit.shallow.linear import Linear
from earthloom.fit.shallow.machine import Machine
from earthloom.fit.shallow.neighbours import Neighbours
from earthloom.fit.shallow.ridge import Ridge
from earthloom.fit.shallow.rows import Kind, Rows

SHALLOW: dict[str, type[Shallow]] = {
    each.name: each for each in (Linear, Ridge, Neighbours, Forest, Boosted, Machine)
}
"""By `Adaptation.name`."""

__all__ = [
    "SHALLOW",
    "Boosted",
    "Forest",
    "Kind",
    "Linear",
    "Machine",
    "Neighbours",
    "Ridge",
    "Rows",
    "Shallow",
    "gather",
]
