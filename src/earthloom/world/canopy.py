"""Canopy reflectance from a table that was computed once with PROSPECT-D and 4SAIL.

The table and its sources: `tools/make_canopy_table.py`.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CanopyTable:
    """Reflectance of canopies at one height of the sun, seen from above."""

    lai: Doubles
    chlorophyll: Doubles
    water: Doubles
    brown: Doubles
    """Nodes of the four axes."""
    values: Floats
    """(chlorophyll, water, brown, lai, 3 * band): black-soil reflectance, two-way transmittance,
    reflectance from below."""

    def leaves(self, chlorophyll: Doubles, water: Doubles, brown: Doubles) -> Floats:
        """(n, lai, 3 * band) for n kinds of leaves."""
        corners = [
            _bracket(self.chlorophyll, chlorophyll),
            _bracket(self.water, water),
            _bracket(self.brown, brown),
        ]
        out = np.zeros((chlorophyll.size, *self.values.shape[3:]), np.float32)
        for corner in range(8):
            up = [(corner >> axis) & 1 for axis in range(3)]
            weight = np.ones(chlorophyll.size)
            index = []
            for (low, part), high in zip(corners, up, strict=True):
                weight = weight * (part if high else 1 - part)
                index.append(low + high)
            out += weight.astype(np.float32)[:, None, None] * self.values[tuple(index)]
        return out

    def canopies(self, leaves: Floats, lai: Doubles) -> tuple[Floats, Floats, Floats]:
        """Black-soil reflectance, transmittance and reflectance from below, each (n, level, band).

        `leaves` (n, lai, 3 * band) as `leaves()` gives them, `lai` (n, level).
        """
        low, part = _bracket(self.lai, lai)
        row = np.arange(len(leaves))[:, None]
        weight = part.astype(np.float32)[..., None]
        mixed = leaves[row, low] * (1 - weight) + leaves[row, low + 1] * weight
        black, through, below = np.split(mixed, 3, axis=-1)
        return black, through, below


def canopy_table(zenith: float) -> CanopyTable:
    """The table at a zenith angle of the sun in degrees; beyond 30 to 70 the nearest is used."""
    nodes, values = _load()
    low, part = _bracket(nodes["zenith"], np.array([zenith]))
    weight = np.float32(part[0])
    at = values[low[0]] * (1 - weight) + values[low[0] + 1] * weight
    return CanopyTable(nodes["lai"], nodes["chlorophyll"], nodes["water"], nodes["brown"], at)


@cache
def _load() -> tuple[dict[str, Doubles], Floats]:
    """Axes by name, and values (zenith, chlorophyll, water, brown, lai, 3 * band)."""
    with files("earthloom.world").joinpath("data/canopy.npz").open("rb") as file:
        data = np.load(file, allow_pickle=False)
        axes = {
            name: data[name].astype(np.float64)
            for name in ("zenith", "lai", "chlorophyll", "water", "brown")
        }
        table = data["table"]
    moved = np.moveaxis(table, 1, 4)
    return axes, np.ascontiguousarray(moved.reshape(*moved.shape[:5], -1), np.float32)


def _bracket(nodes: Doubles, values: Doubles) -> tuple[NDArray[np.int64], Doubles]:
    """Lower node of each value, and the part of the way to the next one."""
    inside = np.clip(values, nodes[0], nodes[-1])
    low = np.clip(np.searchsorted(nodes, inside, side="right") - 1, 0, nodes.size - 2)
    return low, (inside - nodes[low]) / (nodes[low + 1] - nodes[low])
