"""Whether features have collapsed: how many directions they fill, and how far they reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from earthloom.encoders.loom import Loom
from earthloom.sample.batch import Batch

_PIXELS = 64
"""Of each chip."""


def effective_rank(vectors: Tensor) -> float:
    """How many directions the differences of vectors (N, D) fill: the exponential of the entropy of
    their singular values, 1 to min(N - 1, D) (Roy and Vetterli 2007).

    0 where all vectors are the same, and NaN for fewer than two.
    """
    if len(vectors) < 2:
        return float("nan")
    values = torch.linalg.svdvals((vectors - vectors.mean(dim=0)).double())
    total = values.sum()
    if not total > 1e-12 * max(vectors.abs().max().item(), 1e-12):
        return 0.0
    shares = values / total
    return float(torch.exp(-(shares * shares.clamp_min(1e-30).log()).sum()))


@dataclass(frozen=True)
class Look:
    """What was seen of the features of some chips."""

    rank_chip: float
    """Effective rank of their vectors."""
    rank_dense: float
    """Effective rank of some of their pixels' features."""
    spread_chip: float
    """Mean over the numbers of a vector of their standard deviation from chip to chip."""
    spread_dense: float


@torch.no_grad()
def look_at(loom: Loom, batches: Iterable[Batch], device: torch.device, seed: int) -> Look:
    """Looks at whole chips, nothing hidden; the encoder's mode is left as it was."""
    was_training = loom.training
    loom.eval()
    random = Generator().manual_seed(seed)
    vectors, pixels = [], []
    for batch in batches:
        features = loom(batch.to(device), calendar=False)
        seen = features.seen.flatten(1)
        vectors.append(features.scene()[seen.any(dim=1)].cpu())
        flat = features.pixels.flatten(2).mT
        for image, valid in zip(flat, seen, strict=True):
            places = valid.nonzero()[:, 0].cpu()
            some = places[torch.randperm(len(places), generator=random)[:_PIXELS]]
            pixels.append(image[some.to(image.device)].cpu())
    loom.train(was_training)
    chips, dense = torch.cat(vectors), torch.cat(pixels)
    return Look(effective_rank(chips), effective_rank(dense), _spread(chips), _spread(dense))


def _spread(vectors: Tensor) -> float:
    return float(vectors.std(dim=0).mean()) if len(vectors) > 1 else float("nan")
