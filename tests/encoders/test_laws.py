"""The laws see what is wrong: each fault of a small encoder breaks the law that is against it."""

import pytest
import torch
from torch import nn

from earthloom.encoders import Encoder, Features, Statistics, contract, registry
from earthloom.encoders.base import seen_in
from earthloom.encoders.planes import image_of, plane_channels
from earthloom.errors import ContractError
from earthloom.sample import LayerSpec

LAYERS = (
    LayerSpec("mine", 3, ("green", "nir"), "1", ("1", "2"), (560.0, 840.0)),
    LayerSpec("other", 3, ("vv",), "linear power", ("1",), (None,)),
)
STATISTICS = {
    LAYERS[0].key: Statistics((0.2, 0.3), (0.1, 0.1)),
    LAYERS[1].key: Statistics((0.1,), (0.05,)),
}


class Sound(Encoder):
    name = "of-a-test"

    def __init__(self, layers, statistics, width=4):
        super().__init__(layers, statistics)
        self.width = width
        self.net = nn.Conv2d(plane_channels(layers), width, 3, padding=1)

    @property
    def radius(self):
        return 1

    @property
    def channels(self):
        return self.width

    def config(self):
        return {"width": self.width}

    def forward(self, batch):
        pixels = self.net(image_of(self, batch)).float()
        return Features(pixels, seen_in(self.layers, batch))


class OneMoreChannel(Sound):
    @property
    def channels(self):
        return self.width + 1


class LooksUnderTheMask(Sound):
    def forward(self, batch):
        found = super().forward(batch)
        under = batch.layers[self.layers[0].key].pixels.nan_to_num(0.0).sum(dim=(1, 2))
        return Features(found.pixels + under[:, None], found.seen)


class LeavesALayerOut(Sound):
    def forward(self, batch):
        image = image_of(self, batch)
        image[:, -2:] = 0
        return Features(self.net(image).float(), seen_in(self.layers, batch))


class LooksAtTheOthers(Sound):
    def forward(self, batch):
        found = super().forward(batch)
        return Features(found.pixels - found.pixels.mean(dim=0), found.seen)


class Idle(Sound):
    def __init__(self, layers, statistics, width=4):
        super().__init__(layers, statistics, width)
        self.idle = nn.Linear(2, 2)


class ForgetsItsWidth(Sound):
    def config(self):
        return {}


class KeepsNothing(Sound):
    def __init__(self, layers, statistics, width=4):
        super().__init__(layers, statistics, width)
        self.drawn = torch.randn(1, width, 1, 1)

    def forward(self, batch):
        found = super().forward(batch)
        return Features(found.pixels * self.drawn, found.seen)


class TakesAnything(Sound):
    def check(self, specs):
        pass


class StaysInBfloat16(Sound):
    def forward(self, batch):
        return Features(self.net(image_of(self, batch)), seen_in(self.layers, batch))


class SeesFurther(Sound):
    @property
    def radius(self):
        return 0


FAULTS = {
    OneMoreChannel: "features_are_as_declared",
    LooksUnderTheMask: "what_was_not_seen_has_no_influence",
    LeavesALayerOut: "what_was_seen_has_some",
    LooksAtTheOthers: "a_missing_layer_is_one_that_saw_nothing",
    Idle: "a_gradient_reaches_every_parameter",
    ForgetsItsWidth: "it_is_made_again_from_what_is_saved",
    KeepsNothing: "it_is_made_again_from_what_is_saved",
    TakesAnything: "other_bands_are_refused",
    StaysInBfloat16: "bf16_gives_nearly_the_same",
    SeesFurther: "it_sees_no_further_than_its_radius",
}


def _made(kind, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {kind.name: kind})
    torch.manual_seed(0)
    return kind(LAYERS, STATISTICS, width=5)


def test_a_sound_encoder_keeps_all_laws(monkeypatch):
    contract.check(_made(Sound, monkeypatch))


def test_every_law_has_a_fault_against_it():
    assert set(FAULTS.values()) == set(contract.LAWS)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_breaks_its_law(kind, monkeypatch):
    encoder = _made(kind, monkeypatch)
    with pytest.raises(ContractError):
        contract.LAWS[FAULTS[kind]](contract.ready(encoder), 0)
    with pytest.raises(ContractError, match="the encoder 'of-a-test': "):
        contract.check(encoder)
    assert encoder.training
