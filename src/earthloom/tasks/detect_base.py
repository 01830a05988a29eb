"""What all detectors have in common: heads that find things in an encoder's pyramid."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from earthloom.encoders import Encoder, Features
from earthloom.encoders.base import Level
from earthloom.errors import ContractError
from earthloom.sample import Shape2d
from earthloom.tasks.detect_parts import Grid, Ladder, grids_for, levels_of
from earthloom.tasks.heads import Head

if TYPE_CHECKING:
    from earthloom.tasks.objects_task import ThingTask


@dataclass(frozen=True)
class Known:
    """The things of an image that a detector is to learn."""

    boxes: Tensor
    """(N, 4) float32 left, top, right, bottom in pixels of the base grid."""
    classes: Tensor
    """(N,) int64 class indices from 0."""
    masks: Tensor | None
    """(N, H, W) uint8; None for a detector without masks."""


@dataclass(frozen=True)
class Found:
    """What a detector found in an image, the surest first."""

    boxes: Tensor
    """(N, 4) float32 left, top, right, bottom in pixels of the base grid."""
    classes: Tensor
    """(N,) int64 class indices from 0."""
    scores: Tensor
    """(N,) float32."""
    masks: Tensor | None
    """(N, 28, 28) float32 over each box: the probability that a part of it is of the thing."""


@dataclass(frozen=True)
class Limits:
    """Which of the things that a detector sees it names."""

    score: float
    """Least score."""
    overlap: float
    """Most intersection over union of two things of a class."""
    most: int
    """Things of an image."""


class ThingHead(Head):
    """A head that finds things by class and box, and perhaps mask.

    `given` are the encoder's levels, finest first, as (channels, stride); `strides` those of the
    grids that things are looked for on; `width` the channels of its own pyramid, a multiple of 8.
    """

    def __init__(self, given: Sequence[Sequence[int]], strides: Sequence[int], width: int) -> None:
        super().__init__()
        if width % 8:
            raise ContractError(f"a detector's width must be a multiple of 8, but is {width}")
        self.given = [Level(channels, stride) for channels, stride in given]
        self.width = width
        self.ladder = Ladder(self.given, strides, width)

    @abstractmethod
    def losses(self, features: Features, known: Sequence[Known]) -> Tensor:
        """() the sum of all losses over the chips of a batch, each with what is to be found there.

        The same again for the same features, unless the head is being trained.
        """

    @abstractmethod
    def forward(self, features: Features, limits: Limits) -> tuple[Found, ...]:
        """What is found in each chip."""

    def pyramid(self, features: Features) -> dict[str, Tensor]:
        """(B, width, h, w) of each grid by its number, the finest first; ContractError for features
        of another encoder."""
        levels = levels_of(features)
        channels = [level.shape[1] for level in levels]
        if channels != [level.channels for level in self.given]:
            raise ContractError(
                f"the detector was made for levels of {[g.channels for g in self.given]} channels, "
                f"but got {channels}"
            )
        found: dict[str, Tensor] = self.ladder(levels)
        return found


def levels_under(encoder: Encoder) -> tuple[Level, ...]:
    """What a detector over an encoder starts from; of one without a pyramid, its pixels."""
    return encoder.pyramid or (Level(encoder.channels, encoder.stride),)


def grids_under(task: ThingTask, encoder: Encoder) -> tuple[Grid, ...]:
    """The grids that suit the things of a task; ContractError for one that is not fitted."""
    if not task.sizes:
        raise ContractError(
            f"the task {task.name} does not know the sizes of its things; take what its `fitted` "
            "makes of the training samples"
        )
    return grids_for(levels_under(encoder), task.sizes)


def shape_of(features: Features) -> Shape2d:
    """Rows and columns of the base grid under features."""
    if features.shape is not None:
        return features.shape
    rows, cols = features.seen.shape[-2:]
    return Shape2d(rows * features.stride, cols * features.stride)


@contextmanager
def in_mode(head: nn.Module, training: bool) -> Iterator[None]:
    """A head that is in training, or is not, and is afterwards what it was."""
    before = head.training
    head.train(training)
    try:
        yield
    finally:
        head.train(before)
