"""Chips of the simulated Earth, drawn from a number alone."""

import pickle

import numpy as np
import pytest
import torch

from earthloom.chips.store import open_chips
from earthloom.encoders.loom.bands import facts_of
from earthloom.errors import ContractError
from earthloom.pretrain import Simulated, Stored
from earthloom.pretrain.instruments import known_instruments
from earthloom.pretrain.write import write_chips
from earthloom.sample import chips_of

SMALL = Simulated(chips=12, side=48, landscape=64, chips_each=3, at_once=2, seed=5)


@pytest.fixture(scope="module")
def samples():
    return SMALL.open()


def _same(one, other, rtol=0.0):
    assert one.id == other.id
    for key, layer in one.layers.items():
        np.testing.assert_allclose(layer.pixels, other.layers[key].pixels, rtol=rtol)
        np.testing.assert_array_equal(layer.valid, other.layers[key].valid)
        np.testing.assert_array_equal(layer.days, other.layers[key].days)
    np.testing.assert_array_equal(one.label, other.label)


def test_a_chip_depends_on_its_number_alone(samples):
    other = pickle.loads(pickle.dumps(samples))
    for number in (7, 0, 7):
        _same(samples[number], other[number])
    assert samples[0].id != samples[1].id


def test_chips_hold_what_they_say(samples):
    for chip in list(chips_of(samples))[:6]:
        assert set(chip.layers) == set(samples.specs)
        for layer in chip.layers.values():
            finite = np.isfinite(layer.pixels).all(axis=1)
            assert (finite == layer.valid).all()
            assert (np.diff(layer.days) > 0).all()
            if layer.spec.unit == "1" and layer.valid.any():
                assert -0.05 < np.nanmean(layer.pixels) < 1.0
        assert set(np.unique(chip.label)) <= set(range(1, 12))


def test_chips_of_a_batch_lie_in_several_landscapes(samples):
    assert [samples.groups[n] for n in range(12)] == [
        f"landscape-{n}" for n in (0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3)
    ]


@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:Mean of empty")
def test_instruments_of_one_place_agree(samples):
    """Landsat's red over a place is that of Sentinel-2, near the same day, but for the sky."""
    chip = samples[0]
    fine = chip.layers["sentinel-2-l2a_10m"]
    coarse = chip.layers["landsat-oli-c2-l2_30m"]
    near = np.nanmedian(fine.pixels[:, 3], axis=0).reshape(16, 3, 16, 3)
    known = np.nanmedian(coarse.pixels[:, 4], axis=0)
    mean = np.nanmean(near, axis=(1, 3))
    both = np.isfinite(mean) & np.isfinite(known)
    assert both.any()
    assert np.corrcoef(mean[both], known[both])[0, 1] > 0.5


def test_every_instrument_is_known_by_its_physics():
    for instrument in known_instruments().values():
        kinds = {facts.kind for facts in facts_of(instrument.spec)}
        assert kinds in ({"optical"}, {"radar"}, {"height"})


def test_shards_give_the_same_chips_back(samples, tmp_path):
    write_chips(samples, tmp_path / "a", 0, 4)
    write_chips(samples, tmp_path / "b", 4, 3)
    joined = Stored((tmp_path / "a", tmp_path / "b")).open()
    assert len(joined) == 7
    for number in (0, 3, 4, 6):
        _same(samples[number], joined[number], rtol=1e-3)
    assert dict(joined.specs) == dict(samples.specs)
    assert len(open_chips(tmp_path / "a")) == 4
    with pytest.raises(ContractError, match="valid are 0 to 12"):
        write_chips(samples, tmp_path / "c", 10, 3)


def test_wrong_settings_name_the_valid_ones():
    with pytest.raises(ContractError, match="multiples of 24 up to landscape = 256"):
        Simulated(side=50)
    with pytest.raises(ContractError, match="valid are: sentinel-2-10m"):
        Simulated(sensors=("sputnik",))


def test_a_loom_takes_a_batch_of_them(samples):
    from earthloom.encoders.loom import Loom
    from earthloom.fit.statistics import statistics_of
    from earthloom.sample import Subset
    from earthloom.sample.batch import collate

    torch.manual_seed(0)
    loom = Loom(tuple(samples.specs.values()), statistics_of(Subset(samples, range(2))))
    with torch.no_grad():
        features = loom(collate([samples[0], samples[1]]))
    assert features.pixels.shape == (2, loom.channels, 48, 48)
    assert torch.isfinite(features.scene()).all()
