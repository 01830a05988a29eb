"""Embedding fields: a direction of each pixel on the unit sphere, and what is computed on them.

A field is a folder: `embedding.tif`, a COG of (64) bands int8, `item.json`, its STAC Item,
`projection.safetensors`, by which another date's features become comparable, and where it was asked
for `embedding.zarr`. A stored number is round(127 x) of a unit vector's component x, -128 where
nothing was seen (as AlphaEarth Foundations, Brown et al. 2025, publishes its fields: one byte a
number, on the sphere).
"""

from earthloom.maps.embedding.compare import (
    CHANGE,
    SIMILARITY,
    directions_at,
    write_change,
    write_similarity,
)
from earthloom.maps.embedding.field import EMBEDDING, Field, open_field
from earthloom.maps.embedding.linear import fit_linear, write_linear
from earthloom.maps.embedding.projection import (
    DIMENSIONS,
    Projection,
    principal_axes,
    read_projection,
)
from earthloom.maps.embedding.vectors import read_vectors, write_vectors
from earthloom.maps.embedding.write import PROJECTION, FieldInputs, fit_projection, write_field
from earthloom.maps.embedding.zarr_copy import write_zarr

__all__ = [
    "CHANGE",
    "DIMENSIONS",
    "EMBEDDING",
    "PROJECTION",
    "SIMILARITY",
    "Field",
    "FieldInputs",
    "Projection",
    "directions_at",
    "fit_linear",
    "fit_projection",
    "open_field",
    "principal_axes",
    "read_projection",
    "read_vectors",
    "write_change",
    "write_field",
    "write_linear",
    "write_similarity",
    "write_vectors",
    "write_zarr",
]
