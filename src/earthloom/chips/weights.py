"""Weights for drawing chips by where they lie; in numpy alone."""

import numpy as np
from numpy.typing import NDArray

from earthloom.chips.footprints import Footprints, covering, near


def ground_weights(places: Footprints) -> NDArray[np.float64]:
    """(n,) square metres of ground that each chip stands for: its area over how many lie there.

    Drawn by these weights, ground that many chips or many dates cover counts once.
    """
    return places.areas / np.maximum(covering(places), 1)


def near_weights(
    places: Footprints, labelled: Footprints, within_m: float, beyond: float = 0.0
) -> NDArray[np.float64]:
    """(n,) 1 for chips nearer than `within_m` metres to something labelled, else `beyond`.

    A labelled point is a footprint whose corners are all the point.
    """
    return np.where(near(places, labelled, within_m), 1.0, beyond)
