"""Schedules, averages and groups of parameters."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from earthloom.errors import ContractError
from earthloom.fit.training import Constant, Cosine, OneCycle
from earthloom.fit.training.average import Average
from earthloom.fit.training.groups import depths, parameter_groups, set_mode


@given(steps=st.integers(2, 60))
def test_one_cycle_is_that_of_torch(steps):
    optimiser = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2.0, total_steps=steps)
    for step in range(steps):
        group = optimiser.param_groups[0]
        assert OneCycle().factor(step, steps) * 2 == pytest.approx(group["lr"], rel=1e-6)
        assert OneCycle().momentum(step, steps) == pytest.approx(group["betas"][0])
        optimiser.step()
        if step < steps - 1:
            theirs.step()


@given(steps=st.integers(1, 200), warm=st.floats(0, 0.9))
def test_rates_rise_then_fall_and_never_leave_0_to_1(steps, warm):
    for schedule in (OneCycle(rise=warm), Cosine(warm), Constant(warm)):
        rates = [schedule.factor(step, steps) for step in range(steps)]
        assert all(0 < rate <= 1 + 1e-12 for rate in rates)
        top = rates.index(max(rates))
        assert rates[: top + 1] == sorted(rates[: top + 1])
        assert rates[top:] == sorted(rates[top:], reverse=True)


def test_shares_out_of_range_are_refused():
    with pytest.raises(ContractError, match=r"warm_up is 1\.0"):
        Cosine(warm_up=1.0)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20), st.floats(0.01, 0.999))
def test_average_is_that_of_the_formula(numbers, decay):
    """A slow oracle, number by number, in Python's floats."""
    average = Average({"w": torch.tensor([0.5], dtype=torch.float64)}, decay)
    expected = 0.5
    for step, number in enumerate(numbers, start=1):
        average.update({"w": torch.tensor([number], dtype=torch.float64)})
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * number
        assert average.values["w"].item() == pytest.approx(expected, abs=1e-9)


def test_depth_is_counted_from_the_head(pair):
    encoder, _ = pair(depth=3)
    found = depths(encoder)
    assert found["stem.weight"] == 4
    assert [found[f"parts.{number}.0.weight"] for number in range(3)] == [3, 2, 1]
    assert found["last.bias"] == 1


def test_each_trained_parameter_is_in_one_group_with_its_rate(pair):
    encoder, head = pair(depth=2)
    encoder.stem.requires_grad_(False)
    groups = parameter_groups(encoder, head, 0.5)
    listed = [id(parameter) for group in groups for parameter in group.parameters]
    wanted = [p for m in (encoder, head) for p in m.parameters() if p.requires_grad]
    assert sorted(listed) == sorted(map(id, wanted))
    rates = {id(p): group.lr_scale for group in groups for p in group.parameters}
    assert rates[id(head.layer.weight)] == 1.0
    assert rates[id(encoder.parts[1][0].weight)] == 0.5
    assert rates[id(encoder.parts[0][0].weight)] == 0.25
    for group in groups:
        assert all((parameter.ndim > 1) == group.decays for parameter in group.parameters)


def test_what_is_frozen_stays_in_evaluation_mode(pair):
    encoder, _ = pair()
    encoder.parts[0].requires_grad_(False)
    set_mode(encoder)
    assert not any(part.training for part in encoder.parts[0].modules())
    assert all(part.training for part in encoder.parts[1].modules())
    set_mode(encoder.requires_grad_(False))
    assert not any(part.training for part in encoder.modules())
