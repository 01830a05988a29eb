"""Training a small network with Lightning."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from earthloom.errors import LabelError
from earthloom.fit import load_model, save_model
from earthloom.fit.network import fit_network
from earthloom.project import NetworkModel
from earthloom.sample.batch import collate

SMALL = NetworkModel(name="unet", width=8, levels=1, steps=60, batch=4, learning_rate=1e-2)


def _ignore(done, total, detail=""):
    assert done <= total


def _accuracy(model, chip, task):
    shares = model.probabilities(collate([chip]))[0]
    labelled = chip.label > 0
    predicted = np.asarray(task.codes)[shares.argmax(0).numpy()]
    return (predicted == chip.label)[labelled].mean()


def test_learns_classes_that_differ_and_survives_saving(chips, task, new_chip, tmp_path):
    model = fit_network(chips, task, SMALL, seed=0, tick=_ignore)
    unseen = new_chip(99)
    assert _accuracy(model, unseen, task) > 0.8
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    batch = collate([unseen])
    assert torch.equal(model.probabilities(batch), again.probabilities(batch))


def test_same_seed_same_weights(chips, task):
    few = SMALL.model_copy(update={"steps": 3})
    first, again, other = (fit_network(chips, task, few, seed, _ignore) for seed in (1, 1, 2))
    weights = [m.members[0].encoder.state_dict() for m in (first, again, other)]
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])
    assert any(not torch.equal(weights[0][n], weights[2][n]) for n in weights[0])


def test_weight_0_is_no_label(chips, task, listed):
    few = SMALL.model_copy(update={"steps": 5})
    weight = np.ones((8, 8), np.float32)
    weight[:, ::3] = 0
    found, expected = (
        fit_network(listed(each), task, few, 0, _ignore)
        for each in (
            [replace(chip, weight=weight) for chip in chips.chips],
            [replace(chip, label=np.where(weight > 0, chip.label, 0)) for chip in chips.chips],
        )
    )
    assert found.record["labels"] == expected.record["labels"]
    batch = collate(chips.chips[:2])
    torch.testing.assert_close(
        found.probabilities(batch), expected.probabilities(batch), atol=1e-3, rtol=0, equal_nan=True
    )


def test_one_class_is_refused_by_name(task, listed, new_chip):
    with pytest.raises(LabelError, match="labels of two classes or more"):
        fit_network(listed([new_chip(1, (2,))]), task, SMALL, 0, _ignore)
