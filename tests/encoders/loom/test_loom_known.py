"""What unlabelled chips show of bands, and what bands that a sample lacks are filled with."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.loom import Loom
from earthloom.encoders.loom.ranges import REFLECTANCE
from earthloom.sample import Chip, Layer, LayerSpec, Listed
from earthloom.sample.batch import collate

SPEC = LayerSpec("own", 10, ("red", "nir a", "nir b"), "1", ("1",), (660.0, 830.0, 865.0))
FLAT = {SPEC.key: Statistics((0.2,) * 3, (0.1,) * 3)}


def chips(count=40, seed=0, seen=0.8):
    """Second band like the first one in the common range, and the third always 2 above that."""
    random = np.random.default_rng(seed)
    first, own = random.normal(0.0, 0.5, (2, count, 8, 8))
    second = 0.9 * first + 0.2 * own
    ranged = np.stack([first, second, second + 2.0], axis=1)
    pixels = 0.05 * np.sinh(ranged * REFLECTANCE.spread + REFLECTANCE.middle)
    valid = random.random((count, 1, 8, 8)) < seen
    pixels = np.where(valid, pixels, np.nan).astype(np.float32)[:, None]
    days = np.array([19000], np.int32)
    return Listed(
        [
            Chip(str(n), "", {SPEC.key: Layer(SPEC, pixels[n], valid[n], days)}, None)
            for n in range(count)
        ]
    )


def lost(loom, measured):
    """(B, C) in the common range what the slots are, of a batch that lacks bands."""
    batch = collate([chips(seen=1.0)[n] for n in range(4)])
    layer = replace(batch.layers[SPEC.key], measured=torch.tensor([measured] * 4))
    with torch.inference_mode():
        whole, found = (
            loom(replace(batch, layers={SPEC.key: each})).pixels[:, -2:]
            for each in (batch.layers[SPEC.key], layer)
        )
    return whole, found


def test_what_is_measured_is_what_was_seen():
    loom = Loom((SPEC,), FLAT).eval().acquaint(chips())
    (known,) = loom.known
    np.testing.assert_allclose(known.mean, [0.0, 0.0, 2.0], atol=0.05)
    slope, spread = 0.25 * 0.9, 0.25 * 0.81 + 0.01
    expected = [[0.25, slope, slope], [slope, spread, spread], [slope, spread, spread]]
    np.testing.assert_allclose(known.covariance, expected, atol=0.02)


def test_a_lost_band_is_as_the_others_let_expect():
    plain = Loom((SPEC,), FLAT).eval()
    loom = Loom((SPEC,), FLAT).eval()
    loom.load_state_dict(plain.state_dict())
    loom.acquaint(chips(seed=1))
    # Half of a slot is told by its other half, though that is far brighter.
    whole, found = lost(loom, [True, True, False])
    torch.testing.assert_close(found, whole, atol=0.02, rtol=0)
    assert (lost(plain, [True, True, False])[1] - whole).abs().max() > 0.9
    # And all of it by the other slot, but for what that does not tell.
    whole, found = lost(loom, [True, False, False])
    apart = (found - whole)[:, 1]
    assert apart.square().mean().sqrt() == pytest.approx(0.1, rel=0.2)
    # What is known comes with a model's state.
    other = Loom((SPEC,), FLAT).eval()
    other.load_state_dict(loom.state_dict())
    assert torch.equal(lost(other, [True, False, False])[1], found)


@pytest.mark.parametrize("few", [chips(seen=0.0), chips(count=1)])
def test_what_was_hardly_seen_stays_unknown(few):
    loom = Loom((SPEC,), FLAT).eval().acquaint(few)
    (known,) = loom.known
    assert known.mean.isnan().all()
    assert torch.isfinite(lost(loom, [True, False, False])[1]).all()


def test_a_sample_without_any_band_has_what_bands_usually_are():
    loom = Loom((SPEC,), FLAT).eval().acquaint(chips())
    _, found = lost(loom, [False, False, False])
    usual = torch.tensor([0.0, 1.0])[:, None, None].expand(4, 2, 8, 8)
    torch.testing.assert_close(found, usual, atol=0.05, rtol=0)
