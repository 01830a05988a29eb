"""Looks at one thing alike, and at others apart."""

import math
from dataclasses import replace

import pytest
import torch

from earthloom.errors import ContractError
from earthloom.pretrain import Contrast, Draw
from earthloom.sample import IGNORE

DRAW = Draw(seed=1, batch=0)


def part_of(loom, **settings):
    torch.manual_seed(0)
    return Contrast(width=8, **settings).part(loom)


def test_what_is_equal_costs_least(loom):
    part = part_of(loom, temperature=0.1)
    things = torch.arange(1, 9)
    apart = torch.eye(8).expand(2, -1, -1)
    loss, hit = part._compared(apart, things)
    assert loss == pytest.approx(math.log1p(14 * math.exp(-10)), abs=1e-5)
    assert hit == 1
    same, _ = part._compared(torch.ones(2, 8, 8), things)
    assert same == pytest.approx(math.log(15), abs=1e-5)


def test_a_kind_is_one_thing_and_what_has_no_kind_is_its_own(loom):
    part = part_of(loom)
    two = torch.eye(8)[[0, 0, 1, 1]].expand(2, -1, -1)
    named, _ = part._compared(two, torch.tensor([3, 3, 4, 4]))
    wrong, _ = part._compared(two, torch.tensor([3, 4, 3, 4]))
    for nameless in (0, IGNORE):
        own, _ = part._compared(two, torch.full((4,), nameless))
        each, _ = part._compared(two, torch.tensor([1, 2, 3, 4]))
        assert own == pytest.approx(float(each))
    assert named < wrong


def test_nothing_in_common_costs_nothing(loom):
    loss, hit = part_of(loom)._compared(torch.zeros(2, 0, 8), torch.zeros(0, dtype=torch.int64))
    assert loss == 0
    assert math.isnan(hit)


def test_it_trains_the_encoder_and_is_repeatable(loom, batch):
    part = part_of(loom)
    first, again = part(loom, batch, DRAW), part(loom, batch, DRAW)
    assert first.total == again.total
    assert set(first.seen) == set(part.names)
    first.total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in loom.parameters())


def test_it_learns_to_tell_places_apart(loom, batch):
    part, batch = part_of(loom, crop=0.0, seasons=0.0, pixels=64), replace(batch, label=None)
    optimiser = torch.optim.AdamW([*loom.parameters(), *part.parameters()], lr=3e-3)
    losses = []
    for step in range(40):
        optimiser.zero_grad()
        loss = part(loom, batch, Draw(1, step))
        loss.total.backward()
        optimiser.step()
        losses.append(float(loss.total.detach()))
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; valid is above 0"),
        ({"hidden": 1.0}, "share of dates is 1.0"),
        ({"pixels": 0}, "pixels is 0; valid are 1 and above"),
        ({"crop": 2.0}, "crop is 2.0; valid is 0 to 1"),
    ],
)
def test_what_is_wrong_is_named(wrong, message):
    with pytest.raises(ContractError, match=message):
        Contrast(**wrong)
