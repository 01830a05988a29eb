"""One contract for every sensor's table, and each product's units by hand."""

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthloom.errors import DataError
from earthloom.sensors import (
    KINDS,
    OffsetRule,
    describe_sensor,
    known_sensors,
    list_sensors,
    load_sensor,
    measures_of,
    parse_sensor,
    to_physical,
    to_stored,
)

UNITS = {
    "reflectance": {"1"},
    "radiance": {"W m-2 sr-1 um-1"},
    "backscatter": {"linear power"},
    "temperature": {"K"},
    "elevation": {"m"},
    "index": {"1"},
    "angle": {"degree"},
    "class": {"class"},
    "quantity": {"m", "Pa", "m s-1", "m3 m-3", "J m-2", "1"},
    "counts": {"DN"},
}
OPTICAL = {"reflectance", "radiance"}
LIGHT_OF_HEAT = 3000
"""Nanometres from which on a sensor sees more heat than sunlight."""


@pytest.fixture(params=known_sensors())
def sensor(request):
    return load_sensor(request.param)


def test_is_named_as_its_file_and_says_where_its_figures_come_from(sensor):
    assert sensor.name in known_sensors()
    assert sensor.title
    assert len(sensor.source) > 20


def test_bands_have_names_of_their_own(sensor):
    assert len(sensor.by_name) == len(sensor.bands) > 0
    if sensor.quality is not None:
        assert sensor.quality.band not in sensor.by_name


def test_bands_say_what_they_measure(sensor):
    for band in sensor.bands:
        assert band.kind in KINDS
        assert band.unit in UNITS[band.kind]
        assert 0 < band.gsd <= 30_000
        assert band.scale > 0
        assert band.index >= 1
        assert sensor.band(band.name) is band


def test_wavelengths_are_light_that_a_sensor_can_see(sensor):
    for band in sensor.bands:
        if band.kind in OPTICAL | {"counts"} and band.frequency_ghz is None:
            assert 300 <= band.wavelength_nm < LIGHT_OF_HEAT
            assert 0 < band.width_nm < band.wavelength_nm
        elif band.kind == "temperature" and band.wavelength_nm is not None:
            assert LIGHT_OF_HEAT < band.wavelength_nm < 15_000
            assert 0 < band.width_nm < band.wavelength_nm
        else:
            assert band.wavelength_nm is None
            assert band.width_nm is None


def test_radar_says_its_frequency_and_polarisation(sensor):
    for band in sensor.bands:
        if band.kind == "backscatter":
            assert 1 <= band.frequency_ghz <= 12
        if band.frequency_ghz is not None:
            assert band.polarisation in {"VV", "VH", "HH", "HV"}


def test_common_names_are_those_of_stac(sensor):
    names = {
        "coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078", "yellow",
        "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir11", "lwir12", "pan", "lwir",
    }  # fmt: skip
    ranges = {"blue": (440, 530), "green": (500, 600), "red": (600, 700), "nir08": (800, 900)}
    for band in sensor.bands:
        assert band.common_name is None or band.common_name in names
        if band.common_name in ranges:
            low, high = ranges[band.common_name]
            assert low < band.wavelength_nm < high


def test_valid_range_is_what_can_be_stored(sensor):
    """The ends of the range come from numbers that 16 bits hold; nodata lies outside."""
    for band in sensor.bands:
        if band.valid_range is None or band.per_scene:
            continue
        least, greatest = band.valid_range
        assert least < greatest
        scaling = (band.scale, band.offset, band.transform, band.constants)
        if band.scale != 1 and band.transform == "linear":
            stored = to_stored(np.array([least, greatest]), *scaling)
            offsets = [rule.offset for rule in sensor.offset_rules] or [0.0]
            shift = -min(offsets) / band.scale
            assert stored[0] + shift >= -32769
            assert stored[1] <= 65536
            if band.nodata is not None:
                nothing = float(to_physical(np.array(band.nodata), *scaling))
                assert not least <= nothing - 1e-9 <= greatest or offsets != [0.0]


