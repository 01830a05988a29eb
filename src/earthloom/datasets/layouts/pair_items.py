"""What all readers of images with masks, or with other images, have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from earthloom.datasets.imagery import Imagery, opened, place_of
from earthloom.datasets.layouts.mask_files import expect_same_place
from earthloom.datasets.layouts.mask_pairs import Pair
from earthloom.sample import Chip, Layer, LayerSpec, Place, Shape2d
from earthloom.sample.target import Target


@dataclass(frozen=True)
class PairItems(ABC):
    """Images, or pieces of them, each with files on its grid; a `Reader`."""

    imagery: Imagery
    pairs: tuple[Pair, ...]

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {self.imagery.spec.key: self.imagery.spec}

    @cached_property
    def groups(self) -> Sequence[str]:
        return [pair.group for pair in self.pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    @abstractmethod
    def chip(self, index: int) -> Chip:
        """The sample of a pair, with its label where it has one."""

    def target(self, index: int) -> Target | None:
        """The answer, where it is no label."""
        return None

    def file(self, index: int) -> Path | None:
        return self.pairs[index].image

    def seen_as(self, imagery: Imagery) -> Self:
        return replace(self, imagery=imagery)

    def read_image(self, pair: Pair) -> tuple[Layer, Place | None]:
        """The image of a pair, of whose files each must lie where it does."""
        with opened(pair.image) as source:
            whole, size = place_of(source), Shape2d(*source.shape)
            layer, place = self.imagery.from_open(source, f"the image {pair.image}", pair.part)
        for file in filter(None, pair.masks):
            expect_same_place(file, whole, size)
        return layer, place
