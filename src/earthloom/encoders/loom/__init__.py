"""Loom: the encoder that takes any sensor, at the cost of its bands and dates."""

from earthloom.encoders.loom.encoder import Loom
from earthloom.encoders.loom.sizes import LEARNT, SIZES
from earthloom.encoders.loom.weights import load_loom, read_card, save_weights, shipped_weights

__all__ = ["LEARNT", "SIZES", "Loom", "load_loom", "read_card", "save_weights", "shipped_weights"]
