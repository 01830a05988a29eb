"""Band-pass adjustment: published numbers, and the ways there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthloom.cube.harmonise.bandpass import adjust, line_of, lines, unadjusted
from earthloom.errors import DataError
from earthloom.sensors import Band, load_sensor

S2 = load_sensor("sentinel-2-l2a")


def band(name: str) -> Band:
    return Band(name=name, kind="reflectance", unit="1", gsd=30, common_name=name)


@pytest.mark.parametrize(
    ("platform", "name", "expected"),
    [
        ("sentinel-2a", "green", 0.2 * 1.0053 - 0.0009),
        ("sentinel-2a", "swir22", 0.2 * 1.0030 - 0.0012),
        ("sentinel-2b", "green", 0.2 * 1.0075 - 0.0008),
        ("sentinel-2b", "swir22", 0.2 * 0.9867 + 0.0004),
        ("landsat-7", "nir", 0.2 * 0.8462 + 0.0412),
        ("landsat-9", "red", 0.2),
    ],
)
def test_published_lines(platform, name, expected):
    pixels = np.full((1, 2, 3), 0.2, np.float32)
    assert adjust(pixels, [band(name)], platform) == pytest.approx(expected, rel=1e-6)


@given(
    st.sampled_from(sorted(lines())),
    st.sampled_from(sorted(lines())),
    st.sampled_from(["coastal", "blue", "green", "red", "nir08", "swir16", "swir22"]),
    st.floats(-0.05, 1.2),
)
def test_there_and_back(first, second, name, value):
    """Any platform's band comes back as it was; so does the way over a third."""
    if name == "coastal" and "landsat-7" in (first, second):
        return  # ETM+ has no such band.
    pixels = np.full((1, 1, 1), value, np.float32)
    there = adjust(pixels, [band(name)], first, second)
    assert adjust(there, [band(name)], second, first) == pytest.approx(value, abs=1e-5)
    hub = adjust(adjust(pixels, [band(name)], first), [band(name)], "landsat-8", second)
    assert there == pytest.approx(hub, abs=1e-5)


def test_what_has_no_coefficient_stays_and_is_named():
    """HLS does not adjust the red edge, nor the wide near infrared band."""
    pixels = np.full((len(S2.bands), 2, 2), 0.3, np.float32)
    left = unadjusted(S2.bands, "sentinel-2a")
    assert set(left) == {"B05", "B06", "B07", "B08", "B09"}
    out = adjust(pixels, S2.bands, "sentinel-2a")
    for image, each in zip(out, S2.bands):
        assert (image == np.float32(0.3)).all() == (each.name in left)
    assert unadjusted(S2.bands, None) == tuple(each.name for each in S2.bands)
    assert (adjust(pixels, S2.bands, "sentinel-2x") == pixels).all()


def test_values_are_neither_clipped_nor_filled():
    pixels = np.array([[[-0.05, 1.5, np.nan]]], np.float32)
    out = adjust(pixels, [band("blue")], "sentinel-2a")
    assert out[0, 0, 0] < -0.05
    assert out[0, 0, 1] > 1.4
    assert np.isnan(out[0, 0, 2])
    assert pixels[0, 0, 0] == np.float32(-0.05)


def test_an_unknown_target_is_refused():
    with pytest.raises(DataError, match=r"'landsat-3'.*landsat-8"):
        line_of(band("red"), "sentinel-2a", "landsat-3")
