"""Reading tables of labelled pixel series."""

import numpy as np
import pytest

from earthloom.chips.series import read_table
from earthloom.errors import DataError, LabelError
from earthloom.sample import collate
from earthloom.sensors import load_sensor

SENSOR = load_sensor("modis-mod13q1")
CODES = {"soy": 1, "forest": 2}


def _table(**changes):
    rng = np.random.default_rng(0)
    table = {
        "X": rng.random((3, 2, 3)).astype(np.float32),
        "bands": np.array(["nir", "red", "ndvi"]),
        "y": np.array(["soy", "forest", "soy"]),
        "lon": np.array([-55.2, -55.7, 10.0]),
        "lat": np.array([-10.5, -10.1, 3.0]),
        "dates": np.array([["2015-09-14", "2015-09-30"]] * 3),
    }
    return {key: value for key, value in (table | changes).items() if value is not None}


def _read(folder, bands=(), codes=CODES, **changes):
    file = folder / "table.npz"
    np.savez(file, **_table(**changes))
    return read_table(file, SENSOR, bands, codes, block=1.0)


def test_bands_come_in_the_sensors_order(tmp_path):
    samples = _read(tmp_path)
    (spec,) = samples.specs.values()
    assert spec.bands == ("red", "nir", "ndvi")
    assert spec.wavelengths_nm == (645, 858, None)
    assert spec.dates == ("01", "02")
    batch = collate([samples[0], samples[1]])
    values = batch.layers[spec.key].pixels[0, :, :, 0, 0].numpy()
    np.testing.assert_array_equal(values, _table()["X"][0][:, [1, 0, 2]])
    assert batch.label.flatten().tolist() == [1, 2]


def test_groups_are_blocks(tmp_path):
    assert _read(tmp_path).groups == ("-56,-11", "-56,-11", "10,3")


def test_nan_is_masked_and_counted(tmp_path):
    pixels = _table()["X"]
    pixels[0, 1, 2] = np.nan
    pixels[2] = np.nan
    samples = _read(tmp_path, X=pixels)
    assert samples.valid.tolist() == [[True, False], [True, True], [False, False]]
    assert samples.never_seen == 1
    assert np.isnan(samples.pixels[0, 1]).all()


def test_unknown_class_is_named_with_the_valid_ones(tmp_path):
    with pytest.raises(LabelError, match="forest.*classes are: soy"):
        _read(tmp_path, codes={"soy": 1})


def test_missing_array_is_named_with_those_present(tmp_path):
    with pytest.raises(DataError, match="lacks.*lat.*present are: X, bands, y, lon, dates"):
        _read(tmp_path, lat=None)


def test_band_that_the_table_lacks(tmp_path):
    with pytest.raises(DataError, match="no band 'mir'; its bands are: nir, red, ndvi"):
        _read(tmp_path, bands=("red", "mir"))


def test_shapes_that_do_not_fit(tmp_path):
    with pytest.raises(DataError, match=r"y has shape \(2,\).*\(3,\)"):
        _read(tmp_path, y=np.array(["soy", "soy"]))


def test_dates_that_are_none(tmp_path):
    with pytest.raises(DataError, match="YYYY-MM-DD"):
        _read(tmp_path, dates=np.array([["spring", "autumn"]] * 3))


def test_a_file_that_is_no_table(tmp_path):
    (tmp_path / "table.npz").write_bytes(b"not a zip file")
    with pytest.raises(DataError, match="cannot read"):
        read_table(tmp_path / "table.npz", SENSOR, (), CODES, 1.0)


def test_pickles_are_not_opened(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        _read(tmp_path, y=np.array(["soy", None, "soy"], dtype=object))
