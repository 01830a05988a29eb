"""Changes of low rank: nothing at first, alone in learning, and gone when the fit ends."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from earthloom.errors import ContractError
from earthloom.fit.lora import LowRank, add_low_rank, merge_low_rank
from earthloom.fit.training import Training, train
from earthloom.fit.training.adapt import LoRA
from earthloom.fit.training.settings import NO_CHANGES
from earthloom.sample.batch import collate

STEPS = Training(steps=5, batch=4, learning_rate=1e-2, workers=0, changes=NO_CHANGES)


class Attending(nn.Module):
    """All that holds a matrix, and a depthwise filter, which is left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, stride=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.out = nn.Linear(8, 4)

    def forward(self, image):
        rows = self.depthwise(self.patches(image)).flatten(2).mT
        return self.out(self.attention(rows, rows, rows)[0])


def _learnt(network):
    return {name for name, value in network.named_parameters() if value.requires_grad}


def test_no_change_at_first_and_the_same_numbers_after_the_merge():
    torch.manual_seed(0)
    network = Attending().requires_grad_(False).eval()
    image = torch.randn(2, 3, 8, 8)
    before, names = network(image), set(network.state_dict())
    matrices = {name: value.clone() for name, value in network.state_dict().items()}
    add_low_rank(network, rank=3, alpha=6.0)
    assert torch.equal(network(image), before)
    changes = [module for module in network.modules() if isinstance(module, LowRank)]
    assert len(changes) == 4
    assert len(_learnt(network)) == 2 * len(changes)
    for change in changes:
        nn.init.normal_(change.up)
    changed = network(image)
    assert not torch.allclose(changed, before)
    up, down, scale = changes[0].up, changes[0].down, changes[0].scale
    assert scale == 2.0
    merge_low_rank(network)
    assert torch.equal(network(image), changed)
    assert set(network.state_dict()) == names
    assert type(network.out) is nn.Linear
    # By hand: W + (alpha / rank) B A.
    by_hand = matrices["patches.weight"].flatten(1) + 2.0 * up @ down
    torch.testing.assert_close(network.patches.weight.flatten(1), by_hand)


def test_only_changes_and_the_head_learn(pair, task, samples):
    encoder, head = pair()
    encoder.requires_grad_(False)
    way = LoRA(STEPS, rank=2, layers=("parts.*", "last"))
    own, made = way.start(encoder, task, 0)
    assert len(_learnt(own)) == 6
    assert all("parametrizations.weight.0." in name for name in _learnt(own))
    before = {name: value.clone() for name, value in own.named_parameters()}
    train(own, made, task, samples, STEPS)
    after = dict(own.named_parameters())
    assert {n for n in before if not torch.equal(before[n], after[n])} == _learnt(own)
    assert head.layer.weight.shape == made.layer.weight.shape


def test_the_model_is_plain(pair, task, samples):
    encoder, _ = pair()
    model = LoRA(STEPS, rank=2, layers=("parts.0.*",)).fit(encoder, samples, task, 1)
    own = model.members[0].encoder
    assert own.state_dict().keys() == encoder.state_dict().keys()
    moved = {n for n, v in encoder.state_dict().items() if not torch.equal(own.state_dict()[n], v)}
    assert moved == {"parts.0.0.weight"}
    change = (own.parts[0][0].weight - encoder.parts[0][0].weight).detach().flatten(1)
    assert int(torch.linalg.matrix_rank(change, rtol=1e-4)) <= 2
    assert all(value.requires_grad for value in own.parameters())
    assert model.record["rank"] == 2


def test_stopped_and_resumed_is_the_same(pair, task, samples, tmp_path):
    encoder, _ = pair()
    plain = LoRA(STEPS, rank=2)
    whole = plain.fit(encoder, samples, task, 3)

    def stop(done, total):
        if done == 3:
            raise RuntimeError

    kept = replace(STEPS, folder=tmp_path, checkpoint_every=1)
    own, head = plain.start(encoder, task, 3)
    settings = LoRA(kept, rank=2).settings(task, 3)
    with pytest.raises(RuntimeError):
        train(own, head, task, samples, settings, tick=stop)
    resumed = LoRA(kept, rank=2).fit(encoder, samples, task, 3)
    batch = collate(samples.chips)
    assert torch.equal(whole.probabilities(batch), resumed.probabilities(batch))
    assert resumed.record["steps"] == 5


def test_layers_that_are_not_there_are_refused(pair, task, samples):
    with pytest.raises(ContractError, match=r"named like \*\.qkv; its layers are: stem, parts\.0"):
        LoRA(STEPS, layers=("*.qkv",)).fit(pair()[0], samples, task, 0)
    with pytest.raises(ContractError, match="rank of a change is 0"):
        LoRA(STEPS, rank=0).fit(pair()[0], samples, task, 0)
