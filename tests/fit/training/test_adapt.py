"""What each way of fitting trains, and what it leaves alone."""

from dataclasses import replace

import pytest
import torch

from earthloom.encoders.unet import UNet
from earthloom.errors import ContractError, ProjectError
from earthloom.fit.statistics import statistics_of
from earthloom.fit.training import Constant, Training, train
from earthloom.fit.training.adapt import BitFit, Full, HeadOnly, LayerWise, LoRA, Partial
from earthloom.fit.training.defaults import defaults_for
from earthloom.fit.training.heads import Convolution
from earthloom.fit.training.memory import within_memory
from earthloom.fit.training.settings import NO_CHANGES
from earthloom.sample.batch import collate
from earthloom.sample.target import SceneClasses
from earthloom.tasks.scene_classes import SceneClass

PLAIN = (Full, HeadOnly, Partial, BitFit)
ALL = (*PLAIN, LayerWise, LoRA)
STEPS = Training(steps=5, batch=4, learning_rate=1e-2, workers=0)


def _state(encoder):
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def _moved(model, encoder):
    before = encoder.state_dict()
    after = model.members[0].encoder.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("way", ALL)
def test_the_callers_encoder_stays_as_it_is(way, pair, task, samples, others):
    encoder, _ = pair()
    before, asked = _state(encoder), [p.requires_grad for p in encoder.parameters()]
    model = way(STEPS).fit(encoder, samples, task, 3, others)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert [p.requires_grad for p in encoder.parameters()] == asked
    assert model.members[0].encoder is not encoder
    assert bool(_moved(model, encoder)) == way.trains_encoder
    again = way(STEPS).fit(encoder, samples, task, 3, others)
    batch = collate(samples.chips)
    assert torch.equal(model.probabilities(batch), again.probabilities(batch))


def test_each_trains_what_it_says(pair, task, samples):
    encoder, _ = pair()
    names = {name for name, _ in encoder.named_parameters()}
    full, head, partial, bitfit = (
        _moved(way(STEPS).fit(encoder, samples, task, 0), encoder) for way in PLAIN
    )
    assert names <= full
    assert not head
    assert {n for n in names if n.startswith(("parts.1", "last"))} == partial & names
    assert {n for n, p in encoder.named_parameters() if p.ndim == 1} == bitfit & names


def test_kept_features_train_the_same_head(pair, task, samples, others, tmp_path):
    encoder, _ = pair()
    still = defaults_for(task, "head")
    training = replace(still, steps=12, batch=4, workers=0, validate_every=6)

    class Named(type(samples)):
        digest = "these"

    way = HeadOnly(training, features=tmp_path)
    way.fit(encoder, samples, task, 5)
    assert not list(tmp_path.iterdir())  # Nobody could tell these chips from others.
    kept = way.fit(encoder, Named(samples.chips), task, 5, Named(others.chips))
    with torch.random.fork_rng([]):
        torch.manual_seed(5)
        head = Convolution().make(encoder, task)
    plain = train(
        encoder.requires_grad_(False), head, task, samples, replace(training, seed=5), others
    )
    torch.testing.assert_close(kept.members[0].head.layer.weight, plain.head.layer.weight)
    assert list(tmp_path.glob("train/*/pixels-00000.npy"))


def test_blocks_that_are_not_there_are_refused(pair, task, samples):
    with pytest.raises(ContractError, match=r"last 3 blocks .*; valid: 1 to 2"):
        Partial(STEPS, last=3).fit(pair()[0], samples, task, 0)


@pytest.mark.parametrize("way", ALL)
def test_candidates_begin_with_the_default_and_keep_to_the_budget(way):
    assert way().candidates(1) == [way()]
    for budget in range(1, 14):
        found = way().candidates(budget)
        assert len(found) <= budget
        assert len(set(found)) == len(found)
    assert way().candidates(4) == way().candidates(4)


def test_candidates_keep_a_decay_that_was_asked_for():
    rates = [way.layer_decay for way in Full(layer_decay=0.6).candidates(10)]
    assert rates == [0.6] * 5 + [0.75] * 5
    assert {way.layer_decay for way in LayerWise().candidates(10)} == {0.75, 0.9}
    assert {way.layer_decay for way in HeadOnly().candidates(10)} == {None}


def test_rates_by_depth_move_deep_parameters_less(pair, task, samples):
    """After one step of AdamW every weight has moved by its rate, whatever its gradient."""
    encoder, _ = pair(dropout=0.0)
    one = replace(STEPS, steps=1, weight_decay=0.0, schedule=Constant(), changes=NO_CHANGES)
    model = LayerWise(one, layer_decay=0.5).fit(encoder, samples, task, 0)
    after = model.members[0].encoder.state_dict()
    moved = {
        name: float((after[name] - value).abs().max().detach())
        for name, value in encoder.named_parameters()
        if name.endswith("0.weight") or name in ("stem.weight", "last.weight")
    }
    by_depth = {"stem.weight": 3, "parts.0.0.weight": 2, "parts.1.0.weight": 1, "last.weight": 1}
    assert moved == pytest.approx({n: 1e-2 * 0.5**depth for n, depth in by_depth.items()}, rel=0.01)


def test_rates_by_depth_take_blocks(samples, task):
    class Whole(UNet):
        blocks = ()

    encoder = Whole(tuple(samples.specs.values()), statistics_of(samples), width=4, levels=1)
    with pytest.raises(ContractError, match="does not state its blocks"):
        LayerWise(STEPS).fit(encoder, samples, task, 0)


def test_learns_classes_of_whole_chips(pair, samples):
    chips = [
        replace(chip, label=None, target=SceneClasses((1 + number % 4 // 2,)))
        for number, chip in enumerate(samples.chips)
    ]
    whole = type(samples)(
        [
            replace(chip, layers={k: replace(v, pixels=v.pixels + 2 * (n % 4 // 2))
                                  for k, v in chip.layers.items()})
            for n, chip in enumerate(chips)
        ]
    )  # fmt: skip
    task = SceneClass((1, 2), ("dark", "bright"))
    training = Training(steps=60, batch=8, learning_rate=1e-2, workers=0)
    for way in (Full, HeadOnly):
        model = way(training).fit(pair(dropout=0.0)[0], whole, task, 0)
        score, batch = task.score(), collate(whole.chips)
        score.update(model.answer(batch), batch)
        assert score.compute()["accuracy"] == 1.0


def test_a_step_within_memory_sees_as_many_chips(pair, task, samples):
    made = pair(norm=False, dropout=0.0)
    training = replace(STEPS, batch=8)
    cpu = torch.device("cpu")
    sizes = []
    for budget in (51_000, 100_000, 10**9):
        bounded = within_memory(*made, task, samples, training, budget, cpu)
        assert bounded.batch * bounded.accumulation == 8
        sizes.append(bounded.batch)
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[1] < sizes[2] == 8
    with pytest.raises(ProjectError, match="even with one chip a batch"):
        within_memory(*made, task, samples, training, 1000, cpu)
    model = Full(training, memory=10**5).fit(made[0], samples, task, 0)
    assert model.record["settings"]["accumulation"] > 1


@pytest.mark.parametrize("name", ["pixel-class", "scene-value", "boxes", "another"])
@pytest.mark.parametrize("part", ["network", "head"])
def test_every_task_has_defaults(name, part):
    class Named:
        pass

    Named.name = name
    training = defaults_for(Named(), part)
    assert training.changes.any == (part == "network" and name != "boxes")
    assert (training.ema is None) == (part == "head" or name == "boxes")
