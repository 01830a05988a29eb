"""Features of the chips of a pretraining, evened out when all is learnt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from earthloom.encoders.loom import LEARNT, Loom
from earthloom.encoders.loom.calendar import Seasons
from earthloom.pretrain.sources import Source
from earthloom.sample import Samples
from earthloom.sample.batch import collate

_CHIPS, _PIXELS, _TOGETHER = 64, 4096, 16
"""Of a source: chips of a batch's usual size that are looked at, and pixels that count."""
_SERIES = 3
"""Dates from which on a source tells how features go together: single images and pairs say more of
light and haze than of land."""


@torch.no_grad()
def even_out(faces: Sequence[Loom], opened: Sequence[Samples], sources: Sequence[Source]) -> None:
    """Turns the features of pixels so that small spreads are less small, see `Loom.even` and
    `Spread`: by all sources of series alike, and where none says anything, by the others. All faces
    share their weights."""
    first = faces[0]
    first.spread.reset()
    for face in faces:
        face.show()
    found: tuple[list[tuple[Seasons, Tensor]], ...] = ([], [])
    for face, samples, own in zip(faces, opened, sources, strict=True):
        kind = int(all(len(layer.dates) < _SERIES for layer in face.layers))
        found[kind].append((face.seasons, _pixels(face.eval(), samples, _CHIPS * own.times)))
    learnt, years = (
        [[(seasons, pixels[:, part]) for seasons, pixels in each] for each in found]
        for part in (slice(LEARNT), slice(LEARNT, None))
    )
    first.even(torch.cat([pixels for _, pixels in learnt[0] or learnt[1]]))
    first.spread.measure(*years)
    for face in faces:
        face.show()


def _pixels(loom: Loom, samples: Samples, count: int) -> Tensor:
    """(N, F) of the first chips, where seen."""
    random, found = Generator().manual_seed(0), []
    numbers = range(min(count, len(samples)))
    together = max(_TOGETHER * count // _CHIPS, 1)
    for first in range(0, len(numbers), together):
        chips = [samples[number] for number in numbers[first : first + together]]
        features = loom(collate(chips))
        found.append(features.pixels.permute(0, 2, 3, 1)[features.seen])
    pixels = torch.cat(found)
    return pixels[torch.randperm(len(pixels), generator=random)[:_PIXELS]]
