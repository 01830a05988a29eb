"""Features of a frozen encoder are computed once; so are statistics."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from earthloom.encoders.time_features import TimeFeatures
from earthloom.errors import ContractError, DataError
from earthloom.fit.features import encoder_digest, features_of, statistics_once
from earthloom.fit.statistics import statistics_of
from earthloom.sample import Subset, chips_of
from earthloom.sample.batch import collate


@dataclass
class Counted:
    """Samples that count what is read."""

    samples: object
    read: list = field(default_factory=list)

    @property
    def specs(self):
        return self.samples.specs

    @property
    def groups(self):
        return self.samples.groups

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        self.read.append(index)
        return self.samples[index]


@pytest.fixture
def encoder(chips):
    return TimeFeatures(tuple(chips.specs.values()), statistics_of(chips))


def test_features_are_those_of_the_encoder(chips, encoder, tmp_path):
    cache = features_of(encoder, chips, "digest", tmp_path, part=5)
    assert len(cache) == len(chips)
    with torch.inference_mode():
        wanted = encoder(collate(list(chips_of(chips))))
    rows = [7, 0, 11, 7]
    found = cache.of(rows)
    torch.testing.assert_close(found.pixels, wanted.pixels[rows])
    assert found.seen.equal(wanted.seen[rows])


def test_a_second_look_reads_no_chip(chips, encoder, tmp_path):
    first = Counted(chips)
    features_of(encoder, first, "digest", tmp_path, part=5)
    assert first.read == list(range(12))
    second = Counted(chips)
    features_of(encoder, second, "digest", tmp_path, part=5)
    assert second.read == []


def test_a_killed_run_goes_on(chips, encoder, tmp_path):
    def stop(done, _total):
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features_of(encoder, chips, "digest", tmp_path, part=5, tick=stop)
    rest = Counted(chips)
    features_of(encoder, rest, "digest", tmp_path, part=5)
    assert rest.read == [10, 11]


def test_other_weights_or_chips_are_other_features(chips, encoder, tmp_path):
    features_of(encoder, chips, "digest", tmp_path)
    other = Counted(chips)
    features_of(encoder, other, "another", tmp_path)
    assert len(other.read) == 12
    statistics = statistics_of(chips)
    moved = {
        key: replace(each, mean=tuple(value + 1 for value in each.mean))
        for key, each in statistics.items()
    }
    layers = tuple(chips.specs.values())
    assert encoder_digest(TimeFeatures(layers, moved)) != encoder_digest(encoder)
    assert encoder_digest(TimeFeatures(layers, statistics, radius=1)) != encoder_digest(encoder)
    assert encoder_digest(TimeFeatures(layers, statistics)) == encoder_digest(encoder)


def test_half_precision_is_near(chips, encoder, tmp_path):
    whole = features_of(encoder, chips, "digest", tmp_path).of(range(12))
    half = features_of(encoder, chips, "digest", tmp_path, half=True).of(range(12))
    torch.testing.assert_close(half.pixels, whole.pixels, rtol=2e-3, atol=2e-3)
    assert half.pixels.dtype == torch.float32


def test_chips_that_the_encoder_is_not_for(chips, listed, encoder, tmp_path):
    layers = dict(chips[0].layers)
    layers.popitem()
    other = listed([replace(chips[0], layers=layers)])
    with pytest.raises(ContractError, match="expects layer radar_10m"):
        features_of(encoder, other, "digest", tmp_path)


def test_features_that_are_not_there(chips, encoder, tmp_path):
    cache = features_of(encoder, chips, "digest", tmp_path)
    with pytest.raises(ContractError, match="features of 12 chips, none of 12"):
        cache.of([12])
    next(cache.folder.glob("pixels-*")).write_bytes(b"torn")
    with pytest.raises(DataError, match="features cannot be read"):
        cache.of([0])


def test_statistics_are_of_training_pixels_and_computed_once(chips, tmp_path):
    training = [4, 1, 9]
    counted = Counted(chips)
    found = statistics_once(counted, training, "digest", tmp_path)
    assert sorted(counted.read) == sorted(training)
    wanted = statistics_of(Subset(chips, [1, 4, 9]))
    assert found == wanted
    assert statistics_once(counted, [9, 4, 1], "digest", tmp_path) == wanted
    assert len(counted.read) == 3
    layer = chips.specs["optical_10m"]
    seen = np.concatenate(
        [
            chips[row]
            .layers[layer.key]
            .pixels.transpose(0, 2, 3, 1)[chips[row].layers[layer.key].valid]
            for row in training
        ]
    )
    np.testing.assert_allclose(found[layer.key].mean, seen.mean(0), rtol=1e-5)
    assert statistics_once(counted, [0], "digest", tmp_path) != wanted


def test_damaged_statistics_are_an_error(chips, tmp_path):
    statistics_once(chips, [0], "digest", tmp_path)
    next(tmp_path.glob("statistics-*")).write_text('{"optical_10m": {}}')
    with pytest.raises(DataError, match="is damaged"):
        statistics_once(chips, [0], "digest", tmp_path)