def test_physical_numbers_come_back_as_they_were_stored(sensor):
    for band in sensor.bands:
        if band.kind == "class" or (band.valid_range is None and band.transform != "linear"):
            continue
        least, greatest = band.valid_range or (0.0, 1000.0)
        least = max(least, 1e-3) if band.transform != "linear" else least
        values = np.linspace(least, greatest, 7)
        scaling = (band.scale, band.offset, band.transform, band.constants)
        assert to_physical(to_stored(values, *scaling), *scaling) == pytest.approx(values)


def test_nodata_is_no_measurement(sensor):
    for band in sensor.bands:
        if band.nodata is not None:
            assert np.isnan(band.physical(np.array([band.nodata]))).all()


def test_thermal_constants_are_those_of_planck(sensor):
    """K1 and K2 follow from the wavelength: 2 h c^2 / w^5 and h c / (k w)."""
    for band in sensor.bands:
        assert (band.constants is not None) == (band.transform == "brightness")
        if band.constants is not None:
            k1, k2 = band.constants
            micrometres = band.wavelength_nm / 1000
            assert k1 * micrometres**5 == pytest.approx(1.191043e8, rel=0.06)
            assert k2 * micrometres == pytest.approx(14387.77, rel=0.015)


def test_states_of_the_quality_band_do_not_contradict_each_other(sensor):
    """No stored number means two things by one field, and no two fields share a part of their
    bits."""
    quality = sensor.quality
    if quality is None:
        return
    assert quality.gsd > 0
    assert quality.meanings
    assert all(state.note or state.means for state in quality.states)
    for one, other in itertools.combinations(quality.states, 2):
        ours, theirs = (
            None if each.bit is None else range(each.bit, each.bit + each.length)
            for each in (one, other)
        )
        if ours == theirs:
            assert not set(one.values) & set(other.values), (one, other)
        elif ours is not None and theirs is not None:
            assert not set(ours) & set(theirs), (one, other)


def test_fields_of_the_quality_band_can_hold_their_values(sensor):
    for state in sensor.quality.states if sensor.quality else ():
        assert state.values
        if state.bit is not None:
            assert 0 <= state.bit < 32
            assert all(0 <= value < 2**state.length for value in state.values)
            stored = np.array([value << state.bit for value in state.values], np.uint32)
            assert state.where(stored).all()


def test_asset_names_are_of_bands(sensor):
    quality = {sensor.quality.band} if sensor.quality else set()
    for provider in sensor.providers:
        assert provider.assets.keys() <= sensor.by_name.keys() | quality
        for band, asset in provider.assets.items():
            assert sensor.asset_of(band, {asset: None}) == asset
            assert asset == band or asset not in sensor.by_name, "another band's own name"
        if provider.every is not None:
            for band in sensor.bands:
                assert sensor.asset_of(band.name, {provider.every: None}) == provider.every
    for band in sensor.bands:
        assert sensor.asset_of(band.name, {band.name: None}) == band.name
        assert sensor.asset_of(band.name, {}) is None


def test_bands_of_one_file_have_places_of_their_own(sensor):
    for provider in sensor.providers:
        held = {}
        for band in sensor.bands:
            asset = provider.assets.get(band.name, provider.every or band.name)
            held.setdefault(asset, []).append(band.index)
        for asset, indices in held.items():
            assert len(indices) == len(set(indices)), asset


def test_collections_begin_with_the_sensor_itself(sensor):
    assert sensor.collections[0] == sensor.name
    assert len(set(sensor.collections)) == len(sensor.collections)


def test_platforms_are_in_small_letters(sensor):
    for platform in sensor.platforms:
        assert platform == platform.lower().replace("_", "-")
        assert sensor.has_platform(platform)
    assert sensor.has_platform(None)
    assert sensor.has_platform("no-such-satellite") == (not sensor.platforms)


def test_classes_have_values_and_names_of_their_own(sensor):
    if any(band.kind == "class" for band in sensor.bands):
        assert len({each.value for each in sensor.classes}) == len(sensor.classes) > 1
        assert len({each.name for each in sensor.classes}) == len(sensor.classes)


