"""Scenes to one analysis-ready cube: physical units, masks, composites, coverage."""

from earthloom.cube.build import build_cube
from earthloom.cube.composite import composite
from earthloom.cube.plan import LayerPlan, Step, layer_factors, plan_layers
from earthloom.cube.store import Cube, open_cube

__all__ = [
    "Cube",
    "LayerPlan",
    "Step",
    "build_cube",
    "composite",
    "layer_factors",
    "open_cube",
    "plan_layers",
]
