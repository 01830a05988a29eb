"""What is measured of the chips of a pretraining: before it how slots of the calendar go together,
after it how what was learnt does."""

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
"""Dates from which on a source tells how slots go together: single images and pairs say more of
light and haze than of land."""


@torch.no_grad()
def measure_slots(
    faces: Sequence[Loom], opened: Sequence[Samples], sources: Sequence[Source]
) -> None:
    """Measures how slots go together, see `Spread`, by the series among the sources, and where none
    of them says anything, by the others. All faces share what is measured."""
    first = faces[0]
    first.spread.reset()
    for face in faces:
        face.show()
    years: tuple[list[tuple[Seasons, Tensor]], ...] = ([], [])
    for face, pixels in zip(faces, _pixels(faces, opened, sources), strict=True):
        kind = int(all(len(layer.dates) < _SERIES for layer in face.layers))
        years[kind].append((face.seasons, pixels[:, LEARNT:]))
    first.spread.measure(*years)
    for face in faces:
        face.show()


@torch.no_grad()
def even_out(faces: Sequence[Loom], opened: Sequence[Samples], sources: Sequence[Source]) -> None:
    """Turns what was learnt of pixels so that small spreads are less small, see `Loom.even`, by all
    sources alike. All faces share their weights."""
    learnt = [pixels[:, :LEARNT] for pixels in _pixels(faces, opened, sources)]
    faces[0].even(torch.cat(learnt))


def _pixels(
    faces: Sequence[Loom], opened: Sequence[Samples], sources: Sequence[Source]
) -> list[Tensor]:
    """(N, F) of the first chips of each source."""
    return [
        _pixels_of(face.eval(), samples, _CHIPS * own.times)
        for face, samples, own in zip(faces, opened, sources, strict=True)
    ]


def _pixels_of(loom: Loom, samples: Samples, count: int) -> Tensor:
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
