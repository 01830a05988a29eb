"""Parts of the spectrum and other kinds of measurements, each a row of the calendar."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from earthloom.encoders.loom.bands import BandFacts
from earthloom.encoders.loom.fill import Fill

_EDGES_NM = (510.0, 600.0, 690.0, 760.0, 1000.0, 1900.0)
"""Between blue, green, red, the red edge, near infrared, and the two short-wave windows that
water vapour leaves open."""
_OPTICAL = ("blue", "green", "red", "red edge", "near", "short-wave 1", "short-wave 2")
_OTHER = ("thermal", "height", "normalised difference", "index", "quantity")
_RADAR = ("same polarisation", "crossed polarisation")
SLOTS = (*_OPTICAL, *_RADAR, *_OTHER)
"""What the calendar tells apart, S of them: for every sensor the same, and nothing here is
learnt."""
_CROSSED = ("VH", "HV")


def slot_of(band: BandFacts) -> int:
    """Where in `SLOTS` a band belongs."""
    if band.kind == "radar":
        return SLOTS.index(_RADAR[band.polarisation in _CROSSED])
    if band.kind != "optical":
        return SLOTS.index("normalised difference" if band.difference else band.kind)
    # A camera that says no wavelength sees light: of any colour.
    return bisect(_EDGES_NM, band.wavelength_nm or _EDGES_NM[1])


@dataclass(frozen=True)
class Filled:
    """What a layer has for the slots that some layers fill together."""

    at: Tensor
    """(K,) which of those slots it fills."""
    means: Tensor
    """(1 or B, K, C): bands to the mean of a slot."""
    added: Tensor
    """(1 or B, K, 1): of bands that a sample lacks."""
    there: Tensor
    """(1 or B, K) whether a sample has anything to tell of a slot, 0 or 1."""

    def of(self, samples: slice) -> Filled:
        """That of some samples."""
        if len(self.means) == 1:
            return self
        return Filled(self.at, self.means[samples], self.added[samples], self.there[samples])


def filled(
    facts: Sequence[BandFacts],
    slots: Sequence[int],
    measured: Tensor | None,
    fill: Fill | None,
    like: Tensor,
) -> Filled:
    """For bands with such facts, of which `measured` (B, C) bool says which there are, and what the
    others are filled with: without that a slot is of the bands that are there. `slots` are those of
    all layers, and numbers are as in `like`."""
    own = sorted({slot_of(band) for band in facts})
    at = torch.tensor([slots.index(slot) for slot in own], device=like.device)
    member = torch.tensor([[float(slot_of(band) == slot) for band in facts] for slot in own])
    member = member.to(like)[None]
    if fill is not None:
        means = member / member.sum(dim=2, keepdim=True)
        return Filled(at, means @ fill.matrix, means @ fill.added, fill.some.expand(-1, len(own)))
    if measured is not None:
        member = member * measured[:, None].to(member.dtype)
    count = member.sum(dim=2)
    means = member / count.clamp_min(1)[..., None]
    return Filled(at, means, torch.zeros_like(means[..., :1]), count.clamp_max(1))
