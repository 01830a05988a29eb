"""Two views of a chip, and what keeps their features from collapsing."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earthloom.pretrain import Draw, Joint
from earthloom.pretrain.collapse import effective_rank, look_at
from earthloom.pretrain.hiding import sensors_in
from earthloom.pretrain.spread import spread_loss
from earthloom.pretrain.views import Views

DRAW = Draw(seed=1, batch=0)


@given(seed=st.integers(0, 200), crop=st.sampled_from((0.4, 0.6, 0.75, 1.0)))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_shared_ground_is_the_same_ground(seed, crop, loom, batch):
    first, second = Views(crop, 0.5)(loom.layers, batch, Draw(seed, 0).random())
    ground = torch.arange(24 * 24.0).reshape(1, 1, 24, 24)
    one = first.shared(first.cut.of(ground), second)
    other = second.shared(second.cut.of(ground), first)
    assert one.numel() > 0
    assert torch.equal(one, other)
    for view in (first, second):
        _, there = sensors_in(loom.layers, view.batch)
        assert there.any(dim=1).all()
        for spec in loom.layers:
            layer = view.batch.layers[spec.key]
            assert layer.valid.shape[-1] * spec.factor == view.cut.size.cols
            assert torch.equal(torch.isfinite(layer.pixels).all(dim=2), layer.valid)


def test_spread_is_least_for_a_normal_distribution():
    random = torch.Generator().manual_seed(0)
    normal = torch.randn(2000, 16, generator=random)
    along_one = torch.randn(2000, 1, generator=random).expand(-1, 16)

    def loss(vectors):
        return float(spread_loss(vectors, 64, torch.Generator().manual_seed(1)))

    nothing = math.sqrt(2 * math.pi) - 2 * math.sqrt(math.pi) + math.sqrt(2 * math.pi / 3)
    assert loss(torch.zeros(50, 16)) == pytest.approx(nothing, rel=1e-3)
    best = loss(normal)
    assert best < 0.01
    for worse in (normal * 3, normal * 0.3, normal + 1, along_one):
        assert loss(worse) > 5 * best


def test_spread_undoes_a_collapse():
    torch.manual_seed(0)
    vectors = (0.01 * torch.randn(16, 8)).requires_grad_()
    optimiser = torch.optim.Adam([vectors], lr=0.05)
    for step in range(300):
        optimiser.zero_grad()
        spread_loss(vectors, 32, torch.Generator().manual_seed(step)).backward()
        optimiser.step()
    assert effective_rank(vectors.detach()) > 6
    assert 0.5 < float(vectors.detach().std(dim=0).mean()) < 1.5


@given(rank=st.integers(1, 6), scale=st.sampled_from((1e-3, 1.0, 1e3)))
@settings(max_examples=10, deadline=None)
def test_effective_rank_of_equal_directions_is_their_number(rank, scale):
    axes = torch.eye(8, dtype=torch.float64)[:rank] * scale
    vectors = torch.cat([axes, -axes]) + 5 * scale
    assert effective_rank(vectors) == pytest.approx(rank, rel=1e-6)


def test_effective_rank_of_one_vector_again_and_again_is_0():
    assert effective_rank(torch.ones(10, 4)) == 0
    assert math.isnan(effective_rank(torch.ones(1, 4)))


def test_soft_labels_count_only_where_there_are_any(loom, batch):
    part = Joint(classes=2).part(loom)
    known = part(loom, batch, DRAW).seen["labels"]
    assert 0.3 < known < 1.5
    unknown = replace(batch, label=None)
    assert torch.isnan(part(loom, unknown, DRAW).seen["labels"])
    assert torch.isfinite(part(loom, unknown, DRAW).total)
    ignored = replace(batch, label=torch.full_like(batch.label, 255))
    assert part(loom, ignored, DRAW).seen["labels"] == 0


def test_a_batch_without_anything_seen_costs_nothing_infinite(loom, batch):
    layers = {
        key: replace(layer, valid=torch.zeros_like(layer.valid))
        for key, layer in batch.layers.items()
    }
    loss = Joint(classes=2).part(loom)(loom, replace(batch, layers=layers), DRAW)
    assert torch.isfinite(loss.total)
    loss.total.backward()


def test_a_look_says_how_many_directions_features_fill(loom, batch):
    look = look_at(loom, [batch, batch], torch.device("cpu"), seed=0)
    # Eight chips, of which four are the others again.
    assert 1 < look.rank_chip <= 3
    assert look.spread_chip > 0
    assert 1 < look.rank_dense < 64
    assert loom.training
