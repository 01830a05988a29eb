"""Statistics over chips equal those of all valid pixels at once."""

from dataclasses import replace

import numpy as np
import pytest

from earthloom.fit.statistics import statistics_of


def test_equal_to_all_pixels_at_once(chips):
    for key, found in statistics_of(chips).items():
        layers = [chip.layers[key] for chip in chips.chips]
        parts = [layer.pixels.transpose(0, 2, 3, 1)[layer.valid] for layer in layers]
        seen = np.concatenate(parts).astype(np.float64)
        assert found.mean == pytest.approx(seen.mean(0))
        assert found.std == pytest.approx(seen.std(0))


def test_what_was_never_seen_has_mean_zero(chips, listed):
    chip = chips.chips[0]
    layers = {
        key: replace(layer, valid=np.zeros_like(layer.valid)) for key, layer in chip.layers.items()
    }
    blind = listed([replace(chip, layers=layers)])
    assert all(s.mean == (0.0,) * len(s.mean) for s in statistics_of(blind).values())
