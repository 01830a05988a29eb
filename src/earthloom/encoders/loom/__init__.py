"""Loom: the encoder that takes any sensor, at the cost of its bands and dates."""

from earthloom.encoders.loom.encoder import Loom
from earthloom.encoders.loom.sizes import SIZES
from earthloom.encoders.loom.weights import load_loom, read_card, save_weights

__all__ = ["SIZES", "Loom", "load_loom", "read_card", "save_weights"]