def test_description_names_every_band(sensor):
    lines = describe_sensor(sensor).splitlines()
    for band in sensor.bands:
        assert any(line.startswith(band.name + " ") for line in lines)
    assert sensor.name in list_sensors([sensor])


def test_the_page_of_sensors_lists_it(sensor):
    page = (Path(__file__).parents[1] / "docs" / "sensors.md").read_text(encoding="utf-8")
    assert f"`{sensor.name}`" in page


def test_the_example_of_the_page_is_a_sensor(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "sensors.md").read_text(encoding="utf-8")
    table = page.split("```toml\n")[1].split("```")[0]
    (tmp_path / "landsat-oli-mine.sensor.toml").write_text(table)
    ours, theirs = load_sensor("landsat-oli-mine", tmp_path), load_sensor("landsat-oli-c2-l2")
    for band in ours.bands:
        assert dataclasses.replace(band, valid_range=None) == dataclasses.replace(
            theirs.band(band.name), valid_range=None
        )


BY_HAND = [
    # USGS, "How do I use a scale factor with Landsat Level-2 science products?"
    ("landsat-oli-c2-l2", "red", 18_639, 0.3125725),
    ("landsat-oli-c2-l2", "red", 7_273, 0.0000075),
    ("landsat-oli-c2-l2", "red", 43_636, 0.99999),
    ("landsat-oli-c2-l2", "lwir11", 44_947, 302.62974),
    ("landsat-etm-c2-l2", "nir08", 18_639, 0.3125725),
    ("landsat-etm-c2-l2", "lwir", 44_947, 302.62974),
    ("landsat-tm-c2-l2", "swir22", 18_639, 0.3125725),
    ("landsat-tm-c2-l2", "lwir", 44_947, 302.62974),
    # L = 0.0003342 * 25000 + 0.1 = 8.455; 1321.0789 / ln(774.8853 / 8.455 + 1)
    ("landsat-8-tirs-c2-l1", "lwir11", 25_000, 291.7052),
    # L = 0.00038 * 22000 + 0.1 = 8.46; 1329.2405 / ln(799.0284 / 8.46 + 1 = 95.4478)
    ("landsat-9-tirs-c2-l1", "lwir11", 22_000, 291.591),
    ("landsat-oli-c2-l1", "red", 10_000, 0.1),
    # L = 0.055375 * 131 + 1.18243 = 8.436555; 1260.56 / ln(607.76 / 8.436555 + 1)
    ("landsat-tm-c2-l1", "lwir", 131, 293.7698),
    # L = 0.067087 * 131 - 0.06709 = 8.721307; 1282.71 / ln(666.09 / 8.721307 + 1 = 77.37502)
    ("landsat-etm-c2-l1", "lwir", 131, 294.9664),
    ("sentinel-2-l2a", "B04", 1_234, 0.1234),
    ("sentinel-2-l1c", "B10", 87, 0.0087),
    ("hls-l30", "B04", 1_234, 0.1234),
    ("hls-l30", "B10", 2_500, 298.15),
    ("hls-s30", "B8A", -50, -0.005),
    ("modis-mod09ga", "sur_refl_b02", 5_000, 0.5),
    ("modis-mod09a1", "sur_refl_b07", -100, -0.01),
    ("modis-mcd43a4", "Nadir_Reflectance_Band4", 512, 0.0512),
    ("modis-mod13q1", "ndvi", 8_000, 0.8),
    ("modis-mod13q1", "mir", 1_500, 0.15),
    ("viirs-vnp09ga", "SurfReflect_I2", 3_210, 0.321),
    ("viirs-vnp46a1", "BrightnessTemperature_M12", 38_800, 300.0),
    ("viirs-vnp46a1", "BrightnessTemperature_M15", 60_000, 261.0),
    ("viirs-vnp46a1", "BrightnessTemperature_M16", 60_000, 253.0),
    ("sentinel-3-olci", "Oa01", 10_000, 139.465),
    ("sentinel-3-olci", "Oa21", 10_000, 32.4118),
    ("enmap-l2a", "B048", 2_500, 0.25),
    ("prisma-l2d", "B033", 65_535, 1.0),
    ("aviris", "B030", 4_000, 0.4),
    ("planetscope-4b-sr", "nir", 1_500, 0.15),
    ("planetscope-8b-sr", "rededge", 1_500, 0.15),
    # 10 log10(7000^2) - 83 = 76.90196 - 83 = -6.09804 dB
    ("palsar-2", "HH", 7_000, 0.2455817),
    ("sentinel-1-rtc", "vv", 0.08, 0.08),
    ("sentinel-1-grd-db", "VH", -20.0, 0.01),
    ("sentinel-1-grd", "vv", 300, 300),
    ("naip", "nir", 128, 128),
    ("aerial-rgb", "green", 7, 7),
    ("aerial-rgbi", "nir", 250, 250),
    ("spot-6-7", "blue", 600, 600),
    ("cop-dem-glo-30", "elevation", -3.5, -3.5),
    ("cop-dem-glo-90", "elevation", 8_700, 8_700),
    ("esa-worldcover", "map", 95, 95),
    ("era5", "2t", 288.15, 288.15),
    ("era5", "tp", 0.002, 0.002),
    ("modis-toa-14", "B31", 295.0, 295.0),
    ("modis-toa-14", "B01", 0.3, 0.3),
]


