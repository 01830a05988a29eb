"""Encoders: any sensor's chip to features.

An encoder states the layers that it was made for, and gives features on the base grid.
"""

from earthloom.encoders.base import Encoder, Features, Statistics, mask_on_base_grid, on_base_grid

__all__ = ["Encoder", "Features", "Statistics", "mask_on_base_grid", "on_base_grid"]
