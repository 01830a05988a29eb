"""Pretraining from beginning to end, and from the middle."""

import csv
import hashlib
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from earthloom.encoders.loom import load_loom, read_card
from earthloom.errors import DataError, TrainingError
from earthloom.fit.statistics import statistics_of
from earthloom.fit.training.schedule import Constant
from earthloom.pretrain import Draw, Joint, Masked, Pretraining, Sum, pretrain
from earthloom.pretrain.card import as_page
from earthloom.pretrain.export import export
from earthloom.pretrain.feed import Feed, chips_drawn, turns_of
from earthloom.sample.batch import collate

BOTH = Sum((Masked(cell=6, token=6, width=16), Joint(classes=2, width=16)), (1.0, 0.3))


@pytest.fixture
def job(tmp_path, mini, sources):
    return Pretraining(
        folder=tmp_path / "whole",
        sources=sources,
        objective=BOTH,
        size=mini,
        steps=6,
        batch=4,
        ema=0.9,
        accelerator="cpu",
        log_every=4,
        look_every=3,
        look_chips=8,
        checkpoint_every=100,
    )


class Stop:
    """Interrupts after some steps, as Ctrl-C does."""

    def __init__(self, step):
        self.step = step

    def __call__(self, done, steps):
        if done == self.step:
            import signal

            signal.raise_signal(signal.SIGINT)


def _weights(made):
    return {name: value.clone() for name, value in made.loom.named_parameters()}


def test_interrupted_and_resumed_is_the_same(job, tmp_path):
    whole = pretrain(job)
    other = replace(job, folder=tmp_path / "parts")
    for step in (1, 4):
        with pytest.raises(KeyboardInterrupt):
            pretrain(other, Stop(step))
    parts = pretrain(other)
    assert _plain(parts.notes) == _plain(whole.notes)
    assert parts.looks == whole.looks
    for name, value in _weights(whole).items():
        assert torch.equal(value, _weights(parts)[name]), name
    rows = list(csv.DictReader((other.folder / "training.csv").open()))
    assert [row["step"] for row in rows] == ["4", "6"]
    assert float(rows[-1]["kwh"]) > 0
    assert float(rows[-1]["samples_per_second"]) > 0
    looks = list(csv.DictReader((other.folder / "features.csv").open()))
    assert [row["step"] for row in looks] == ["3", "6"]


def _plain(notes):
    return json.dumps([note.to_json() for note in notes])


def test_weights_come_with_a_card_and_load(job):
    made = pretrain(job)
    samples = job.sources[0].open()
    specs = tuple(samples.specs.values())
    loom = load_loom(specs[:2], statistics_of(samples), made.weights)
    for name, value in loom.named_parameters():
        assert torch.equal(value, _weights(made)[name].bfloat16().float()), name
    card = read_card(made.weights)
    assert card == json.loads(json.dumps(made.card))
    assert card["steps"] == 6
    assert card["energy"]["kwh"] > 0
    assert [each["name"] for each in card["settings"]["objectives"]] == ["masked", "joint"]
    assert card["data"] == [{"what": "listed chips", "chips_seen": 24}]
    assert card["chips_seen"] == 24
    assert card["limits"][0] == "They are few."
    page = as_page(card, "A title")
    assert page.startswith("# A title\n")
    assert "| listed chips | 24 |" in page
    # A finished one is not done again, and another one begins from these weights.
    assert pretrain(job).notes == made.notes
    further = replace(job, folder=job.folder.parent / "further", start=made.weights, steps=1)
    begun = _weights(pretrain(replace(further, learning_rate=1e-9)))
    for name, value in loom.named_parameters():
        # What makes the features is turned anew.
        if name not in ("head.last.weight", "head.straight.weight"):
            torch.testing.assert_close(begun[name], value.detach(), atol=1e-5, rtol=1e-2)


def test_what_is_learnt_is_evened_out(job, monkeypatch):
    """Half of the way to equal spreads, and nothing else is changed."""
    chips = job.sources[0].open()

    def spreads(job):
        loom = pretrain(job).loom
        with torch.no_grad():
            pixels = torch.cat(
                [
                    loom(collate([chips[n]]), calendar=False).pixels.flatten(2)[0].T
                    for n in range(16)
                ]
            )
        values = torch.linalg.eigvalsh(torch.cov(pixels.double().T)).flip(0)
        return loom, values[:8] / values[0]

    loom, after = spreads(job)
    monkeypatch.setattr("earthloom.pretrain.loop.even_out", lambda *_: None)
    plain, before = spreads(replace(job, folder=job.folder.parent / "plain"))
    torch.testing.assert_close(after, before.sqrt(), atol=0.05, rtol=0.2)
    assert before[-1] < 0.7 * after[-1]
    assert torch.equal(plain.spread.slots, loom.spread.slots)
    assert not torch.equal(plain.spread.slots, torch.eye(len(plain.spread.slots)))


