"""A year as a few waves: least squares of harmonics, pixel by pixel (Zhu and Woodcock 2014)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.cube.compiled import compiled
from earthloom.cube.kernels import seen_in

YEAR = 365.25
"""Days of the first harmonic."""

_BISQUARE = 4.685
"""Residuals beyond so many standard deviations have no weight (Beaton and Tukey 1974)."""


@dataclass(frozen=True)
class Waves:
    """Which terms a fit has: a mean, perhaps a trend, and a cosine and a sine a harmonic."""

    harmonics: int = 1
    trend: bool = False
    """A change a year; asks for more than one year of observations."""
    robust: bool = False
    """Outliers lose their weight (iteratively, by the bisquare of Beaton and Tukey 1974), such as
    clouds that no mask found."""
    origin_day: float = 0.0
    """Where a trend is 0, in days since 1970-01-01."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients, in their order."""
        waves = (f"{wave}{k}" for k in range(1, self.harmonics + 1) for wave in ("cos", "sin"))
        return ("mean", *(("trend",) if self.trend else ()), *waves)

    def design(self, days: Sequence[float] | NDArray[np.integer]) -> NDArray[np.float64]:
        """The terms at days since 1970-01-01: (N, terms). Phases count from 1 January."""
        when = np.asarray(days, np.float64)
        columns = [np.ones(len(when))]
        if self.trend:
            columns.append((when - self.origin_day) / YEAR)
        for k in range(1, self.harmonics + 1):
            angle = 2 * np.pi * k * when / YEAR
            columns += [np.cos(angle), np.sin(angle)]
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class HarmonicFit:
    """A fit of every pixel and band."""

    waves: Waves
    coefficients: NDArray[np.float32]
    """(terms, C, H, W); NaN where there were too few observations to tell."""
    rmse: NDArray[np.float32]
    """(C, H, W): root mean square of the residuals, by degrees of freedom."""
    count: NDArray[np.uint8]
    """(H, W): observations."""

    def at(self, days: Sequence[float] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Values at days since 1970-01-01: (T, C, H, W)."""
        design = self.waves.design(days).astype(np.float32)
        values: NDArray[np.float32] = np.tensordot(design, self.coefficients, axes=1)
        return values


def fit_harmonics(
    stack: NDArray[np.float32], days: NDArray[np.integer], waves: Waves = Waves()
) -> HarmonicFit:
    """Fits waves to N observations (N, C, H, W) of days (N,) since 1970-01-01.

    NaN marks what was not seen; an observation counts where all its bands are there. A pixel needs
    at least one observation more than there are terms, and dates that tell the terms apart.
    """
    number, bands, rows, cols = stack.shape
    seen = seen_in(stack).reshape(number, rows * cols)
    design = waves.design(days)
    terms = design.shape[1]
    coefficients = np.full((terms, bands, rows * cols), np.nan, np.float32)
    rmse = np.full((bands, rows * cols), np.nan, np.float32)
    flat = np.ascontiguousarray(stack, np.float32).reshape(number, bands, rows * cols)
    _fit(flat, seen, design, waves.robust, coefficients, rmse)
    return HarmonicFit(
        waves,
        coefficients.reshape(terms, bands, rows, cols),
        rmse.reshape(bands, rows, cols),
        np.minimum(seen.sum(axis=0), 255).astype(np.uint8).reshape(rows, cols),
    )


@compiled
def _fit(
    stack: NDArray[np.float32],
    seen: NDArray[np.bool_],
    design: NDArray[np.float64],
    robust: bool,
    coefficients: NDArray[np.float32],
    rmse: NDArray[np.float32],
) -> None:
    number, bands, pixels = stack.shape
    terms = design.shape[1]
    rows, values = np.empty((number, terms)), np.empty(number)
    weights, residuals, ordered = np.ones(number), np.empty(number), np.empty(number)
    solution = np.empty(terms)
    for x in range(pixels):
        for band in range(bands):
            found = 0
            for n in range(number):
                if seen[n, x]:
                    for term in range(terms):
                        rows[found, term] = design[n, term]
                    values[found] = stack[n, band, x]
                    found += 1
            if found <= terms:
                continue
            for i in range(found):
                weights[i] = 1
            if not _solve(rows, values, weights, found, solution):
                continue
            _residuals(rows, values, solution, found, residuals)
            if robust:
                _reweigh(rows, values, found, solution, weights, residuals, ordered)
            for term in range(terms):
                coefficients[term, band, x] = solution[term]
            total, free = 0.0, -float(terms)
            for i in range(found):
                total += weights[i] * residuals[i] * residuals[i]
                free += weights[i]
            rmse[band, x] = np.sqrt(total / free) if free > 0 else np.nan


@compiled
def _reweigh(
    rows: NDArray[np.float64],
    values: NDArray[np.float64],
    found: int,
    solution: NDArray[np.float64],
    weights: NDArray[np.float64],
    residuals: NDArray[np.float64],
    ordered: NDArray[np.float64],
) -> None:
    """Solves again with weights by residuals until they no longer change."""
    terms = len(solution)
    before = np.empty(terms)
    for _ in range(30):
        # The smallest residuals are 0 by the fit itself, as many as there are terms.
        limit = _BISQUARE * _ranked(residuals, found, terms + (found - terms - 1) // 2, ordered)
        limit /= 0.6745
        size, change = 0.0, 0.0
        for term in range(terms):
            before[term] = solution[term]
            size = max(size, abs(solution[term]))
        if limit <= 1e-9 * (size + 1e-30):
            return
        for i in range(found):
            share = min(abs(residuals[i]) / limit, 1.0)
            weights[i] = (1 - share * share) * (1 - share * share)
        if not _solve(rows, values, weights, found, solution):
            for term in range(terms):
                solution[term] = before[term]
            return
        _residuals(rows, values, solution, found, residuals)
        for term in range(terms):
            change = max(change, abs(solution[term] - before[term]))
        if change <= 1e-5 * size:
            return


@compiled
def _ranked(
    residuals: NDArray[np.float64], found: int, rank: int, ordered: NDArray[np.float64]
) -> float:
    """The absolute residual of a rank, from 0, by insertion sort."""
    for i in range(found):
        now, place = abs(residuals[i]), i
        while place > 0 and ordered[place - 1] > now:
            ordered[place] = ordered[place - 1]
            place -= 1
        ordered[place] = now
    return float(ordered[rank])


@compiled
def _residuals(
    rows: NDArray[np.float64],
    values: NDArray[np.float64],
    solution: NDArray[np.float64],
    found: int,
    residuals: NDArray[np.float64],
) -> None:
    for i in range(found):
        fitted = 0.0
        for j in range(len(solution)):
            fitted += rows[i, j] * solution[j]
        residuals[i] = values[i] - fitted


@compiled
def _solve(
    rows: NDArray[np.float64],
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    found: int,
    solution: NDArray[np.float64],
) -> bool:
    """Weighted least squares by Cholesky's method; false where the rows do not tell the terms
    apart."""
    terms = len(solution)
    matrix = np.zeros((terms, terms))
    for j in range(terms):
        solution[j] = 0
    for i in range(found):
        for j in range(terms):
            weighted = weights[i] * rows[i, j]
            solution[j] += weighted * values[i]
            for k in range(j + 1):
                matrix[j, k] += weighted * rows[i, k]
    for j in range(terms):
        whole = matrix[j, j]
        for k in range(j):
            matrix[j, j] -= matrix[j, k] * matrix[j, k]
        if not matrix[j, j] > 1e-6 * whole:
            return False
        matrix[j, j] = np.sqrt(matrix[j, j])
        for i in range(j + 1, terms):
            for k in range(j):
                matrix[i, j] -= matrix[i, k] * matrix[j, k]
            matrix[i, j] /= matrix[j, j]
    for j in range(terms):
        for k in range(j):
            solution[j] -= matrix[j, k] * solution[k]
        solution[j] /= matrix[j, j]
    for j in range(terms - 1, -1, -1):
        for k in range(j + 1, terms):
            solution[j] -= matrix[k, j] * solution[k]
        solution[j] /= matrix[j, j]
    return True
