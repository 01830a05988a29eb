"""Raw bands and random convolutional features."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier

from earthloom.encoders import Statistics
from earthloom.encoders.random_conv import RandomConv, _whitened
from earthloom.encoders.raw import Raw
from earthloom.errors import ContractError
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.batch import Batch, collate
from earthloom.sample.samples import Listed

SPEC = LayerSpec("s", 10, ("red", "nir"), "1", ("1", "2"), (660.0, 840.0))
RADAR = LayerSpec("r", 10, ("vv",), "linear power", ("1",), (None,))
STATISTICS = {
    SPEC.key: Statistics((0.2, 0.4), (0.1, 0.2)),
    RADAR.key: Statistics((0.1,), (0.1,)),
}


def chip(number, side=16, blind=False, pixels=None):
    random = np.random.default_rng(number)
    if pixels is None:
        pixels = random.random((2, 2, side, side)).astype(np.float32)
    valid = np.full((2, side, side), not blind)
    pixels = np.where(valid[:, None], pixels, np.nan).astype(np.float32)
    return Chip(
        f"c{number}",
        Shape2d(side, side),
        {SPEC.key: Layer(SPEC, pixels, valid, np.zeros(2, np.int32))},
    )


def test_raw_features_are_the_standardised_bands_and_their_mask():
    given = chip(0)
    given.layers[SPEC.key].valid[1, 3, 4] = False
    given.layers[SPEC.key].pixels[1, :, 3, 4] = np.nan
    found = Raw((SPEC,), STATISTICS)(collate([given])).pixels[0].numpy()
    assert found.shape == (6, 16, 16)
    for date in range(2):
        for band, (mean, std) in enumerate(zip((0.2, 0.4), (0.1, 0.2), strict=True)):
            expected = (given.layers[SPEC.key].pixels[date, band] - mean) / std
            np.testing.assert_allclose(
                found[3 * date + band], np.nan_to_num(expected, nan=0.0), atol=1e-5
            )
        np.testing.assert_array_equal(found[3 * date + 2], given.layers[SPEC.key].valid[date])


def test_a_band_that_was_left_out_is_nothing_and_the_mask_says_so():
    batch = collate([chip(0)])
    layer = batch.layers[SPEC.key]
    measured = torch.tensor([[True, False]])
    loud = layer.pixels.clone()
    loud[:, :, 1] = 100
    found = [
        Raw((SPEC,), STATISTICS)(
            Batch(batch.ids, {SPEC.key: replace(layer, pixels=pixels, measured=measured)}, None)
        ).pixels
        for pixels in (layer.pixels, loud)
    ]
    assert torch.equal(*found)
    assert not found[0][:, 1].any()
    assert (found[0][:, 2] == 0.5).all()


def test_backscatter_counts_in_decibels():
    power = np.array([0.1, 1.0, 0.01, 0.0], np.float32).reshape(1, 1, 2, 2)
    layer = Layer(RADAR, power, np.ones((1, 2, 2), bool), np.zeros(1, np.int32))
    batch = collate([Chip("c", Shape2d(2, 2), {RADAR.key: layer})])
    found = Raw((RADAR,), STATISTICS)(batch).pixels[0, 0].flatten()
    torch.testing.assert_close(found, torch.tensor([0.0, 2.0, -2.0, -8.0]))


def test_features_are_means_of_rectified_responses_in_the_window():
    """Against loops over windows and filters."""
    encoder = RandomConv((SPEC,), STATISTICS, filters=3, size=3, window=5, seed=4)
    batch = collate([chip(1, side=8)])
    batch.layers[SPEC.key].valid[0, :, 2, 5] = False
    found = encoder(batch)
    bands = encoder.normalised(SPEC, batch.layers[SPEC.key])[0].flatten(0, 1).numpy()
    framed = np.pad(bands, ((0, 0), (1, 1), (1, 1)))
    weight, seen = encoder.weight.numpy(), found.seen[0].numpy()
    assert not seen[2, 5]
    response = np.array(
        [
            [[(framed[:, r : r + 3, c : c + 3] * w).sum() for c in range(8)] for r in range(8)]
            for w in weight
        ]
    )
    kept = np.concatenate([np.maximum(response - 1, 0), np.maximum(-response - 1, 0)])
    for row, col in ((0, 0), (2, 5), (4, 4), (7, 3)):
        window = np.s_[max(row - 2, 0) : row + 3, max(col - 2, 0) : col + 3]
        expected = [image[window][seen[window]].mean() for image in kept]
        np.testing.assert_allclose(found.pixels[0, :6, row, col], expected, atol=1e-5)
    assert found.pixels.shape[1] == encoder.channels


def test_nothing_beyond_the_radius_matters():
    encoder = RandomConv((SPEC,), STATISTICS, filters=4, size=5, window=7)
    one, two = chip(0, side=32), chip(0, side=32)
    two.layers[SPEC.key].pixels[..., 16 + encoder.radius + 1 :] = 3
    with torch.inference_mode():
        first, second = (encoder(collate([each])).pixels for each in (one, two))
    torch.testing.assert_close(first[..., :17], second[..., :17])
    assert encoder.is_local
    two.layers[SPEC.key].pixels[..., 16 + encoder.radius :] = 30
    with torch.inference_mode():
        assert not torch.allclose(first[..., :17], encoder(collate([two])).pixels[..., :17])


def test_the_same_seed_gives_the_same_filters_and_a_saved_state_keeps_drawn_ones():
    samples = Listed([chip(number) for number in range(4)])
    one, two, three = (
        RandomConv((SPEC,), STATISTICS, filters=8, seed=seed).draw(samples) for seed in (1, 1, 2)
    )
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, three.weight)
    again = RandomConv((SPEC,), STATISTICS, **one.config())
    assert not torch.equal(again.weight, one.weight)
    again.load_state_dict(one.state_dict())
    assert torch.equal(again.weight, one.weight)
    assert not list(one.parameters())


def test_whitened_patches_are_those_of_the_paper():
    """Against the eigenvectors of the covariance, twice over, and a response of spread 1."""
    patches = np.random.default_rng(0).normal(size=(60, 18)).astype(np.float32)
    patches[:, 1] = patches[:, 0] * 0.9
    found = _whitened(patches)
    unit = patches - patches.mean(1, keepdims=True)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(unit.T @ unit / len(unit))
    zca = vectors @ np.diag((values + 1e-3) ** -0.5) @ vectors.T
    expected = unit @ zca @ zca.T
    expected /= (patches @ expected.T).std(0)[:, None]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose((patches @ found.T).std(0), 1, atol=1e-4)


def test_patches_come_from_what_was_seen():
    samples = Listed([chip(0, blind=True), chip(1)])
    RandomConv((SPEC,), STATISTICS, filters=8).draw(samples)
    with pytest.raises(ContractError, match="no patch of 3 x 3 pixels"):
        RandomConv((SPEC,), STATISTICS, filters=2).draw(Listed([chip(0, blind=True)]))
    with pytest.raises(ContractError, match="no patch of 5 x 5 pixels"):
        RandomConv((SPEC,), STATISTICS, filters=2, size=5).draw(Listed([chip(0, side=4)]))
    with pytest.raises(ContractError, match="size is 4"):
        RandomConv((SPEC,), STATISTICS, size=4)


def test_texture_that_no_single_pixel_shows_is_told_apart():
    """Chips of the same values, in stripes or shuffled: a linear model on the mean of raw bands
    cannot know them, on random convolutional features it can."""
    random = np.random.default_rng(0)
    chips, kinds = [], []
    for number in range(60):
        stripes = np.tile(random.permutation([0.1, 0.5])[np.arange(16) % 2], (16, 1))
        image = np.broadcast_to(stripes, (2, 2, 16, 16)).copy()
        if number % 2:
            order = random.permutation(256)
            image = image.reshape(2, 2, 256)[..., order].reshape(2, 2, 16, 16)
        noise = random.normal(0, 0.02, image.shape)
        chips.append(chip(number, pixels=(image + noise).astype(np.float32)))
        kinds.append(number % 2)
    encoders = (
        Raw((SPEC,), STATISTICS),
        RandomConv((SPEC,), STATISTICS, filters=32).draw(Listed(chips[:30])),
    )
    scores = []
    for encoder in encoders:
        features = encoder(collate(chips)).scene().numpy()
        model = RidgeClassifier().fit(features[:30], kinds[:30])
        scores.append(model.score(features[30:], kinds[30:]))
    assert scores[0] < 0.8
    assert scores[1] > 0.95
