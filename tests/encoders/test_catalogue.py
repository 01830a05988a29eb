"""The encoders that are ready to be compared."""

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.catalogue import CATALOGUE, catalogued
from earthloom.encoders.compose import build, config_of
from earthloom.errors import ContractError
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.batch import collate
from earthloom.sample.samples import Listed


def samples_of(dates):
    spec = LayerSpec("s", 10, ("red", "nir"), "1", dates, (660.0, 840.0))
    random = np.random.default_rng(0)
    size = (len(dates), 2, 32, 32)
    valid = np.ones((len(dates), 32, 32), bool)
    days = np.arange(len(dates), dtype=np.int32) * 30 + 19000
    return Listed(
        [
            Chip(
                f"c{number}",
                Shape2d(32, 32),
                {spec.key: Layer(spec, random.random(size).astype(np.float32), valid, days)},
            )
            for number in range(3)
        ]
    )


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("dates", [("1",), ("1", "2")])
def test_an_entry_is_the_same_twice_and_is_made_again_from_its_config(name, dates):
    samples = samples_of(dates)
    layers = tuple(samples.specs.values())
    statistics = {layers[0].key: Statistics((0.5, 0.5), (0.3, 0.3))}
    batch = collate([samples[0], samples[1]])
    before = torch.random.get_rng_state()
    encoder = catalogued(name, layers, statistics, samples, 3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not encoder.training
    torch.rand(7)
    twice = catalogued(name, layers, statistics, samples, 3)
    again = build(config_of(encoder), layers, statistics).eval()
    again.load_state_dict(encoder.state_dict())
    with torch.inference_mode():
        found = encoder(batch)
        assert torch.equal(found.pixels, twice(batch).pixels)
        assert torch.equal(found.pixels, again(batch).pixels)
    assert found.pixels.shape[1] == encoder.channels
    assert encoder.stride <= 4
    assert found.pixels.std() > 0.01
    if name not in ("raw", "loom"):
        other = catalogued(name, layers, statistics, samples, 4)
        with torch.inference_mode():
            assert not torch.equal(found.pixels, other(batch).pixels)


def test_an_unknown_name_is_an_error():
    samples = samples_of(("1",))
    with pytest.raises(ContractError, match=r"'clip'.*raw, random-conv"):
        catalogued("clip", tuple(samples.specs.values()), {}, samples, 0)
