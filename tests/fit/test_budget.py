"""Batches within a memory budget."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from earthloom.encoders.location import Location
from earthloom.encoders.unet import UNet
from earthloom.errors import ProjectError
from earthloom.fit import Model
from earthloom.fit.budget import MARGIN, batch_for, batch_within, torch_peak
from earthloom.fit.model import Member
from earthloom.fit.plan import Plan
from earthloom.fit.predictor import Predictor
from earthloom.fit.statistics import statistics_of
from earthloom.sample import Place
from earthloom.sample.batch import collate
from earthloom.tasks.heads import ConvHead


@given(
    fixed=st.integers(0, 10**9),
    per_window=st.integers(1, 10**9),
    room=st.integers(0, 200),
    most=st.integers(1, 100),
)
def test_the_largest_batch_that_fits(fixed, per_window, room, most):
    def measure(count):
        return fixed + count * per_window

    budget = int(MARGIN * measure(1)) + 2 + room * per_window
    found = batch_within(measure, budget, most)
    assert 1 <= found.batch <= most
    assert found.bytes <= budget
    if found.batch < most:
        assert MARGIN * measure(found.batch + 1) > budget - 2


def test_too_little_for_one_window_is_told_in_words():
    with pytest.raises(
        ProjectError, match=r"budget of 0\.50 GB does not hold one window.*1\.25 GB"
    ):
        batch_within(lambda count: count * 10**9, 5 * 10**8)


def test_what_torch_allocates_is_counted_to_the_byte():
    def run():
        first = torch.zeros(1000, 1000)
        second = first + 1
        del first
        return second.sum()

    peaks = {torch_peak(run) for _ in range(3)}
    assert len(peaks) == 1
    assert 8_000_000 <= peaks.pop() < 8_100_000


ALONE = """
import numpy as np
from earthloom.fit.budget import resident_peak

def hold():
    array = np.ones(80_000_000, np.uint8)
    for _ in range(20):  # long enough for the thread that watches to have its turn
        array.sum()

print(resident_peak(hold))
"""


def test_what_others_allocate_is_seen():
    """In a process of its own: here other tests' threads and leftovers come and go meanwhile."""
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert 0.8 * 80_000_000 < int(done.stdout) < 2 * 80_000_000


def test_a_predictor_gets_the_same_batch_again(chips, task):
    torch.manual_seed(0)
    encoder = UNet(tuple(chips.specs.values()), statistics_of(chips), width=8, levels=1).eval()
    model = Model((Member(encoder, ConvHead(8, 3).eval()),), task, None, {})
    predictor, window = Predictor(model, Plan(), lanes=2), collate(chips.chips[:1])
    first, again = (batch_for(predictor, window, 4_000_000) for _ in range(2))
    assert first == again
    assert first.batch > 1
    assert first.bytes <= 2_000_000  # each of two lanes has half
    assert batch_for(predictor, window, 4_000_000, most=2).batch == 2
    predictor.close()


def test_windows_of_a_located_model_keep_their_place(chips, task):
    place = Place("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), chips[0].shape)
    window = collate([replace(chips[0], place=place)])
    encoder = Location(tuple(chips.specs.values()), statistics_of(chips), degrees=2, width=8)
    model = Model((Member(encoder.eval(), ConvHead(8, 3).eval()),), task, None, {})
    predictor = Predictor(model, Plan())
    assert batch_for(predictor, window, 4_000_000, most=4).batch == 4
    predictor.close()
