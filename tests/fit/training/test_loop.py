"""The laws of the loop."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from earthloom.chips.sampling import ClassLists, Grid
from earthloom.encoders import Features
from earthloom.errors import ContractError, LabelError
from earthloom.fit.training import Changes, Constant, Training, train
from earthloom.fit.training.feed import Repeated
from earthloom.fit.training.run import TrainingError
from earthloom.sample.batch import collate
from earthloom.tasks.base import Score
from earthloom.tasks.losses import CrossEntropy


def test_same_seed_same_weights_and_another_one_others(pair, task, samples, short):
    first, again, other = (
        train(*pair(), task, samples, replace(short, seed=seed)) for seed in (1, 1, 2)
    )
    assert first.history == again.history
    assert torch.equal(first.head.layer.weight, again.head.layer.weight)
    assert not torch.equal(first.head.layer.weight, other.head.layer.weight)


def test_threads_change_nothing(pair, task, samples, short):
    alone, helped = (
        train(*pair(), task, samples, replace(short, workers=workers)) for workers in (0, 2)
    )
    assert alone.history == helped.history


def test_a_step_is_that_of_a_bare_loop(pair, task, samples, still):
    """Against torch's AdamW and its own one-cycle, written out."""
    training = replace(still, batch=8, clip=None, weight_decay=0.0)
    found = train(*pair(dropout=0.0), task, samples, training, rule=Grid(np.arange(8)))
    encoder, head = pair(dropout=0.0)
    parameters = [*head.parameters(), *encoder.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, training.steps)
    batch = collate(samples.chips)
    for entry in found.history:
        rate = optimiser.param_groups[0]["lr"]
        loss = task.loss(head, encoder(batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        assert entry.loss == pytest.approx(loss.item(), rel=1e-4)
        assert entry.learning_rate == pytest.approx(rate)
    torch.testing.assert_close(found.head.layer.weight, head.layer.weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("changes", [Changes(False, False), Changes()])
def test_accumulated_batches_are_one_large_batch(pair, task, samples, short, changes):
    plain = {"norm": False, "dropout": 0.0}
    rule = Grid(np.arange(8))
    large = replace(short, batch=8, steps=4, changes=changes)
    small = replace(large, batch=2, accumulation=4)
    # Of a mean over pixels; Dice is of a batch as a whole.
    task = replace(task, criterion=CrossEntropy())
    one, many = (train(*pair(**plain), task, samples, each, rule=rule) for each in (large, small))
    for a, b in zip(one.history, many.history, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-4)
    torch.testing.assert_close(one.head.layer.weight, many.head.layer.weight, rtol=1e-3, atol=1e-4)


def test_overfits_8_chips(pair, task, samples, short):
    training = replace(short, steps=80, batch=8, log_every=80)
    trained = train(*pair(dropout=0.0), task, samples, training, validation=samples)
    assert trained.validations[-1].metrics["accuracy"] == 1.0
    assert not trained.encoder.training
    assert not trained.head.training


def test_frozen_parameters_and_their_running_means_do_not_move(pair, task, samples, short):
    encoder, head = pair()
    for part in (encoder.stem, encoder.parts[0]):
        part.requires_grad_(False)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    train(encoder, head, task, samples, short)
    moved = {n for n, v in encoder.state_dict().items() if not torch.equal(v, before[n])}
    assert not [name for name in moved if name.startswith(("stem", "parts.0"))]
    assert {"parts.1.0.weight", "parts.1.1.running_mean", "last.bias"} <= moved


def test_nothing_to_train_is_refused(pair, task, samples, short):
    encoder, head = pair()
    with pytest.raises(LabelError, match="neither the encoder nor the head"):
        train(encoder.requires_grad_(False), head.requires_grad_(False), task, samples, short)


def test_chips_without_labels_are_refused_and_never_drawn(pair, task, samples, still):
    blank = [replace(chip, label=np.zeros_like(chip.label)) for chip in samples.chips]
    with pytest.raises(LabelError, match="none of the 8 training chips has a label"):
        train(*pair(), task, type(samples)(blank), still)
    seen = []

    class Seen(type(pair()[0])):
        def forward(self, batch):
            seen.extend(batch.ids)
            return super().forward(batch)

    train(Seen(), pair()[1], task, type(samples)([*blank[:4], *samples.chips[4:]]), still)
    assert set(seen) == {f"chip-{number}" for number in range(4, 8)}


class _Told(Score):
    """Metrics from a list, one a validation."""

    def __init__(self, values):
        self._values = values

    def update(self, answer, batch):
        pass

    def compute(self):
        return {"macro_f1": self._values.pop(0)}


def _told(task, values):
    left = list(values)

    class Told:
        """The task, but for its score."""

        name, main = task.name, task.main
        config, loss, answer = task.config, task.loss, task.answer

        def score(self):
            return _Told(left)

    return Told()


def test_stops_early_and_gives_the_best_state(pair, task, samples, others, short):
    training = replace(short, steps=20, validate_every=2, patience=2)
    told = _told(task, [0.1, 0.6, 0.5, 0.55, 0.9])
    trained = train(*pair(), told, samples, training, others)
    assert trained.steps == 8
    assert trained.best_step == 4
    assert trained.stopped == "no better validation in 2 looks"
    assert [each.best for each in trained.validations] == [True, True, False, False]
    # A constant schedule of 4 steps and one of 20 begin alike.
    flat = replace(training, schedule=Constant())
    best = train(*pair(), _told(task, [0.1, 0.6, 0.5, 0.55]), samples, flat, others)
    four = train(*pair(), task, samples, replace(flat, steps=4))
    assert torch.equal(best.head.layer.weight, four.head.layer.weight)


def test_a_metric_that_is_no_number_is_never_the_best(pair, task, samples, others, short, tmp_path):
    training = replace(short, steps=4, validate_every=2, folder=tmp_path)
    told = _told(task, [float("nan"), float("nan")])
    train(*pair(), told, samples, training, others)
    history = json.loads((tmp_path / "history.json").read_text())
    assert history["validation"][0]["metrics"]["macro_f1"] is None
    longer = replace(training, steps=6)
    better = train(*pair(), _told(task, [0.2, float("nan"), 0.1]), samples, longer, others)
    assert [each.best for each in better.validations] == [True, False, False]


def test_the_loss_may_decide(pair, task, samples, others, short):
    training = replace(short, steps=4, validate_every=2, watch="loss")
    trained = train(*pair(), task, samples, training, others)
    for each in trained.validations:
        assert set(each.metrics) == {"loss"}
    losses = [each.metrics["loss"] for each in trained.validations]
    assert trained.best_step == 2 * (1 + int(np.argmin(losses)))


def test_validation_is_of_the_state_that_is_given_back(pair, task, samples, others, short):
    training = replace(short, ema=0.8, validate_every=6)
    trained = train(*pair(), task, samples, training, others)
    score, batch = task.score(), collate(others.chips)
    score.update(task.answer(trained.head, trained.encoder(batch)), batch)
    metrics = dict(trained.validations[-1].metrics)
    assert metrics.pop("loss") > 0
    assert metrics == pytest.approx(dict(score.compute()))


def test_a_loss_that_is_no_number_stops_with_its_step_and_rate(pair, task, samples, short):
    class Breaks(type(pair()[0])):
        calls = 0

        def forward(self, batch):
            self.calls += 1
            features = super().forward(batch)
            scale = float("nan") if self.calls == 4 else 1.0
            return Features(features.pixels * scale, features.seen)

    training = replace(short, log_every=5, schedule=Constant())
    with pytest.raises(TrainingError, match=r"became nan in step 4 of 6, at a .* of 0.01;"):
        train(Breaks(), pair()[1], task, samples, training)


def test_bf16_keeps_weights_in_float32_and_learns(pair, task, samples, short):
    training = replace(short, steps=40, batch=8, precision="bf16")
    trained = train(*pair(dropout=0.0), task, samples, training)
    assert trained.head.layer.weight.dtype == torch.float32
    assert trained.history[-1].loss < 0.5 * trained.history[0].loss


def test_logs_say_what_the_history_says(pair, task, samples, others, short, tmp_path):
    training = replace(short, validate_every=3, folder=tmp_path)
    trained = train(*pair(), task, samples, training, others)
    with (tmp_path / "training.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == [entry.step for entry in trained.history]
    assert [float(row["loss"]) for row in rows] == [entry.loss for entry in trained.history]
    assert all(float(row["samples_per_second"]) > 0 for row in rows)
    with (tmp_path / "validation.csv").open() as stream:
        checks = list(csv.DictReader(stream))
    assert [float(each["macro_f1"]) for each in checks] == [
        each.metrics["macro_f1"] for each in trained.validations
    ]
    history = json.loads((tmp_path / "history.json").read_text())
    assert [each["loss"] for each in history["training"]] == [e.loss for e in trained.history]
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_rule_decides_which_chips_come(samples):
    lists = ClassLists(np.array([0, 1]), np.array([3]))
    assert lists.held.tolist() == [0]
    order = Repeated(Grid(np.array([3, 5])), 5).order(np.random.default_rng(0))
    assert order.tolist() == [3, 5, 3, 5, 3]
    with pytest.raises(ContractError, match="the rule draws none"):
        Repeated(Grid(np.array([], np.int64)), 5).order(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("steps", 0), ("ema", 1.0), ("learning_rate", 0.0), ("patience", 0), ("layer_decay", 1.5)],
)
def test_settings_out_of_range_are_named(setting, value):
    with pytest.raises(ContractError, match=f"{setting} is {value}"):
        Training(**{setting: value})
