"""Scenes made comparable: place, light on slopes, view angle, band-pass, speckle.

Pure functions of arrays, one file a method, with published coefficients in tables beside them.
`steps` puts them behind one contract. Reflectance is never clipped; NaN stays NaN.
"""

from earthloom.cube.harmonise.align import (
    AlignSettings,
    Displacement,
    Shift,
    displacement,
    estimate_shift,
    shifted_box,
)
from earthloom.cube.harmonise.offset_check import (
    OffsetFinding,
    SceneStatistics,
    check_offsets,
    scene_statistics,
)
from earthloom.cube.harmonise.steps import (
    KNOWN,
    STEPS,
    Align,
    Bandpass,
    Chain,
    HarmoniseStep,
    Nbar,
    SceneContext,
    Speckle,
    Topography,
    make_chain,
)
from earthloom.cube.harmonise.texture import MEASURES, TextureSettings, glcm
from earthloom.cube.harmonise.topography import TerrainSums, fit_c

__all__ = [
    "KNOWN",
    "MEASURES",
    "STEPS",
    "Align",
    "AlignSettings",
    "Bandpass",
    "Chain",
    "Displacement",
    "HarmoniseStep",
    "Nbar",
    "OffsetFinding",
    "SceneContext",
    "SceneStatistics",
    "Shift",
    "Speckle",
    "TerrainSums",
    "TextureSettings",
    "Topography",
    "check_offsets",
    "displacement",
    "estimate_shift",
    "fit_c",
    "glcm",
    "make_chain",
    "scene_statistics",
    "shifted_box",
]
