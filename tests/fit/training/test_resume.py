"""A training that was stopped anywhere ends as if it had not been."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from earthloom.errors import DataError
from earthloom.fit.training import train
from earthloom.fit.training.checkpoint import FILE, load_checkpoint

RULES = {"ema": 0.9, "accumulation": 2, "validate_every": 2}


def _weights(trained):
    return {**trained.encoder.state_dict(), **trained.head.state_dict(prefix="head.")}


def _same(one, other):
    assert one.history == other.history
    assert one.validations == other.validations
    assert (one.steps, one.stopped, one.best_step) == (other.steps, other.stopped, other.best_step)
    first, second = _weights(one), _weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


class _StopAt:
    """Presses Ctrl-C when so many steps are done."""

    def __init__(self, step):
        self.step = step

    def __call__(self, done, total, detail=""):
        if done == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("log_every", [1, 4])
def test_stopped_after_any_step_and_resumed_is_the_same_bit_for_bit(
    pair, task, samples, others, short, tmp_path, log_every
):
    whole = replace(short, log_every=log_every, **RULES)
    expected = train(*pair(), task, samples, whole, others)
    for step in range(1, whole.steps):
        training = replace(whole, folder=tmp_path / str(step))
        with pytest.raises(KeyboardInterrupt):
            train(*pair(), task, samples, training, others, _StopAt(step))
        assert load_checkpoint(training.folder).state["step"] == step
        _same(train(*pair(), task, samples, training, others), expected)


def test_stopped_many_times_with_threads_that_read_ahead(pair, task, samples, short, tmp_path):
    training = replace(short, workers=2, folder=tmp_path)
    expected = train(*pair(), task, samples, replace(training, folder=None))
    for step in range(1, training.steps):
        with pytest.raises(KeyboardInterrupt):
            train(*pair(), task, samples, training, tick=_StopAt(step))
    _same(train(*pair(), task, samples, training), expected)


def test_a_finished_training_is_not_done_again(pair, task, samples, short, tmp_path):
    training = replace(short, folder=tmp_path)
    first = train(*pair(), task, samples, training)
    ticks = []
    again = train(*pair(), task, samples, training, tick=lambda *done: ticks.append(done))
    _same(again, first)
    assert not ticks


def test_another_job_starts_from_its_own_beginning(pair, task, samples, short, tmp_path):
    train(*pair(), task, samples, replace(short, folder=tmp_path))
    other = replace(short, learning_rate=1e-3)
    found = train(*pair(), task, samples, replace(other, folder=tmp_path))
    _same(found, train(*pair(), task, samples, other))


def test_a_damaged_checkpoint_is_named(pair, task, samples, short, tmp_path):
    training = replace(short, folder=tmp_path)
    train(*pair(), task, samples, training)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"checkpoint .* is damaged"):
        train(*pair(), task, samples, training)


def test_the_callers_random_numbers_go_on_undisturbed(pair, task, samples, short):
    made = pair()
    before = torch.get_rng_state()
    train(*made, task, samples, short)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_checkpoint_holds_only_what_changes(pair, task, samples, short, tmp_path):
    encoder, head = pair()
    encoder.stem.requires_grad_(False)
    train(encoder, head, task, samples, replace(short, folder=tmp_path))
    names = load_file(tmp_path / FILE)
    assert "model|head.layer.weight" in names
    assert not [name for name in names if "stem" in name]


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from conftest import *

chips = Listed([make_chip(number) for number in range(8)])
task = PixelClasses((1, 2), ("left", "right"), ((0, 0, 0), (200, 200, 200))).fitted(chips)
torch.manual_seed(7)
encoder, head = Blocks(), ConvHead(8, 2)
from earthloom.fit.training import train
from pathlib import Path
training = Training(steps=100000, batch=3, checkpoint_every=1, folder=Path(sys.argv[2]))
train(encoder, head, task, chips, training, tick=lambda done, total: print(done, flush=True))
"""


def test_a_kill_at_any_moment_leaves_the_last_whole_checkpoint(tmp_path):
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, here, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        said = int(line)
        if said >= 20:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = load_checkpoint(tmp_path)
    # It is written after a step is told of; several more may be done before the signal comes.
    assert found is not None
    assert found.state["step"] >= said - 1
    assert found.tensors["model"]["head.layer.weight"].isfinite().all()
