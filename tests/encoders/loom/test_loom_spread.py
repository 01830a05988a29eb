"""How numbers of the calendar go together, and turns after which they do so less."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.loom import Loom, load_loom, save_weights
from earthloom.encoders.loom.calendar import WINDOWS, Seasons
from earthloom.encoders.loom.fill import fill
from earthloom.encoders.loom.ranges import REFLECTANCE, usual_of
from earthloom.encoders.loom.slots import SLOTS
from earthloom.encoders.loom.spread import Spread, half_whitening
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch, LayerBatch

DATES = tuple(f"{number:02d}" for number in range(1, 10))
RED, NEAR = SLOTS.index("red"), SLOTS.index("near")


def test_spreads_become_their_roots():
    random = torch.Generator().manual_seed(0)
    mixed = torch.randn(6, 6, generator=random, dtype=torch.float64)
    pixels = torch.randn(5000, 6, generator=random, dtype=torch.float64) @ mixed
    covariance = torch.cov(pixels.T)
    turn = half_whitening(covariance)
    torch.testing.assert_close(turn, turn.T)
    before, axes = torch.linalg.eigh(covariance)
    after = torch.cov((pixels @ turn).T)
    torch.testing.assert_close(axes.T @ after @ axes, torch.diag((before * before.mean()).sqrt()))
    # Directions of no spread at all are not blown up.
    flat = half_whitening(torch.diag(torch.tensor([1.0, 1.0, 0.0])))
    assert torch.isfinite(flat).all()
    assert flat.max() < 6


def test_before_any_pretraining_nothing_is_turned():
    torch.testing.assert_close(Spread().turn((RED, NEAR)), torch.eye(2))


def years(count=4000, seed=0):
    """Two slots that go together by 0.8, in every window."""
    random = np.random.default_rng(seed)
    slots = np.array([[1.0, 0.8], [0.8, 1.0]])
    means = random.standard_normal((count, WINDOWS, 2)) @ np.linalg.cholesky(slots).T
    return torch.from_numpy(means.reshape(count, -1)) + 3.0, slots


def test_what_is_measured_is_what_was_seen():
    (means, slots), spread = years(), Spread()
    shown = Seasons((RED, NEAR), WINDOWS)
    spread.measure([(shown, means)])
    at = torch.tensor([RED, NEAR])
    np.testing.assert_allclose(spread.slots[at[:, None], at].numpy(), slots, atol=0.05)
    # Slots that nobody saw go with none, and have a usual spread.
    assert spread.slots[0, RED] == 0
    assert spread.slots[0, 0] == pytest.approx(1.0, abs=0.05)
    apart = torch.cov((means.reshape(-1, 2) @ spread.turn((RED, NEAR)).double()).T)
    assert torch.linalg.cond(apart) == pytest.approx(3.0, rel=0.1)
    spread.measure([])
    np.testing.assert_allclose(spread.slots[at[:, None], at].numpy(), slots, atol=0.05)
    spread.reset()
    assert torch.equal(spread.slots, torch.eye(len(SLOTS)))


def test_sources_count_alike():
    """However many pixels they have, and each for the slots that it shows."""
    many, few = years()[0], years(200, seed=1)[0]
    spread = Spread()
    spread.measure([(Seasons((RED, NEAR), WINDOWS), many), (Seasons((0, RED), WINDOWS), 3 * few)])
    assert spread.slots[RED, NEAR] == pytest.approx(0.8, abs=0.05)
    assert spread.slots[0, RED] == pytest.approx(7.2, rel=0.1)
    assert spread.slots[RED, RED] == pytest.approx(5.0, rel=0.1)


def test_the_first_kind_of_sources_that_shows_two_slots_tells_how_they_go_together():
    spread, series = Spread(), years()[0]
    images = torch.cat([-5.0 * series[:, :1], series[:, 1:2], series[:, :1]], dim=1)
    spread.measure(
        [(Seasons((RED, NEAR), WINDOWS), series)],
        [(Seasons((0, RED, NEAR), 1), images)],
    )
    assert spread.slots[RED, NEAR] == pytest.approx(0.8, abs=0.05)
    assert spread.slots[0, 0] == pytest.approx(25.0, rel=0.1)
    assert spread.slots[0, NEAR] == pytest.approx(-5.0, rel=0.1)


def test_lost_slots_are_what_is_expected_of_the_others():
    spread = Spread()
    means, _ = years()
    spread.measure([(Seasons((RED, NEAR), WINDOWS), means)])
    there = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    usual = torch.tensor([3.0, 2.0])
    year = torch.tensor([[5.0, 4.0], [5.0, 0.0], [0.0, 0.0]])[..., None]
    found = fill(spread.among((RED, NEAR)), usual, there)(year)[..., 0]
    torch.testing.assert_close(found[0], year[0, :, 0])
    # Of a lost slot the usual value, and 0.8 of how far the other one is from its own.
    torch.testing.assert_close(found[1], torch.tensor([5.0, 3.6]), atol=0.05, rtol=0)
    torch.testing.assert_close(found[2], usual)
    alone = fill(Spread().among((RED, NEAR)), usual, there)(year)[..., 0]
    torch.testing.assert_close(alone, torch.tensor([[5.0, 4.0], [5.0, 2.0], [3.0, 2.0]]))


@pytest.mark.parametrize("dates", [DATES, DATES[:1]])
def test_bands_that_a_sample_lacks_are_filled_from_its_others(dates):
    loom, batch = two_bands(dates)
    with torch.inference_mode():
        plain = plain_year(loom, loom(batch))
        loom.spread.measure([(Seasons((RED, NEAR), WINDOWS), years()[0])])
        loom.show()
        whole = plain_year(loom, loom(batch))
        (key, layer) = next(iter(batch.layers.items()))
        lacking = replace(layer, measured=torch.tensor([[True, True], [True, False]]))
        found = plain_year(loom, loom(replace(batch, layers={key: lacking})))
    torch.testing.assert_close(found[0], whole[0])
    slots = plain[1].unflatten(0, (loom.seasons.windows, 2)).clone()
    slots[:, 1] = 0
    usual = usual_of(REFLECTANCE, torch.tensor([0.2, 0.2]), torch.tensor([0.1, 0.1]))
    filling = fill(loom.spread.among((RED, NEAR)), usual, torch.tensor([[1.0, 0.0]]))
    filled = filling(slots.reshape(1, len(plain[1]), -1)).reshape(slots.shape)
    expected = torch.einsum("ij,mjhw->mihw", loom.spread.turn((RED, NEAR)), filled)
    torch.testing.assert_close(found[1], expected.flatten(0, 1), atol=1e-4, rtol=1e-4)
    assert (filled[:, 1] - slots[:, 1]).abs().min() > 1e-3


def test_the_network_is_told_what_is_filled_in():
    """A sample that lacks a band is as one where that band is as expected."""
    loom, batch = two_bands(DATES)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        # Nothing else that the network sees tells of a band.
        for each in (loom.stem.bands.outer.weight, loom.stem.bands.outer.bias):
            each.zero_()
        loom.told.weight.normal_(generator=random)
    (key, layer) = next(iter(batch.layers.items()))
    usual = torch.full((2,), 0.2)
    even = replace(layer, pixels=layer.pixels.clone())
    with torch.inference_mode():
        middle = usual_of(REFLECTANCE, usual, torch.full((2,), 0.1))[1]
        even.pixels[:, :, 1] = 0.05 * torch.sinh(middle * REFLECTANCE.spread + REFLECTANCE.middle)
        lacking = replace(layer, measured=torch.tensor([[True, False]] * 2))
        given, left = (
            loom(replace(batch, layers={key: each}), calendar=False).pixels
            for each in (even, lacking)
        )
    torch.testing.assert_close(left, given, atol=1e-4, rtol=1e-4)


def two_bands(dates):
    """A Loom over red and near infrared, and a batch of two chips."""
    spec = LayerSpec("own", 10, ("a", "b"), "1", dates, (660.0, 850.0))
    random = torch.Generator().manual_seed(0)
    layer = LayerBatch(
        torch.rand(2, len(dates), 2, 4, 4, generator=random),
        torch.ones(2, len(dates), 4, 4, dtype=torch.bool),
        (19000 + 30 * torch.arange(len(dates), dtype=torch.int32)).expand(2, -1),
    )
    loom = Loom((spec,), {spec.key: Statistics((0.2, 0.2), (0.1, 0.1))}).eval()
    return loom, Batch(("a", "b"), {spec.key: layer}, None)


@pytest.mark.parametrize("dates", [DATES, DATES[:1]])
def test_weights_bring_their_turns_to_any_layers(dates, tmp_path):
    plain, batch = two_bands(dates)
    (spec,), flat = plain.layers, {plain.layers[0].key: Statistics((0.2, 0.2), (0.1, 0.1))}
    trained = Loom((spec,), flat).eval()
    trained.load_state_dict(plain.state_dict())
    trained.spread.measure([(Seasons((RED, NEAR), WINDOWS), years()[0])])
    trained.show()
    save_weights(trained, tmp_path / "w.safetensors", torch.float32)
    with torch.inference_mode():
        before, after, again = (
            loom(batch)
            for loom in (plain, trained, load_loom((spec,), flat, tmp_path / "w.safetensors"))
        )
    turn = torch.kron(torch.eye(plain.seasons.windows), trained.spread.turn((RED, NEAR)))
    year = torch.einsum("ij,bjhw->bihw", turn, plain_year(plain, before))
    torch.testing.assert_close(plain_year(trained, after), year, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.pixels, again.pixels)
    assert not torch.allclose(after.pixels, before.pixels)
    other = Loom((spec,), flat).eval()
    other.load_state_dict(trained.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(other(batch).pixels, after.pixels)


def plain_year(loom, features):
    return features.pixels[:, -loom.seasons.width :]
