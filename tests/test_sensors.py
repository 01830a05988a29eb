"""One contract for every sensor's table."""

import pytest

from earthloom.errors import DataError
from earthloom.sensors import known_sensors, load_sensor, parse_sensor

KINDS = {"reflectance", "backscatter", "elevation", "index"}
UNITS = {
    "reflectance": {"1"},
    "backscatter": {"linear power"},
    "elevation": {"m"},
    "index": {"1"},
}


@pytest.fixture(params=known_sensors())
def sensor(request):
    return load_sensor(request.param)


def test_is_named_as_its_file_and_says_where_its_figures_come_from(request, sensor):
    assert sensor.name in known_sensors()
    assert sensor.title
    assert sensor.source


def test_bands_have_names_of_their_own(sensor):
    assert len(sensor.by_name) == len(sensor.bands) > 0


def test_bands_say_what_they_measure(sensor):
    for band in sensor.bands:
        assert band.kind in KINDS
        assert band.unit in UNITS[band.kind]
        assert 0 < band.gsd <= 5000
        assert band.scale > 0
        assert sensor.band(band.name) is band


def test_wavelengths_are_light_that_a_sensor_can_see(sensor):
    for band in sensor.bands:
        if band.kind == "reflectance":
            assert 300 <= band.wavelength_nm <= 15_000
            assert 0 < band.width_nm < band.wavelength_nm
        else:
            assert band.wavelength_nm is None
            assert band.width_nm is None


def test_values_of_the_quality_band_are_listed(sensor):
    if sensor.quality is None:
        return
    assert sensor.quality.invalid <= sensor.quality.values.keys()
    assert sensor.quality.invalid != sensor.quality.values.keys()
    assert sensor.quality.band not in sensor.by_name
    assert sensor.quality.gsd > 0
    assert all(sensor.quality.values.values())


def test_offset_turns_the_shifted_numbers_back(sensor):
    if sensor.offset_rule is None:
        return
    for band in sensor.bands:
        # 1000 is what the rule of Sentinel-2 has added to the stored numbers.
        assert 1000 * band.scale + sensor.offset_rule.offset == pytest.approx(band.offset)


def test_asset_names_are_of_bands(sensor):
    quality = {sensor.quality.band} if sensor.quality else set()
    for names in sensor.asset_names:
        assert names.keys() <= sensor.by_name.keys() | quality
        for band, asset in names.items():
            assert sensor.asset_of(band, {asset: None}) == asset
    for band in sensor.bands:
        assert sensor.asset_of(band.name, {band.name: None}) == band.name
        assert sensor.asset_of(band.name, {}) is None


def test_unknown_band_is_named_with_the_valid_ones(sensor):
    with pytest.raises(DataError, match=f"no band 'nope'; its bands are: {sensor.bands[0].name}"):
        sensor.band("nope")


def test_unknown_sensor_is_named_with_the_known_ones():
    with pytest.raises(DataError, match="unknown sensor 'landsat-99'; known are: cop-dem"):
        load_sensor("landsat-99")


def test_a_table_of_the_project_goes_before_the_built_in_one(tmp_path):
    assert load_sensor("sentinel-1-rtc", tmp_path) == load_sensor("sentinel-1-rtc")
    (tmp_path / "sentinel-1-rtc.sensor.toml").write_text(
        'name = "sentinel-1-rtc"\ntitle = "ours"\nsource = "us"\n'
        '[[bands]]\nname = "hh"\nkind = "backscatter"\nunit = "linear power"\ngsd = 20\n'
    )
    ours = load_sensor("sentinel-1-rtc", tmp_path)
    assert ours.title == "ours"
    assert list(ours.by_name) == ["hh"]
    assert known_sensors(tmp_path).count("sentinel-2-l2a") == 1


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"name": "a", "title": "a", "source": "a"},
        {"name": "a", "title": "a", "source": "a", "bands": [{"name": "red"}]},
        {"name": "a", "title": "a", "source": "a", "bands": [{"nome": "red"}]},
        {"name": "a", "title": "a", "source": "a", "bands": "red"},
    ],
)
def test_table_that_is_not_valid_is_named(table):
    with pytest.raises(DataError, match=r"the sensor table mine\.toml is not valid"):
        parse_sensor(table, "mine.toml")
