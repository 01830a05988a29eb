"""Mean and covariance of variables that come in parts."""

import numpy as np
from numpy.typing import NDArray


class JointSums:
    """Running sums of variables that are seen together, in float64."""

    def __init__(self, size: int) -> None:
        self.count = 0
        """How often all were seen."""
        self._total, self._products = np.zeros(size), np.zeros((size, size))

    def add(self, values: NDArray[np.float64]) -> None:
        """Of (size, N), without NaN."""
        self.count += values.shape[1]
        self._total += values.sum(axis=1)
        self._products += values @ values.T

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean (size,), and covariance (size, size) of the numbers themselves, not of a population
        that they were drawn from. They must have been seen."""
        mean = self._total / self.count
        return mean, self._products / self.count - np.outer(mean, mean)
