"""Many chips, as fitting sees them: a store on disk, a table in memory, or a simulated world."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from earthloom.sample.chip import Chip, LayerSpec


class Samples(Protocol):
    """Chips that are read one at a time, with what is known of them without reading pixels."""

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        """The layers that every chip has, by key."""
        ...

    @property
    def groups(self) -> Sequence[str]:
        """The group of each chip, see `Chip.group`."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Chip: ...


@dataclass(frozen=True)
class Subset:
    """Some of the chips of other samples."""

    samples: Samples
    indices: Sequence[int]

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return self.samples.specs

    @property
    def groups(self) -> Sequence[str]:
        groups = self.samples.groups  # once, since some samples make them anew each time
        return [groups[index] for index in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Chip:
        return self.samples[self.indices[index]]


@dataclass(frozen=True)
class Listed:
    """Chips in memory, all of the same layers."""

    chips: Sequence[Chip]

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {k: layer.spec for chip in self.chips[:1] for k, layer in chip.layers.items()}

    @property
    def groups(self) -> Sequence[str]:
        return [chip.group for chip in self.chips]

    def __len__(self) -> int:
        return len(self.chips)

    def __getitem__(self, index: int) -> Chip:
        return self.chips[index]


def chips_of(samples: Samples) -> Iterator[Chip]:
    """All chips, in order."""
    for index in range(len(samples)):
        yield samples[index]
