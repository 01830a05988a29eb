"""What values of bands are like on average in the common range."""

import numpy as np
import pytest
import torch

from earthloom.encoders.loom.ranges import INDEX, RANGES, REFLECTANCE, usual_of


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        (REFLECTANCE, np.random.default_rng(0).gamma(2.0, 0.03, 20_000)),
        (REFLECTANCE, np.random.default_rng(1).normal(0.3, 0.1, 20_000)),
        (INDEX, np.random.default_rng(2).normal(-0.1, 0.3, 20_000)),
        (RANGES["linear power"], np.random.default_rng(3).gamma(4.0, 0.03, 20_000)),
        (RANGES["dB"], np.random.default_rng(4).normal(-12.0, 4.0, 20_000)),
    ],
    ids=["dark", "bright", "index", "radar", "decibels"],
)
def test_mean_and_spread_tell_the_mean_in_the_common_range(rule, values):
    given = torch.from_numpy(values).float()
    found = usual_of(rule, given.mean()[None], given.std()[None])
    true = rule(given[None, None])
    assert abs(found - true.mean()) < 0.1 * true.std()


def test_bands_that_never_vary_are_as_they_are():
    mean = torch.tensor([0.0, 0.2])
    found = usual_of(REFLECTANCE, mean, torch.tensor([1e-6, 1e-6]))
    torch.testing.assert_close(found, REFLECTANCE(mean), atol=1e-3, rtol=0)


@pytest.mark.parametrize("rule", [REFLECTANCE, INDEX, *RANGES.values()])
def test_the_largest_values_come_to_moderate_ones(rule):
    """Far off, where a weight is 0, they would have an effect as infinity."""
    ends = torch.tensor([torch.finfo(torch.float32).min, 0.0, torch.finfo(torch.float32).max])
    assert rule(ends).abs().max() < 100