@pytest.mark.parametrize(("name", "band", "stored", "physical"), BY_HAND)
def test_units_by_hand(name, band, stored, physical):
    found = load_sensor(name).band(band).physical(np.array([stored]))
    assert found == pytest.approx(physical, rel=1e-5)


def test_every_product_has_a_number_worked_by_hand():
    by_scene = {"modis-mod021km"}  # see below
    assert {name for name, *_ in BY_HAND} | by_scene == set(known_sensors())


def test_thermal_radiance_of_modis_becomes_the_temperature_that_sent_it():
    """A black body of 300 K at band 31's effective 11.012 um sends 9.5 W m-2 sr-1 um-1."""
    band = load_sensor("modis-mod021km").band("B31")
    wave = 1e-2 / 908.0884
    h, c, k = 6.62607015e-34, 299_792_458.0, 1.380649e-23
    radiance = 2e-6 * h * c**2 / wave**5 / (math.exp(h * c / (wave * k * 300.0)) - 1)
    assert radiance == pytest.approx(9.57, abs=0.05)
    found = to_physical(np.array([radiance]), 1.0, 0.0, band.transform, band.constants)
    assert found == pytest.approx(300.0, abs=0.01)


@pytest.mark.parametrize("transform", ["linear", "square", "decibel"])
@given(
    stored=st.floats(0.5, 60_000),
    scale=st.floats(1e-6, 1e-3),
    offset=st.floats(0, 2),
)
def test_transforms_have_inverses(transform, stored, scale, offset):
    physical = to_physical(np.array([stored]), scale, offset, transform)
    back = to_stored(physical, scale, offset, transform)
    assert back == pytest.approx(stored, rel=1e-4, abs=1e-2 / scale * 1e-6)


def test_radiance_that_nothing_sends_has_no_temperature():
    found = to_physical(np.array([-1.0, 0.0, 1.0]), 1.0, 0.0, "brightness", (600.0, 1300.0))
    assert np.isnan(found[:2]).all()
    assert found[2] == pytest.approx(1300 / math.log(601))


def test_decibels_become_power():
    powers = to_physical(np.array([-20.0, -10.0, 0.0, 10.0]), 1.0, 0.0, "decibel")
    assert powers == pytest.approx([0.01, 0.1, 1.0, 10.0])


