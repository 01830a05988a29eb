"""Chips to packed shards, so that a machine with many cores makes them once."""

from __future__ import annotations

from pathlib import Path

from earthloom.chips.store import ChipWriter, Packing, Storage
from earthloom.errors import ContractError
from earthloom.sample import LayerSpec, Samples

_HALF = ("1", "linear power")
"""Units whose values lie in what half precision holds; simulated noise is coarser than it."""


def write_chips(samples: Samples, folder: Path, first: int, count: int) -> None:
    """Writes chips `first` to `first + count` to a store; goes on where a killed run stopped.

    ContractError where there are fewer chips.
    """
    if first < 0 or count < 1 or first + count > len(samples):
        raise ContractError(
            f"chips {first} to {first + count} are asked for; valid are 0 to {len(samples)}"
        )
    packing = {key: _packing(spec) for key, spec in samples.specs.items()}
    storage = Storage(packing)
    writer = ChipWriter(folder, samples.specs, samples[first].shape, count, {}, storage)
    for index in range(first + writer.skip_done(), first + count):
        writer.add(samples[index], "simulated")
    writer.finish()


def _packing(spec: LayerSpec) -> Packing:
    return Packing("float16") if spec.unit in _HALF else Packing()
