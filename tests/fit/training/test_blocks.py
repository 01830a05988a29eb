"""Encoders that state their blocks: rates by depth, and the training of the last ones alone."""

import pytest
import torch

from earthloom.encoders.compose import build
from earthloom.fit.statistics import statistics_of
from earthloom.fit.training import Training
from earthloom.fit.training.adapt import Partial
from earthloom.fit.training.groups import depths, parameter_groups
from earthloom.tasks.heads import ConvHead

RESNET = {"name": "timm", "architecture": "test_resnet"}
VIT = {"name": "timm", "architecture": "test_vit"}
DECODED = {"name": "decoded", "decoder": "segformer", "width": 8}
CASES = {
    "resnet": (RESNET, 4, "net.conv1.0.weight", "net.layer4."),
    "vit": (VIT, 6, "net.pos_embed", "net.blocks.5."),
    "convnext": (
        {"name": "timm", "architecture": "test_convnext"},
        4,
        "net.stem.0.weight",
        "net.stages.3.",
    ),
    "loom": ({"name": "loom"}, 8, "stem.least", "head."),
    "unet": ({"name": "unet", "width": 8, "levels": 2}, 5, "body.stem.weight", "body.up.1."),
    "segformer over resnet": (
        DECODED | {"encoder": RESNET},
        5,
        "encoder.net.conv1.0.weight",
        "decoder.",
    ),
    "segformer over vit": (
        DECODED | {"encoder": VIT},
        7,
        "encoder.net.cls_token",
        "decoder.",
    ),
}
"""Config, number of blocks, a parameter before them all, and what those of the last begin with."""


def _made(name, samples):
    config, *rest = CASES[name]
    torch.manual_seed(0)
    return build(config, tuple(samples.specs.values()), statistics_of(samples)), *rest


@pytest.mark.parametrize("name", CASES)
def test_depth_falls_from_the_input_to_the_head(name, samples):
    encoder, count, stem, last = _made(name, samples)
    assert len(encoder.blocks) == count
    found = depths(encoder)
    assert found.keys() == {name for name, _ in encoder.named_parameters()}
    assert found[stem] == count + 1
    assert {depth for name, depth in found.items() if name.startswith(last)} == {1}
    # No parameter that follows another in the network is further from the head.
    assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.parametrize("name", CASES)
def test_rates_fall_with_depth(name, samples):
    encoder, count, stem, last = _made(name, samples)
    head = ConvHead(encoder.channels, 2)
    groups = parameter_groups(encoder, head, layer_decay=0.5)
    rate = {id(p): group.lr_scale for group in groups for p in group.parameters}
    own = dict(encoder.named_parameters())
    assert len(rate) == len(own) + 2
    assert sum(len(group.parameters) for group in groups) == len(rate)
    assert {rate[id(p)] for p in head.parameters()} == {1.0}
    assert rate[id(own[stem])] == 0.5 ** (count + 1)
    assert {rate[id(p)] for name, p in own.items() if name.startswith(last)} == {0.5}


@pytest.mark.parametrize("name", CASES)
def test_the_last_blocks_alone_are_trained(name, samples, task):
    encoder, _, stem, last = _made(name, samples)
    training = Training(steps=2, batch=4, learning_rate=1e-2, workers=0)
    model = Partial(training, last=1).fit(encoder, samples, task, 0)
    before, after = dict(encoder.named_parameters()), model.members[0].encoder.named_parameters()
    moved = {name for name, value in after if not torch.equal(value, before[name])}
    assert stem not in moved
    assert any(name.startswith(last) for name in moved)
    assert moved <= {name for name, depth in depths(encoder).items() if depth == 1}