@pytest.mark.parametrize(
    ("name", "stored", "meanings"),
    [
        ("landsat-oli-c2-l2", 21_824, set()),  # clear land
        ("landsat-oli-c2-l2", 21_952, {"water"}),
        ("landsat-oli-c2-l2", 22_280, {"cloud"}),
        ("landsat-oli-c2-l2", 23_888, {"shadow"}),
        ("landsat-oli-c2-l2", 1, {"fill"}),
        ("landsat-oli-c2-l2", 54_596, {"cirrus"}),
        ("landsat-tm-c2-l2", 5_896, {"cloud"}),
        ("hls-l30", 0b0000_0010, {"cloud"}),
        ("hls-s30", 0b1110_0100, {"adjacent", "aerosol", "water"}),
        ("modis-mod09ga", 0b0000_0000_0000_1000, {"land"}),
        ("modis-mod09ga", 0b0000_0100_0000_1001, {"land", "cloud"}),
        ("modis-mod09ga", 0b1000_0011_1100_1000, {"land", "aerosol", "cirrus", "snow"}),
        ("sentinel-2-l2a", 9, {"cloud"}),
        ("palsar-2", 150, {"defective"}),
        ("modis-mod13q1", -1, {"fill"}),
        ("viirs-vnp46a1", 0b0000_0000_1100_0010, {"cloud", "land"}),
    ],
)
def test_quality_by_hand(name, stored, meanings):
    quality = load_sensor(name).quality
    assert {m for m in quality.meanings if quality.where(np.array([stored]), {m}).all()} == meanings


@pytest.mark.parametrize("name", ["sentinel-2-l1c", "sentinel-2-l2a"])
@pytest.mark.parametrize(
    ("properties", "offset"),
    [
        ({}, None),
        ({"s2:processing_baseline": "03.01"}, 0.0),
        ({"s2:processing_baseline": "04.00"}, -0.1),
        ({"s2:processing_baseline": "05.11"}, -0.1),
        ({"s2:processing_baseline": 2.12}, 0.0),
        ({"s2:processing_baseline": None}, None),
        ({"processing:version": "05.11"}, -0.1),
    ],
)
def test_the_baseline_of_sentinel_2_decides_on_its_offset(name, properties, offset):
    rules = load_sensor(name).offset_rules
    assert next((rule.offset for rule in rules if rule.holds(properties)), None) == offset


@pytest.mark.parametrize("applied", [True, "true", "True"])
def test_earth_search_has_taken_the_offset_off(applied):
    said = {"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": applied}
    rules = load_sensor("sentinel-2-l2a").offset_rules
    first = next(rule for rule in rules if rule.holds(said))
    assert (first.offset, first.over_item) == (0.0, True)


@given(st.floats(0, 9).map(lambda x: round(x, 2)), st.floats(0, 9).map(lambda x: round(x, 2)))
def test_a_rule_holds_from_its_value_or_before_it(value, limit):
    text = f"{limit:05.2f}"
    said = {"v": f"{value:05.2f}"}
    after, before = OffsetRule("v", 1, from_value=text), OffsetRule("v", 1, before_value=text)
    assert after.holds(said) == (value >= limit) != before.holds(said)


def test_unknown_band_is_named_with_the_valid_ones(sensor):
    first = sensor.bands[0].name
    with pytest.raises(DataError, match=f"has no band 'nope'; its bands are: {first}"):
        sensor.band("nope")


def test_unknown_sensor_is_named_with_the_known_ones():
    with pytest.raises(DataError, match="unknown sensor 'landsat-99'; known are: aerial-rgb, "):
        load_sensor("landsat-99")


OURS = """
name = "{name}"
title = "ours"
source = "us"
bands = [{{ name = "hh", kind = "backscatter", unit = "linear power", gsd = 20 }}]
"""


def test_a_table_of_the_project_goes_before_the_built_in_one(tmp_path):
    assert load_sensor("sentinel-1-rtc", tmp_path) == load_sensor("sentinel-1-rtc")
    (tmp_path / "sentinel-1-rtc.sensor.toml").write_text(OURS.format(name="sentinel-1-rtc"))
    ours = load_sensor("sentinel-1-rtc", tmp_path)
    assert ours.title == "ours"
    assert list(ours.by_name) == ["hh"]
    assert known_sensors(tmp_path) == known_sensors()