@pytest.mark.parametrize(
    "objective", [BOTH.objectives[0], replace(BOTH.objectives[1], spread=5.0, crop=0.0)]
)
def test_losses_fall_on_sixteen_chips(objective, job):
    job = replace(job, objective=Sum((objective,), (1.0,)), steps=40, batch=8, log_every=8)
    job = replace(job, learning_rate=5e-3, schedule=Constant(), look_every=40)
    made = pretrain(job)
    first, last = made.notes[0], made.notes[-1]
    assert last.loss < 0.8 * first.loss
    if objective.name == "masked":
        assert last.seen["masked_loss"] < last.seen["masked_easy"]
    else:
        assert made.looks[-1][1].rank_chip > 2


def test_every_parameter_learns_from_both(loom, batch):
    part = BOTH.part(loom)
    # Ways of hiding are drawn for each chip: some batches ask for what others do not.
    sum(part(loom, batch, Draw(0, number)).total for number in range(3)).backward()
    for name, value in (*loom.named_parameters(), *part.named_parameters()):
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all(), name
        assert value.grad.abs().sum() > 0, name


def test_sources_take_turns_by_their_weights_and_share_weights(job, sources):
    two = (replace(sources[0], weight=3.0), replace(sources[0], count=5))
    job = replace(job, sources=two, steps=400)
    turns = turns_of(job)
    assert len(turns) == 400
    assert (turns == 0).mean() == pytest.approx(0.75, abs=0.08)
    made = pretrain(replace(job, steps=3, objective=Sum((Masked(cell=6, width=8),), (1.0,))))
    assert len({id(p) for p in made.loom.parameters()}) == len(list(made.loom.parameters()))


def test_a_source_of_small_chips_gives_more_at_once(job, sources):
    two = (sources[0], replace(sources[0], times=3))
    job = replace(job, sources=two, steps=9, seed=2)
    opened = tuple(source.open() for source in two)
    fed = list(Feed(opened, job, world=1))
    assert {each.source for each in fed} == {0, 1}
    assert all(len(each.batch.ids) == 4 * two[each.source].times for each in fed)
    drawn = [sum(len(e.batch.ids) for e in fed[:5] if e.source == number) for number in (0, 1)]
    assert chips_drawn(job, 5, world=1) == drawn


def test_weights_are_exported_while_it_stands(job, tmp_path):
    file = tmp_path / "out" / "loom.safetensors"
    with pytest.raises(DataError, match="holds no checkpoint"):
        export(job, file)
    with pytest.raises(KeyboardInterrupt):
        pretrain(job, Stop(3))
    early = export(job, file)
    assert early["steps"] == 3
    assert early["chips_seen"] == 12
    first = load_file(file)
    made = pretrain(job)
    assert export(job, file)["steps"] == 6
    last = load_file(file)
    assert not torch.equal(last["head.last.weight"], first["head.last.weight"])
    assert last.keys() == load_file(made.weights).keys()
    for name, value in load_file(made.weights).items():
        assert torch.equal(value, last[name]), name
    digest, name = (tmp_path / "out" / "loom.sha256").read_text().split()
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert name == file.name
    with pytest.raises(DataError, match="is of another pretraining"):
        export(replace(job, learning_rate=0.5), file)


def test_labels_teach_only_where_a_source_allows_it(job, sources):
    job = replace(job, steps=1)
    for labels in (True, False):
        other = replace(job, sources=(replace(sources[0], labels=labels),))
        feed = Feed((sources[0].open(),), other, world=1)
        (fed,) = list(feed)
        assert (fed.batch.label is not None) == labels


def test_a_loss_that_is_no_number_stops_it(job):
    with pytest.raises(TrainingError, match="try a smaller learning_rate than 1e\\+20"):
        pretrain(replace(job, learning_rate=1e20, schedule=Constant(), clip=1e30, log_every=1))
