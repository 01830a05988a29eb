"""Longitude and latitude of chips, and spherical harmonics of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from earthloom.errors import ContractError
from earthloom.sample import Place

_UTM = re.compile(r"EPSG:32([67])(\d\d)")
_DEGREES = ("EPSG:4326", "OGC:CRS84")
_AXIS, _FLATTENING, _SCALE = 6_378_137.0, 1 / 298.257223563, 0.9996
"""Of WGS 84 in metres, and of UTM."""


def middles_of(places: Sequence[Place | None]) -> tuple[Tensor, Tensor]:
    """(B, 2) float64 longitude and latitude of the middles of places in degrees, and (B,) bool:
    which are known; 0, 0 for those that are not.

    ContractError for a CRS that cannot be understood.
    """
    known = torch.tensor([place is not None for place in places], dtype=torch.bool)
    middles = [(0.0, 0.0) if place is None else middle_of(place) for place in places]
    return torch.tensor(middles, dtype=torch.float64).reshape(-1, 2), known


def middle_of(place: Place) -> tuple[float, float]:
    """Longitude (-180 to 180) and latitude of the middle of a place, in degrees."""
    a, b, c, d, e, f = place.transform
    row, col = place.shape.rows / 2, place.shape.cols / 2
    x, y = a * col + b * row + c, d * col + e * row + f
    zone = _UTM.fullmatch(place.crs)
    if zone is not None and 1 <= int(zone[2]) <= 60:
        longitude, latitude = _from_utm(x, y, int(zone[2]), south=zone[1] == "7")
    elif place.crs in _DEGREES:
        longitude, latitude = x, y
    else:
        longitude, latitude = _transformer(place.crs)(x, y)
    if not (math.isfinite(longitude) and -90 <= latitude <= 90):
        raise ContractError(f"the place at {x:g}, {y:g} in {place.crs} is not on the Earth")
    return (longitude + 180) % 360 - 180, latitude


def harmonics(middles: Tensor, degrees: int) -> Tensor:
    """(B, (degrees + 1)^2) float64 real spherical harmonics of longitudes and latitudes (B, 2) in
    degrees, orthonormal on the sphere.

    Degree l stands at l^2 to (l + 1)^2 - 1, in it the orders from -l (sines) over 0 to l (cosines),
    without the sign (-1)^m. Legendre functions are made by their recurrence in the degree, which is
    stable (Holmes and Featherstone 2002).
    """
    longitude, latitude = torch.deg2rad(middles.double()).unbind(dim=-1)
    legendre = _legendre(torch.sin(latitude), torch.cos(latitude), degrees)
    turns = {0: torch.ones_like(longitude)}
    for order in range(1, degrees + 1):
        turns[-order] = math.sqrt(2) * torch.sin(order * longitude)
        turns[order] = math.sqrt(2) * torch.cos(order * longitude)
    return torch.stack(
        [
            legendre[degree, abs(order)] * turns[order]
            for degree in range(degrees + 1)
            for order in range(-degree, degree + 1)
        ],
        dim=-1,
    )


def _legendre(sine: Tensor, cosine: Tensor, degrees: int) -> dict[tuple[int, int], Tensor]:
    """Associated Legendre functions of the sine of the latitude by degree and order, normalised so
    that times exp(i m longitude) they are orthonormal on the sphere."""
    found = {(0, 0): torch.full_like(sine, math.sqrt(1 / (4 * math.pi)))}
    for m in range(1, degrees + 1):
        found[m, m] = math.sqrt((2 * m + 1) / (2 * m)) * cosine * found[m - 1, m - 1]
    for m in range(degrees):
        found[m + 1, m] = math.sqrt(2 * m + 3) * sine * found[m, m]
        for n in range(m + 2, degrees + 1):
            near = math.sqrt((4 * n * n - 1) / (n * n - m * m))
            far = math.sqrt(((n - 1) ** 2 - m * m) / (4 * (n - 1) ** 2 - 1))
            found[n, m] = near * (sine * found[n - 1, m] - far * found[n - 2, m])
    return found


def _from_utm(x: float, y: float, zone: int, south: bool) -> tuple[float, float]:
    """Longitude and latitude in degrees of a point in UTM, right to a millimetre in its zone.

    The series of Krueger (1912) to the third order of the third flattening. Written here, since
    machines that only train have no projection library.
    """
    n = _FLATTENING / (2 - _FLATTENING)
    radius = _AXIS / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    beta = (
        n / 2 - 2 / 3 * n**2 + 37 / 96 * n**3,
        n**2 / 48 + n**3 / 15,
        17 / 480 * n**3,
    )
    delta = (2 * n - 2 / 3 * n**2 - 2 * n**3, 7 / 3 * n**2 - 8 / 5 * n**3, 56 / 15 * n**3)
    north = (y - (10_000_000.0 if south else 0.0)) / (_SCALE * radius)
    east = (x - 500_000.0) / (_SCALE * radius)
    xi = north - sum(
        b * math.sin(2 * j * north) * math.cosh(2 * j * east) for j, b in enumerate(beta, 1)
    )
    eta = east - sum(
        b * math.cos(2 * j * north) * math.sinh(2 * j * east) for j, b in enumerate(beta, 1)
    )
    chi = math.asin(math.sin(xi) / math.cosh(eta))
    latitude = chi + sum(d * math.sin(2 * j * chi) for j, d in enumerate(delta, 1))
    longitude = math.atan2(math.sinh(eta), math.cos(xi))
    return math.degrees(longitude) + 6 * zone - 183, math.degrees(latitude)


@lru_cache(maxsize=16)
def _transformer(crs: str) -> Callable[[float, float], tuple[float, float]]:
    """From x and y in any CRS to longitude and latitude in degrees."""
    try:
        from pyproj import Transformer
        from pyproj.exceptions import ProjError
    except ImportError as error:
        raise ContractError(
            f"the place of a chip in {crs} takes pyproj, which is not installed; without it valid "
            "are UTM zones (EPSG:32601 to EPSG:32760) and EPSG:4326"
        ) from error
    try:
        transform = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
    except ProjError as error:
        raise ContractError(f"the CRS {crs} of a chip's place is not known: {error}") from error

    def to_degrees(x: float, y: float) -> tuple[float, float]:
        longitude, latitude = transform(x, y)
        return float(longitude), float(latitude)

    return to_degrees
