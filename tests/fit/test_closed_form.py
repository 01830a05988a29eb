"""Laws of fitting in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from earthloom.errors import LabelError
from earthloom.fit import load_model, save_model
from earthloom.fit.closed_form import fit_closed_form
from earthloom.fit.shallow.pixels import PER_CHIP_AND_CLASS
from earthloom.project import ForestModel, LoomModel, RidgeModel
from earthloom.sample import IGNORE
from earthloom.sample.batch import collate
from earthloom.tasks import PixelClasses

RIDGE = RidgeModel(name="ridge", radius=1, random_features=64)
FOREST = ForestModel(name="forest", trees=10)
LOOM = LoomModel(name="loom", random_features=64)
CHOICES = pytest.mark.parametrize("choice", [RIDGE, FOREST, LOOM], ids=["ridge", "forest", "loom"])


def _tensors(model):
    (member,) = model.members
    return member.encoder.state_dict() | member.head.state_dict()


@CHOICES
def test_learns_classes_that_differ(chips, task, choice, new_chip):
    model = fit_closed_form(chips, task, choice, seed=0)
    batch = collate([new_chip(100), new_chip(101)])
    shares = model.probabilities(batch)
    torch.testing.assert_close(shares.sum(1), torch.ones_like(shares[:, 0]))
    labelled = batch.label > 0
    assert ((shares.argmax(1) + 1) == batch.label)[labelled].float().mean() > 0.9


@CHOICES
def test_same_seed_same_tensors(chips, task, choice):
    first, second = (_tensors(fit_closed_form(chips, task, choice, seed=3)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_order_of_chips_does_not_matter(chips, task, listed, new_chip):
    batch = collate([new_chip(100)])
    turned = listed(chips.chips[::-1])
    ours, theirs = (
        fit_closed_form(each, task, RIDGE, seed=0).probabilities(batch) for each in (chips, turned)
    )
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


@CHOICES
def test_saved_and_loaded_predicts_the_same(chips, task, choice, tmp_path, new_chip):
    model = fit_closed_form(chips, task, choice, seed=0)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    batch = collate([new_chip(100)])
    assert torch.equal(model.probabilities(batch), loaded.probabilities(batch))
    assert loaded.record == model.record


def test_labels_outside_the_crop_change_nothing(chips, task, listed):
    """Chips are cut to their labels before they are encoded; the features must not notice."""
    one = [replace(chip, label=_only(chip.label, 3, 2)) for chip in chips.chips[:6]]
    two = [replace(chip, label=_only(chip.label, 3, 6)) for chip in chips.chips[6:]]
    model = fit_closed_form(listed(one + two), task, RIDGE, seed=0)
    encoder = model.members[0].encoder
    whole = encoder(collate(one + two)).pixels
    rows = torch.cat([whole[:6, :, 3, 2], whole[6:, :, 3, 6]])
    torch.testing.assert_close(model.members[0].head.mean, rows.mean(0), atol=1e-4, rtol=1e-4)


def _only(label, row, col):
    kept = np.zeros_like(label)
    kept[row, col] = label[row, col]
    return kept


def test_absent_class_is_never_predicted(task, listed, new_chip):
    chips = listed([new_chip(number, labelled_classes=(1, 3)) for number in range(6)])
    for choice in (RIDGE, FOREST):
        model = fit_closed_form(chips, task, choice, seed=0)
        assert model.probabilities(collate([new_chip(100)]))[:, 1].max() < 1e-6
        assert model.record["labels"]["grass"] == 0


def test_one_class_is_refused_by_name(task, listed, new_chip):
    chips = listed([new_chip(number, labelled_classes=(2,)) for number in range(3)])
    with pytest.raises(LabelError, match=r"two classes.*labels of: grass;.*water, grass, forest"):
        fit_closed_form(chips, task, RIDGE, seed=0)


def test_unlabelled_chips_are_refused(task, listed, new_chip):
    chips = listed([new_chip(0, labelled_classes=())])
    with pytest.raises(LabelError, match=r"\(none\)"):
        fit_closed_form(chips, task, RIDGE, seed=0)


def test_pixels_never_seen_are_not_learned_from(chips, task, listed, new_chip):
    blind = new_chip(50)
    layers = {
        key: replace(
            layer,
            pixels=np.full_like(layer.pixels, np.nan),
            valid=np.zeros_like(layer.valid),
        )
        for key, layer in blind.layers.items()
    }
    blind = replace(blind, layers=layers)
    with_blind = fit_closed_form(listed([*chips.chips, blind]), task, RIDGE, seed=0)
    without = fit_closed_form(chips, task, RIDGE, seed=0)
    assert with_blind.record["pixels"] == without.record["pixels"]
    assert with_blind.probabilities(collate([blind])).isnan().all()


def test_a_polygon_gives_no_more_than_its_share(chips, task, listed):
    labels = [replace(chip, label=np.repeat(chip.label[1:2], 8, 0)) for chip in chips.chips]
    record = fit_closed_form(listed(labels), task, RIDGE, seed=0).record
    assert record["pixels"] <= len(chips) * 3 * PER_CHIP_AND_CLASS
    assert sum(record["labels"].values()) == len(chips) * 64


THIRD = np.zeros(64, bool)
THIRD[::3] = True
THIRD = THIRD.reshape(8, 8)
"""Every third pixel of a chip."""


def _with_third(chip, code):
    return replace(chip, label=np.where(THIRD & (chip.label > 0), code, chip.label).astype("u1"))


@CHOICES
def test_ignored_labels_leave_no_trace(chips, task, listed, choice):
    found, expected = (
        fit_closed_form(listed([_with_third(chip, code) for chip in chips.chips]), task, choice, 0)
        for code in (IGNORE, 0)
    )
    assert found.record == expected.record
    assert sum(found.record["labels"].values()) < sum((c.label > 0).sum() for c in chips.chips)
    state = _tensors(expected)
    assert all(torch.equal(each, state[name]) for name, each in _tensors(found).items())


def test_weight_0_is_no_label(chips, task, listed):
    weight = np.where(THIRD, 0, 1).astype(np.float32)
    found, expected = (
        fit_closed_form(listed(each), task, RIDGE, seed=0)
        for each in (
            [replace(chip, weight=weight) for chip in chips.chips],
            [_with_third(chip, 0) for chip in chips.chips],
        )
    )
    assert found.record["labels"] == expected.record["labels"]
    state = _tensors(expected)
    for name, each in _tensors(found).items():
        torch.testing.assert_close(each, state[name], rtol=1e-3, atol=1e-4, msg=name)


@CHOICES
def test_labels_of_little_weight_change_little(chips, task, listed, choice, new_chip):
    """As many wrong labels as right ones; who trusts both alike cannot tell the classes."""
    doubtful = []
    for number in range(200, 212):
        chip = new_chip(number)
        wrong = np.where(chip.label > 0, chip.label % 3 + 1, 0).astype(np.uint8)
        weight = np.full(wrong.shape, 0.02, np.float32)
        doubtful.append(replace(chip, label=wrong, weight=weight))
    trusted = [replace(chip, weight=None) for chip in doubtful]
    batch = collate([new_chip(100), new_chip(101)])
    labelled = batch.label > 0

    def right(others):
        model = fit_closed_form(listed([*chips.chips, *others]), task, choice, seed=0)
        shares = model.probabilities(batch)
        index = task.indices(batch.label).clamp(min=0)
        return shares.gather(1, index[:, None])[:, 0][labelled].mean()

    assert right(doubtful) > 0.8
    assert right(trusted) < 0.7


def test_progress_ends_at_the_last_chip(chips, task):
    ticks = []
    fit_closed_form(chips, task, RIDGE, 0, lambda done, total, detail="": ticks.append(done))
    assert ticks[-1] == len(chips)


def test_two_classes_with_codes_in_any_order(chips, listed, new_chip):
    task = PixelClasses((3, 1), ("forest", "water"), ((0, 0, 0), (1, 1, 1)))
    labels = [replace(c, label=np.where(c.label == 2, 0, c.label)) for c in chips.chips]
    model = fit_closed_form(listed(labels), task, RIDGE, seed=0)
    shares = model.probabilities(collate([new_chip(100)]))[0]
    assert shares[1, :, 0].mean() > 0.8
    assert shares[0, :, -1].mean() > 0.8
