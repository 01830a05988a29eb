"""How large a Loom may be."""

from collections.abc import Mapping
from dataclasses import dataclass

from earthloom.encoders.loom.body import Stage

LEARNT = 64
"""Features of a pixel that are learnt, in every size."""
FIRST = 4
"""Stride of the first stage, in every size; each further one has twice that of the one before."""


@dataclass(frozen=True)
class Size:
    """Numbers of channels and blocks."""

    stem: int
    """Channels D of a single observation."""
    heads: int
    """Queries over dates; `stem` is a multiple of it."""
    told: int
    """Sums of the calendar that the network is told."""
    stages: tuple[Stage, ...]
    """At strides 4, 8, 16, 32."""
    up: int
    """Channels of the way up."""
    hidden: int
    """Channels in which a pixel meets its surroundings."""
    ratio: int = 4
    """How much wider than its stage a block is inside."""


SIZES: Mapping[str, Size] = {
    "tiny": Size(
        stem=24,
        heads=6,
        told=64,
        stages=(Stage(48, 1), Stage(96, 1), Stage(256, 2), Stage(384, 2)),
        up=64,
        hidden=64,
    ),
    "small": Size(
        stem=48,
        heads=12,
        told=96,
        stages=(Stage(96, 2), Stage(192, 2), Stage(448, 6), Stage(640, 3)),
        up=96,
        hidden=64,
    ),
    "base": Size(
        stem=64,
        heads=16,
        told=128,
        stages=(Stage(128, 2), Stage(256, 3), Stage(768, 12), Stage(1152, 2)),
        up=192,
        hidden=96,
    ),
}
"""By name: 4.1, 22 and 85 million parameters."""
