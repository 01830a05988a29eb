"""The weights that come with the package."""

import shutil

import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.loom import load_loom, read_card, shipped_weights
from earthloom.encoders.loom import weights as module
from earthloom.encoders.loom.weights import SHIPPED, write_checksum
from earthloom.errors import ContractError, DataError
from earthloom.pretrain.collapse import effective_rank
from earthloom.pretrain.config import load_config, recipe_of
from earthloom.pretrain.series import SimulatedSeries
from earthloom.sample.batch import collate


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The package's weights in a folder that a test may spoil."""
    file = shipped_weights()
    for each in (file, file.with_suffix(".sha256")):
        shutil.copy(each, tmp_path / each.name)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "weights.py"))
    shipped_weights.cache_clear()
    yield tmp_path / file.name
    shipped_weights.cache_clear()


@pytest.mark.parametrize("name", SHIPPED)
def test_they_are_small_and_made_by_their_recipe(name, tmp_path):
    file = shipped_weights(name)
    assert file.stat().st_size < 10e6
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe_of(name))
    card, settings = read_card(file), load_config(recipe)
    assert card["settings"] == settings.card()
    assert card["note"] == settings.note
    assert [each["what"] for each in card["data"]] == [each.about for each in settings.sources]
    assert card["encoder"] == name
    assert card["energy"]["kwh"] > 0


def test_features_of_landscapes_that_nobody_saw_differ():
    series = SimulatedSeries(chips=64, chips_each=8, at_once=8, seed=123).open()
    layers = tuple(series.specs.values())
    flat = {e.key: Statistics((0.0,) * len(e.bands), (1.0,) * len(e.bands)) for e in layers}
    loom = load_loom(layers, flat, shipped_weights())
    assert loom.size == "tiny"
    with torch.inference_mode():
        vectors = loom(collate([series[number] for number in range(64)])).scene()
    assert torch.isfinite(vectors).all()
    # A line has 1.
    assert effective_rank(vectors) > 2


def test_a_file_that_is_not_what_it_was_is_refused(elsewhere):
    assert shipped_weights() == elsewhere
    shipped_weights.cache_clear()
    spoilt = bytearray(elsewhere.read_bytes())
    spoilt[-1] ^= 1
    elsewhere.write_bytes(spoilt)
    with pytest.raises(DataError, match="install the package again"):
        shipped_weights()
    write_checksum(elsewhere)
    assert shipped_weights() == elsewhere
    shipped_weights.cache_clear()
    elsewhere.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        shipped_weights()


def test_names_that_there_are_none_of():
    with pytest.raises(ContractError, match="come with the package; valid are: loom-tiny"):
        shipped_weights("loom-huge")
