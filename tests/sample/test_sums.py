"""Mean and covariance of variables that come in parts."""

import numpy as np

from earthloom.sample import JointSums


def test_moments_of_parts_are_those_of_the_whole():
    values = np.random.default_rng(0).normal(3.0, 2.0, (3, 50))
    sums = JointSums(3)
    for part in (values[:, :20], values[:, 20:20], values[:, 20:]):
        sums.add(part)
    mean, covariance = sums.moments()
    assert sums.count == 50
    np.testing.assert_allclose(mean, values.mean(axis=1))
    np.testing.assert_allclose(covariance, np.cov(values, bias=True))
