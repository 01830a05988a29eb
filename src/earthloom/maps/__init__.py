"""Wall-to-wall prediction, blending, and writing: COG, class names and colours, STAC Item."""

from earthloom.maps.make import MAP, PROBABILITY, MapInputs, make_map

__all__ = ["MAP", "PROBABILITY", "MapInputs", "make_map"]