def test_a_new_sensor_is_one_file(tmp_path):
    (tmp_path / "mine.sensor.toml").write_text(OURS.format(name="mine"))
    assert "mine" in known_sensors(tmp_path)
    assert load_sensor("mine", tmp_path).collections == ("mine",)


def test_a_table_must_have_the_name_of_its_file(tmp_path):
    (tmp_path / "mine.sensor.toml").write_text(OURS.format(name="yours"))
    with pytest.raises(DataError, match=r"mine\.sensor\.toml .* 'yours' must be 'mine'"):
        load_sensor("mine", tmp_path)


def test_a_file_that_is_no_toml_is_named(tmp_path):
    (tmp_path / "mine.sensor.toml").write_text("name = \n")
    with pytest.raises(DataError, match=r"the sensor table mine\.sensor\.toml is not TOML: "):
        load_sensor("mine", tmp_path)


BAND = {"name": "red", "kind": "reflectance", "unit": "1", "gsd": 10}
TABLE = {"name": "a", "title": "a", "source": "a", "bands": [BAND]}


def _with_quality(**state):
    return TABLE | {"quality": {"band": "qa", "gsd": 10, "states": [state]}}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "it has no [[bands]]"),
        (TABLE | {"bands": []}, "it has no [[bands]]"),
        (TABLE | {"bands": "red"}, "bands: 'red' must be a list of tables"),
        (TABLE | {"bands": [BAND, BAND]}, "two bands have the name 'red'"),
        (TABLE | {"title": " "}, "title: it must not be empty"),
        (TABLE | {"titel": "a"}, "there is no key 'titel'; valid: name, title, source"),
        (TABLE | {"bands": [{"name": "red"}]}, "band 'red': it lacks kind, unit, gsd"),
        (TABLE | {"bands": [{"nome": "red"}]}, "bands[0]: there is no key 'nome'; valid: name, "),
        (
            TABLE | {"bands": [BAND | {"kind": "colour"}]},
            "band 'red': kind: 'colour' is not valid; valid: reflectance, radiance, ",
        ),
        (TABLE | {"bands": [BAND | {"gsd": "10"}]}, "band 'red': gsd: '10' must be a number"),
        (TABLE | {"bands": [BAND | {"index": 1.5}]}, "band 'red': index: '1.5' must be a whole"),
        (
            TABLE | {"bands": [BAND | {"valid_range": [0]}]},
            "band 'red': valid_range: '[0]' must have 2 values",
        ),
        (
            TABLE | {"bands": [BAND | {"transform": "brightness"}]},
            "the transform 'brightness' and 'constants' go together",
        ),
        (
            _with_quality(values=[1], means="clouds"),
            "quality.states[0]: means: 'clouds' is not valid; valid: fill, defective, ",
        ),
        (_with_quality(means="cloud"), "quality.states[0]: it needs 'values', 'bit', or both"),
        (
            TABLE | {"quality": {"band": "qa", "gsd": 10, "invalid": [1]}},
            "quality: there is no key 'invalid'; valid: band, gsd, states, hides",
        ),
        (
            TABLE | {"providers": {"us": {"assets": {"blue": "b"}}}},
            "providers.us.assets: there is no band 'blue'; valid: red",
        ),
        (
            TABLE | {"offset_rules": [{"item_property": "a"}]},
            "offset_rules[0]: it lacks offset",
        ),
    ],
)
def test_what_is_wrong_in_a_table_is_named(table, message):
    with pytest.raises(DataError) as error:
        parse_sensor(table, "mine.toml")
    assert str(error.value).startswith("the sensor table mine.toml is not valid: ")
    assert message in str(error.value)


def test_layers_say_what_no_table_of_the_package_does():
    known = load_sensor("sentinel-1-rtc")
    assert measures_of(known, known.bands) == ()
    own = dataclasses.replace(known, name="mine")
    found = measures_of(own, own.bands)
    assert [each.polarisation for each in found[:2]] == ["VV", "VH"]
    assert found[0].frequency_ghz == pytest.approx(5.405)
