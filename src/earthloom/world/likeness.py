"""Land that looks in part like land of another class, and differs more within its own.

A share of the pieces is mixed with a look-alike: undersown cereals with grass, sour meadows with
sedge, weedy maize with open soil, mixed stands of beech and spruce. The larger part of a piece is
always of its own class, so that the map and the labels stay right. The pairs are plausible, the
amounts are a choice.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from earthloom.world.covers import cover_index
from earthloom.world.noise import Random
from earthloom.world.season import Pieces

_LOOK_ALIKES = {
    "houses": ("pasture", "scrub"),
    "works": ("gravel",),
    "beech": ("spruce", "pine"),
    "alder": ("scrub", "reed"),
    "spruce": ("beech", "heath"),
    "pine": ("heath", "beech"),
    "scrub": ("alder", "pasture"),
    "heath": ("pine", "pasture"),
    "meadow": ("sedge", "barley"),
    "hay": ("sedge", "rye"),
    "pasture": ("scrub", "sedge"),
    "wheat": ("meadow", "rapeseed"),
    "barley": ("rapeseed", "hay"),
    "rye": ("hay", "maize-after-cover"),
    "maize": ("open-soil", "wheat"),
    "maize-after-cover": ("barley", "hay"),
    "rapeseed": ("barley", "wheat"),
    "gravel": ("works",),
    "open-soil": ("maize", "works"),
    "reed": ("alder", "meadow"),
    "sedge": ("pasture", "meadow"),
}

_SHARE = 0.7
"""Part of the pieces with a look-alike, at the most."""
_LEAST, _MOST = 0.1, 0.49
"""Part of such a piece that looks like the other."""


def vary(rng: Random, pieces: Pieces, amount: float) -> Pieces:
    """The pieces with wider traits and look-alikes; `amount` 0 (as they are) to 1."""
    if amount == 0:
        return pieces
    twin = pieces.cover.copy()
    second = rng.uniform(0, 1, pieces.count)
    for name, others in _LOOK_ALIKES.items():
        here = pieces.cover == cover_index()[name]
        places = np.array([cover_index()[other] for other in others])
        twin[here] = places[(second[here] * len(others)).astype(int)]
    chosen = (rng.uniform(0, 1, pieces.count) < _SHARE * amount) & (twin != pieces.cover)
    part = rng.uniform(_LEAST, _MOST, pieces.count)
    wider = 1 + amount
    return replace(
        pieces,
        timing=pieces.timing * wider,
        vigour=pieces.vigour * wider,
        brightness=pieces.brightness * wider,
        roughness=pieces.roughness * wider,
        twin=twin.astype(np.int32),
        likeness=np.where(chosen, part, 0.0),
    )


def as_twins(pieces: Pieces) -> Pieces:
    """The same pieces, with the covers that they look like in part."""
    return replace(pieces, cover=pieces.twin)


def likeness_on(pieces: Pieces, day: float) -> NDArray[np.float32]:
    """(pieces,) part that looks like the other cover; none where an event has changed the land."""
    unchanged = pieces.cover_on(day) == pieces.cover
    return np.where(unchanged, pieces.likeness, 0.0).astype(np.float32)
