"""Where the chips of a pretraining come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from earthloom.chips.sampling import Cycled, Rule
from earthloom.chips.store import open_chips
from earthloom.errors import ContractError, DataError
from earthloom.pretrain.series import SimulatedSeries
from earthloom.pretrain.simulated import Simulated
from earthloom.sample import Chip, LayerSpec, Samples, Shape2d


class Source(Protocol):
    """Settings that chips can be opened with; a frozen dataclass."""

    name: ClassVar[str]

    @property
    def weight(self) -> float:
        """How often a batch comes from here, against other sources."""
        ...

    @property
    def times(self) -> int:
        """Batches of the settings' size that come as one: more for smaller chips."""
        ...

    @property
    def labels(self) -> bool:
        """Whether the chips' labels may teach; where not, nothing ever sees them."""
        ...

    @property
    def about(self) -> str:
        """What its chips are, for the card."""
        ...

    @property
    def limits(self) -> tuple[str, ...]:
        """What weights that learnt from it cannot do, for the card."""
        ...

    def open(self) -> Samples:
        """The chips; all have the same layers and shape."""
        ...

    def rule(self, samples: Samples, count: int) -> Rule:
        """In which order `count` of them are drawn."""
        ...


@dataclass(frozen=True)
class Stored:
    """Packed shards, in one store or in several with the same layers; a `Source`."""

    name: ClassVar[str] = "store"
    folders: tuple[Path, ...]
    """Of `earthloom chips`, of a dataset, or of `python -m earthloom.pretrain chips`."""
    what: str = ""
    """What the chips are, for the card."""
    labels: bool = False
    """Whether the chips' labels are a land-cover product with the codes of all other sources, and
    no answers of a task."""
    times: int = 1
    """Batches of the settings' size that come as one."""
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ContractError(f"times is {self.times}; valid are 1 and above")

    @property
    def about(self) -> str:
        return f"{self.what or 'stored chips'}, {'with' if self.labels else 'without'} labels"

    @property
    def limits(self) -> tuple[str, ...]:
        return ()

    def open(self) -> Samples:
        if not self.folders:
            raise ContractError("folders of a store are (none); valid is one or more")
        stores = [open_chips(folder) for folder in self.folders]
        if not all(len(store) for store in stores):
            raise DataError(f"a store among {[str(f) for f in self.folders]} holds no chip")
        return stores[0] if len(stores) == 1 else Joined(stores)

    def rule(self, samples: Samples, count: int) -> Rule:
        """All once, then all again, each time in another order."""
        return Cycled(np.arange(len(samples)), count)


class Joined:
    """Several samples of the same layers, one after the other; fulfils `Samples`."""

    def __init__(self, parts: Sequence[Samples]) -> None:
        first = parts[0]
        for part in parts[1:]:
            if dict(part.specs) != dict(first.specs) or part[0].shape != first[0].shape:
                raise ContractError(
                    f"stores that are read as one have the layers {sorted(first.specs)} and "
                    f"{sorted(part.specs)}; valid are the same layers, dates and shape"
                )
        self.parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    @cached_property
    def shape(self) -> Shape2d:
        """Of every chip."""
        return self.parts[0][0].shape

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return self.parts[0].specs

    @cached_property
    def groups(self) -> Sequence[str]:
        return [group for part in self.parts for group in part.groups]

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Chip:
        number = int(np.searchsorted(self._ends, index, "right"))
        return self.parts[number][index - (int(self._ends[number - 1]) if number else 0)]


SOURCES: Mapping[str, type[Source]] = {
    each.name: each for each in (Simulated, SimulatedSeries, Stored)
}
"""By the name that a configuration asks for them with."""
