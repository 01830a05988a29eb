"""The change model on small places that we make."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.change_features import ChangeFeatures
from earthloom.errors import ContractError, LabelError
from earthloom.fit import load_model, save_model
from earthloom.fit.boosted_change import _cell_weights, fit_boosted_change
from earthloom.project import BoostedChangeModel
from earthloom.sample import IGNORE, Chip, Layer, LayerSpec, Moments, Shape2d
from earthloom.sample.batch import collate
from earthloom.sample.samples import Listed
from earthloom.tasks import PixelClasses

SPEC = LayerSpec("s", 10, ("green", "red", "nir"), "1", ("1", "2"), (560.0, 665.0, 840.0))
SIZE = Shape2d(96, 96)
TASK = PixelClasses((1, 2), ("no change", "change"), ((0, 0, 0), (255, 0, 0)))
CHOICE = BoostedChangeModel(name="boosted-change", trees=20, cells=500)


def _ignore(done, total, detail=""):
    assert done <= total


def _place(seed, changes=True):
    """A scene, its second date under another light, and a square that became brighter."""
    random = np.random.default_rng(seed)
    scene = 0.2 + 0.05 * random.normal(size=(3, *SIZE))
    light = random.uniform(0.7, 1.3)
    pixels = np.stack([scene, light * scene]) + 0.01 * random.normal(size=(2, 3, *SIZE))
    label = np.ones(SIZE, np.uint8)
    if changes:
        row, col = random.integers(20, 50, size=2)
        pixels[1, :, row : row + 24, col : col + 24] += 0.15
        label[row : row + 24, col : col + 24] = 2
    flat = pixels.reshape(6, -1)
    return Chip(
        f"place-{seed}",
        SIZE,
        {
            SPEC.key: Layer(
                SPEC, pixels.astype(np.float32), np.ones((2, *SIZE), bool), np.zeros(2, np.int32)
            )
        },
        label,
        group=f"place-{seed}",
        moments=Moments(flat.mean(1).astype(np.float32), np.cov(flat).astype(np.float32)),
    )


def test_finds_change_in_a_place_that_it_has_not_seen(tmp_path):
    model = fit_boosted_change(Listed([_place(n) for n in range(4)]), TASK, CHOICE, 0, _ignore)
    unseen = _place(9)
    shares = model.probabilities(collate([unseen]))[0, 1].numpy()
    found, true = shares >= 0.5, unseen.label == 2
    assert (found & true).sum() / (found | true).sum() > 0.8
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model").probabilities(collate([unseen]))[0, 1].numpy()
    assert np.array_equal(again, shares)


def test_same_seed_same_model():
    places = Listed([_place(n) for n in range(3)])
    first, again = (fit_boosted_change(places, TASK, CHOICE, 5, _ignore) for _ in range(2))
    states = [model.members[0].head.state_dict() for model in (first, again)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("how", ["weight", "ignore"])
def test_change_that_does_not_count_is_no_change_that_was_seen(how):
    """A square that is labelled as change by mistake, with weight 0 or as not to be used."""
    places, bare = [], []
    for number in range(3):
        place = _place(number)
        wrong, weight = place.label.copy(), np.ones(SIZE, np.float32)
        wrong[70:90, 70:90], weight[70:90, 70:90] = 2, 0
        unused = weight == 0
        if how == "ignore":
            wrong, weight = np.where(unused, IGNORE, wrong).astype(np.uint8), None
        places.append(replace(place, label=wrong, weight=weight))
        bare.append(replace(place, label=np.where(unused, 0, wrong).astype(np.uint8)))
    found, expected = (
        fit_boosted_change(Listed(each), TASK, CHOICE, 0, _ignore) for each in (places, bare)
    )
    assert found.record["cells"] == expected.record["cells"]
    shares = [model.probabilities(collate([_place(9)])) for model in (found, expected)]
    torch.testing.assert_close(*shares, atol=0.05 if how == "weight" else 0, rtol=0)


def test_cells_weigh_the_mean_of_their_labels():
    """Of two by two pixels; those that are not labelled or not used are left out."""
    layer = replace(SPEC, factor=2)
    encoder = ChangeFeatures((layer,), {layer.key: Statistics((0.0,) * 3, (1.0,) * 3)})
    label = np.array([[1, 2, 1, 0, 1, IGNORE, 0, 0], [1, 1, 2, 0, 1, 1, 0, IGNORE]], np.uint8)
    weight = np.array([[1, 3, 4, 9, 1, 9, 9, 9], [2, 2, 1, 9, 0, 2, 9, 9]], np.float32)
    chip = Chip("a", Shape2d(2, 8), {}, label, weight=weight)
    assert _cell_weights(chip, encoder).tolist() == [2.0, 2.5, 1.5, 0.0]
    assert _cell_weights(replace(chip, weight=None), encoder).tolist() == [1.0, 1.0, 1.0, 0.0]


def test_no_change_anywhere_is_refused():
    with pytest.raises(LabelError, match="0 show change"):
        fit_boosted_change(Listed([_place(1, changes=False)]), TASK, CHOICE, 0, _ignore)


def test_three_classes_are_refused():
    three = PixelClasses((1, 2, 3), ("a", "b", "c"), ((0, 0, 0),) * 3)
    with pytest.raises(ContractError, match="tells two classes"):
        fit_boosted_change(Listed([_place(1)]), three, CHOICE, 0, _ignore)


def test_chips_too_small_for_the_surroundings_are_refused():
    chip = _place(1)
    layer = chip.layers[SPEC.key]
    small = Chip(
        "small",
        Shape2d(12, 12),
        {
            SPEC.key: Layer(
                SPEC, layer.pixels[..., :12, :12], layer.valid[..., :12, :12], layer.days
            )
        },
        chip.label[:12, :12],
        group="a",
        moments=chip.moments,
    )
    with pytest.raises(ContractError, match="chips of 12 px are too small"):
        fit_boosted_change(Listed([small]), TASK, CHOICE, 0, _ignore)
