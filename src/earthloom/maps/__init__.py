"""Wall-to-wall prediction, blending, and writing: COG, class names and colours, STAC Item."""

MAP = "map.tif"
PROBABILITY = "probability.tif"
VALUE = "value.tif"
DENSITY = "density.tif"
FEATURES = "features.tif"
ITEM = "item.json"
"""Files of a map's folder. What makes them, `earthloom.maps.make`, imports torch, which those who
only look at maps need not wait for."""

CLASS_NODATA = 0
PROBABILITY_SCALE = 1 / 250
"""A stored number times this is a probability."""
PROBABILITY_NODATA = 255
