"""Features of the chips of a pretraining, made of equal spread when all is learnt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from earthloom.encoders.loom import Loom
from earthloom.pretrain.sources import Source
from earthloom.sample import Samples
from earthloom.sample.batch import collate

_CHIPS, _PIXELS, _TOGETHER = 64, 4096, 16
"""Of a source: chips of a batch's usual size that are looked at, and pixels that count."""


@torch.no_grad()
def whiten(faces: Sequence[Loom], opened: Sequence[Samples], sources: Sequence[Source]) -> None:
    """Whitens what is learnt of pixels over all sources alike, see `Loom.whiten`; all faces share
    their weights. Linear heads that are held to small weights then see all that is learnt."""
    every = zip(faces, opened, sources, strict=True)
    found = [_pixels(face.eval(), samples, _CHIPS * own.times) for face, samples, own in every]
    faces[0].whiten(torch.cat(found))


def _pixels(loom: Loom, samples: Samples, count: int) -> Tensor:
    """(N, 64) of the first chips, where seen."""
    random, found = Generator().manual_seed(0), []
    numbers = range(min(count, len(samples)))
    together = max(_TOGETHER * count // _CHIPS, 1)
    for first in range(0, len(numbers), together):
        chips = [samples[number] for number in numbers[first : first + together]]
        features = loom.learnt(loom(collate(chips)))
        found.append(features.pixels.permute(0, 2, 3, 1)[features.seen])
    pixels = torch.cat(found)
    return pixels[torch.randperm(len(pixels), generator=random)[:_PIXELS]]
