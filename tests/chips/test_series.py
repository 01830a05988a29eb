"""Reading tables of labelled pixel series."""

from pathlib import Path

import numpy as np
import pytest

from earthloom.chips.series import read_table
from earthloom.errors import DataError, LabelError
from earthloom.sample.batch import collate
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
    with pytest.raises(LabelError, match=r"forest.*classes are: soy"):
        _read(tmp_path, codes={"soy": 1})


def test_missing_array_is_named_with_those_present(tmp_path):
    with pytest.raises(DataError, match=r"lacks.*lat.*present are: X, bands, y, lon, dates"):
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


DATA = Path(__file__).parents[2] / "../shared/data/timeseries_labelled"


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data/timeseries_labelled")
def test_real_tables_agree_whatever_the_order_of_their_bands():
    """mt_9 shows places and years of cerrado_11, its bands in another order."""
    found = []
    for name in ("modis_mt_9classes.npz", "modis_cerrado_11classes.npz"):
        with np.load(DATA / name, allow_pickle=False) as table:
            codes = {each: n for n, each in enumerate(sorted(set(table["y"].tolist())), start=1)}
        samples = read_table(DATA / name, SENSOR, (), codes, block=1.0)
        keys = zip(samples.lon.round(4), samples.lat.round(4), samples.days[:, 0], strict=True)
        found.append(dict(zip(keys, samples.pixels, strict=True)))
    small, large = found
    both = sorted(small.keys() & large.keys())
    assert len(both) > 0.9 * len(small)
    ours, theirs = (np.stack([each[key] for key in both]) for each in (small, large))
    apart = np.abs(ours[..., :, None] - theirs[..., None, :]).mean(axis=(0, 1))
    assert (apart.argmin(axis=0) == np.arange(6)).all()
