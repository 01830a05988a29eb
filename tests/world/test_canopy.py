"""The canopy table and the materials: published models leave marks that can be checked."""

import numpy as np

from earthloom.world.canopy import canopy_table
from earthloom.world.classes import CLASSES
from earthloom.world.covers import cover_index, covers, covers_of
from earthloom.world.spectra import BANDS, materials, water_reflectance

RED, EDGE, NEAR, SWIR = (BANDS.index(band) for band in ("B04", "B05", "B08", "B11"))


def _reflectance(lai: float, chlorophyll: float, water: float, soil: float) -> np.ndarray:
    table = canopy_table(40.0)
    one = np.ones(1)
    leaves = table.leaves(chlorophyll * one, water * one, 0 * one)
    black, through, below = (part[0, 0] for part in table.canopies(leaves, np.array([[lai]])))
    return black + through * soil / (1 - soil * below)


def test_no_leaves_show_the_soil() -> None:
    assert np.allclose(_reflectance(0.0, 40, 0.01, 0.25), 0.25, atol=0.003)


def test_many_leaves_hide_the_soil() -> None:
    dark, bright = (_reflectance(8.0, 40, 0.01, soil) for soil in (0.05, 0.4))
    assert np.abs(dark - bright)[RED] < 0.002
    assert np.abs(dark - bright).max() < 0.03


def test_chlorophyll_darkens_red_and_red_edge() -> None:
    pale, green = _reflectance(3, 15, 0.01, 0.2), _reflectance(3, 50, 0.01, 0.2)
    assert green[RED] < pale[RED]
    assert green[EDGE] < 0.8 * pale[EDGE]
    assert abs(green[NEAR] - pale[NEAR]) < 0.01


def test_leaf_water_darkens_the_infrared() -> None:
    dry, wet = _reflectance(3, 40, 0.004, 0.2), _reflectance(3, 40, 0.02, 0.2)
    assert wet[SWIR] < 0.8 * dry[SWIR]
    assert abs(wet[RED] - dry[RED]) < 0.002


def test_table_nodes_are_met() -> None:
    """Interpolation at a node gives the node, for each sun height of the table."""
    for zenith in (30.0, 50.0, 70.0):
        table = canopy_table(zenith)
        leaves = table.leaves(table.chlorophyll[2:3], table.water[1:2], table.brown[1:2])
        assert np.allclose(leaves[0], table.values[2, 1, 1], atol=1e-6)


def test_water_is_dark_in_the_infrared() -> None:
    clear, turbid = water_reflectance(2, 3, 0.5), water_reflectance(30, 3, 0.5)
    assert clear[NEAR] < 0.01
    assert clear[SWIR] < 0.01
    assert (turbid[:6] > clear[:6]).all()
    assert clear.argmax() == BANDS.index("B03")


def test_materials_are_reflectances() -> None:
    for name, spectrum in materials().items():
        assert spectrum.shape == (10,), name
        assert (spectrum > 0).all(), name
        assert (spectrum < 0.6).all(), name


def test_every_class_has_covers() -> None:
    for land in CLASSES:
        places, shares = covers_of(land.name)
        assert places
        assert np.isclose(shares.sum(), 1)


def test_covers_name_known_materials() -> None:
    for cover in covers():
        assert set(cover.ground) <= set(materials()), cover.name
        assert cover.radar.ground[0] > cover.radar.ground[1]


def test_calendar_repeats_and_meets_its_rows() -> None:
    calendar = covers()[cover_index()["maize"]].calendar
    assert np.allclose(calendar.at(calendar.day), calendar.states)
    assert np.allclose(calendar.at(np.array([40.0])), calendar.at(np.array([405.0])))
