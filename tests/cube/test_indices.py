"""Indices of the catalogue against formulas written by hand."""

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import earthloom.cube.indices as indices
from earthloom.cube.indices import (
    CROPS,
    as_bands,
    compute,
    compute_counted,
    letters_of,
    possible,
)
from earthloom.errors import DataError
from earthloom.sensors import Band, load_sensor

S2 = tuple(band for band in load_sensor("sentinel-2-l2a").bands if band.kind == "reflectance")
RADAR = load_sensor("sentinel-1-rtc").bands

BY_HAND = {
    "NDVI": lambda b: (b["N"] - b["R"]) / (b["N"] + b["R"]),
    "EVI": lambda b: 2.5 * (b["N"] - b["R"]) / (b["N"] + 6 * b["R"] - 7.5 * b["B"] + 1),
    "SAVI": lambda b: 2 * (b["N"] - b["R"]) / (b["N"] + b["R"] + 1),
    "CIG": lambda b: b["N"] / b["G"] - 1,
    "NDMI": lambda b: (b["N"] - b["S1"]) / (b["N"] + b["S1"]),
    "NBR": lambda b: (b["N"] - b["S2"]) / (b["N"] + b["S2"]),
    "MNDWI": lambda b: (b["G"] - b["S1"]) / (b["G"] + b["S1"]),
    "kNDVI": lambda b: np.tanh(((b["N"] - b["R"]) / (b["N"] + b["R"])) ** 2),
    "S2REP": lambda b: 705 + 35 * ((b["RE3"] + b["R"]) / 2 - b["RE1"]) / (b["RE2"] - b["RE1"]),
}
COMMON = {
    "B": "blue",
    "G": "green",
    "R": "red",
    "N": "nir",
    "S1": "swir16",
    "S2": "swir22",
    "RE1": "rededge071",
    "RE2": "rededge075",
    "RE3": "rededge078",
}


def random_pixels(*shape):
    return np.random.default_rng(0).uniform(0.01, 0.6, shape).astype(np.float32)


def by_letter(pixels, bands):
    names = [band.common_name for band in bands]
    return {k: pixels[..., names.index(v), :, :].astype(np.float64) for k, v in COMMON.items()}


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_formulas(name):
    pixels = random_pixels(2, 3, len(S2), 5, 4)
    made = compute([name], pixels, S2)
    assert (made.shape, made.dtype) == ((2, 3, 1, 5, 4), np.float32)
    slow = BY_HAND[name](by_letter(pixels, S2))
    near = np.abs(slow) < 1e3  # elsewhere a denominator is next to nothing
    np.testing.assert_allclose(made[..., 0, :, :][near], slow[near], rtol=2e-3, atol=1e-4)


def test_several_at_once_are_each_alone():
    pixels = random_pixels(len(S2), 5, 4)
    together = compute(CROPS, pixels, S2)
    assert together.shape == (len(CROPS), 5, 4)
    for place, name in enumerate(CROPS):
        np.testing.assert_array_equal(together[place], compute([name], pixels, S2)[0])


@settings(deadline=None, max_examples=30)
@given(arrays(np.float32, (2, 3, 4), elements=st.sampled_from([0.0, 0.2, 0.5, -0.2, np.nan])))
def test_what_has_no_value_is_missing_and_counted(pixels):
    bands = (
        Band("red", "reflectance", "1", 10, common_name="red"),
        Band("nir", "reflectance", "1", 10, common_name="nir"),
    )
    made = compute_counted(["NDVI"], pixels, bands)
    seen = ~np.isnan(pixels).any(axis=0)
    nothing = seen & (pixels.sum(axis=0) == 0)
    np.testing.assert_array_equal(np.isnan(made.pixels[0]), ~seen | nothing)
    assert made.undefined == (int(nothing.sum()),)


def test_only_bands_that_count_have_to_be_seen():
    pixels = random_pixels(len(S2), 2, 2)
    common = [band.common_name for band in S2]
    pixels[common.index("coastal"), 0, 0] = np.nan
    pixels[common.index("red"), 1, 1] = np.nan
    made = compute(["NDVI"], pixels, S2)[0]
    np.testing.assert_array_equal(np.isnan(made), [[False, False], [False, True]])


def test_letters_of_sentinel_2_and_landsat():
    letters = letters_of(S2)
    assert {k: S2[letters[k]].common_name for k in COMMON} == COMMON
    assert S2[letters["N2"]].common_name == "nir08"
    landsat = load_sensor("landsat-oli-c2-l2").bands
    assert landsat[letters_of(landsat)["N"]].common_name == "nir08"


def test_bands_without_common_names_have_letters_by_wavelength():
    bands = tuple(
        Band(f"band {nm}", "reflectance", "1", 30, wavelength_nm=nm)
        for nm in (630, 655, 680, 800, 830, 1240)
    )
    letters = letters_of(bands)
    assert bands[letters["R"]].wavelength_nm == 655
    assert bands[letters["N"]].wavelength_nm == 830
    assert "S1" not in letters


def test_radar_indices_take_polarisations():
    pixels = random_pixels(len(RADAR), 3, 3)
    names = [band.polarisation for band in RADAR]
    vv, vh = pixels[names.index("VV")], pixels[names.index("VH")]
    made = compute(["DpRVIVV"], pixels, RADAR)
    np.testing.assert_allclose(made[0], 4 * vh / (vv + vh), rtol=1e-5)


def test_formulas_may_ask_for_wavelengths():
    assert "NDVI" in possible(S2)
    assert {"kNDVI", "S2REP"} <= set(possible(S2))
    assert "NIRvP" not in possible(S2)  # photosynthetic radiation is no band
    assert "DpRVIVV" not in possible(S2)
    made = compute(possible(S2), random_pixels(len(S2), 4, 4), S2)
    assert len(made) == len(possible(S2)) > 150
    # Of the whole catalogue none is without a value everywhere.
    assert not np.isnan(made).all(axis=(1, 2)).any()


def test_unknown_indices_and_missing_bands():
    pixels = random_pixels(len(RADAR), 2, 2)
    with pytest.raises(DataError, match=r"no index 'ndvii'; near to it are: .*NDVI"):
        compute(["ndvii"], pixels, RADAR)
    with pytest.raises(DataError, match=r"NDVI needs N \(Near.*, R \(Red\); there are: VV"):
        compute(["NDVI"], pixels, RADAR)
    with pytest.raises(DataError, match=r"NIRvP needs PAR \(Photo.*which no band has"):
        compute(["NIRvP"], random_pixels(len(S2), 2, 2), S2)
    with pytest.raises(DataError, match="no index 'middle'"):
        as_bands(["middle"], 10)


def test_indices_are_bands():
    made = as_bands(["NDVI", "S2REP"], 20)
    assert [(b.name, b.kind, b.unit, b.gsd) for b in made] == [
        ("NDVI", "index", "1", 20),
        ("S2REP", "index", "nm", 20),
    ]


def test_the_catalogue_is_loaded_late():
    """It brings a web client along, which no other part of the package waits for."""
    body = ast.parse(Path(indices.__file__).read_text(encoding="utf-8")).body
    at_import = [
        ast.unparse(part) for part in body if isinstance(part, ast.Import | ast.ImportFrom)
    ]
    assert at_import
    assert not [line for line in at_import if "spyndex" in line]
