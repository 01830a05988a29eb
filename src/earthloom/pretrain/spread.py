"""What keeps a joint embedding from collapsing: vectors are to lie as a Gaussian's do.

Sketched isotropic Gaussian regularisation (Balestriero and LeCun 2025, LeJEPA): on random
directions, the empirical characteristic function of the vectors is to be that of the standard
normal distribution (the test of Epps and Pulley 1983). It bounds values and gradients, needs
neither a teacher nor large batches, and has one number to set.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

_FURTHEST = 5.0
_POINTS = 17


def spread_loss(vectors: Tensor, directions: int, random: Generator) -> Tensor:
    """() how far vectors (N, D) are from a standard normal distribution.

    The integral of the squared difference of both characteristic functions, weighted by exp(-t^2 /
    2), mean over random directions. It is 0.41 where all vectors are 0, and about 1.06 / N for N
    draws from the normal distribution.
    """
    vectors = vectors.float()
    drawn = torch.randn(vectors.shape[1], directions, generator=random)
    points = torch.linspace(-_FURTHEST, _FURTHEST, _POINTS, device=vectors.device)
    with torch.autocast(vectors.device.type, enabled=False):
        along = vectors @ F.normalize(drawn, dim=0).to(vectors.device)
    angles = along[..., None] * points
    normal = torch.exp(-(points**2) / 2)
    real, imaginary = angles.cos().mean(dim=0) - normal, angles.sin().mean(dim=0)
    return torch.trapezoid((real**2 + imaginary**2) * normal, points).mean()
