"""The contract of every head."""

import pytest
import torch

from earthloom.tasks.heads import ConvHead
from earthloom.tasks.linear import LinearHead
from earthloom.tasks.machine import MachineHead
from earthloom.tasks.mask_classes import MaskHead
from earthloom.tasks.neighbours import NeighboursHead
from earthloom.tasks.registry import HEADS
from earthloom.tasks.ridge import RidgeHead

MADE = [
    ConvHead(4, 3),
    RidgeHead(4, 3, 16),
    LinearHead(4, 3),
    NeighboursHead(4, 3, 10, 3, True, "log"),
    MaskHead(4, 3, queries=4, width=16),
    MachineHead(4, 3, [2, 2, 2], 6),
]


def test_every_head_is_known_by_its_name():
    assert {name: head.name for name, head in HEADS.items()} == {name: name for name in HEADS}


@pytest.mark.parametrize("head", MADE, ids=lambda head: head.name)
def test_made_again_from_its_config(head):
    again = HEADS[head.name](**head.config())
    again.load_state_dict(head.state_dict())
    features = torch.randn(2, 4, 5, 6)
    logits = head(features)
    assert logits.shape == (2, 3, 5, 6)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, again(features))


def test_ridge_scores_each_pixel_alone():
    head = RidgeHead(4, 3, 16)
    generator = torch.Generator().manual_seed(0)
    head.frequencies.copy_(torch.randn(head.frequencies.shape, generator=generator))
    head.weights.copy_(torch.randn(head.weights.shape, generator=generator))
    features = torch.randn(1, 4, 3, 5, generator=generator)
    alone = head(features[:, :, 1:2, 2:3])
    torch.testing.assert_close(head(features)[:, :, 1:2, 2:3], alone)
