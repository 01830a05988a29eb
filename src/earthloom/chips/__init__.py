"""Cube and labels to samples: the chip index, the store, and readers of them.

`earthloom.chips.store` alone is all that a training machine needs to read chips: it imports numpy
and the sample contract. The rest writes them, and imports the geospatial libraries.
"""
