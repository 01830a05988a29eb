"""What a model needs of its chips, and whether that is what comes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from earthloom.errors import ContractError, choices
from earthloom.sample.batch import Batch
from earthloom.sample.chip import LayerSpec
from earthloom.sample.place import Shape2d


@dataclass(frozen=True)
class Needs:
    """Bands, units, dates and sizes that a model states; anything else is an error."""

    layers: tuple[LayerSpec, ...]
    multiple: int = 1
    """Rows and columns of a chip's base grid are multiples of this."""
    least: int = 1
    """Fewest rows and columns."""
    most: int | None = None
    """Most rows and columns; None for any."""

    def bands_in(self, given: Mapping[str, LayerSpec]) -> dict[str, tuple[int, ...] | None]:
        """Where the needed bands lie in each layer on offer; None where all are as needed.

        More bands than needed, or bands in another order, are no error: they are chosen by name.
        ContractError for a missing layer or band, another unit, sensor, scale or number of dates.
        """
        found: dict[str, tuple[int, ...] | None] = {}
        for wanted in self.layers:
            if wanted.key not in given:
                raise ContractError(
                    f"the model expects layer {wanted.key}; on offer are: {choices(given)}"
                )
            found[wanted.key] = _bands(wanted, given[wanted.key])
        return found

    def check_shape(self, shape: Shape2d) -> None:
        """ContractError if chips of this base grid are too small, too large or uneven."""
        multiple = max(self.multiple, *(layer.factor for layer in self.layers))
        if any(side % multiple for side in shape):
            raise ContractError(
                f"the model expects chips whose rows and columns are multiples of {multiple}, "
                f"but got {shape.rows} x {shape.cols}"
            )
        most = self.most if self.most is not None else max(shape)
        if min(shape) < self.least or max(shape) > most:
            limits = f"{self.least} to {self.most}" if self.most else f"at least {self.least}"
            raise ContractError(
                f"the model expects chips of {limits} rows and columns, "
                f"but got {shape.rows} x {shape.cols}"
            )

    def check_batch(self, batch: Batch) -> None:
        """ContractError unless every layer has the dates, bands, size and types that are needed."""
        shapes = set()
        for wanted in self.layers:
            if wanted.key not in batch.layers:
                raise ContractError(
                    f"the model expects layer {wanted.key}; the batch has: {choices(batch.layers)}"
                )
            layer = batch.layers[wanted.key]
            came = tuple(layer.pixels.shape[1:3])
            expected = (len(wanted.dates), len(wanted.bands))
            if came != expected:
                raise ContractError(
                    f"the model expects {expected[0]} dates and {expected[1]} bands in layer "
                    f"{wanted.key}, but got {came[0]} and {came[1]}"
                )
            for what, tensor, dtype in (
                ("pixels", layer.pixels, torch.float32),
                ("valid", layer.valid, torch.bool),
            ):
                if tensor.dtype != dtype:
                    raise ContractError(
                        f"the model expects {what} of {dtype} in layer {wanted.key}, "
                        f"but got {tensor.dtype}"
                    )
            rows, cols = layer.valid.shape[-2:]
            shapes.add(Shape2d(rows * wanted.factor, cols * wanted.factor))
        if len(shapes) > 1:
            listed = choices(f"{rows} x {cols}" for rows, cols in sorted(shapes))
            raise ContractError(f"the layers of a batch lie on different base grids: {listed}")
        for shape in shapes:
            self.check_shape(shape)


def _bands(wanted: LayerSpec, given: LayerSpec) -> tuple[int, ...] | None:
    for what in ("sensor", "gsd", "unit", "factor"):
        expected, came = getattr(wanted, what), getattr(given, what)
        if expected != came:
            raise ContractError(
                f"the model expects {what} = {expected} in layer {wanted.key}, but got {came}"
            )
    if len(wanted.dates) != len(given.dates):
        raise ContractError(
            f"the model expects {len(wanted.dates)} dates ({choices(wanted.dates)}) in layer "
            f"{wanted.key}, but got {len(given.dates)} ({choices(given.dates)})"
        )
    missing = [name for name in wanted.bands if name not in given.bands]
    if missing:
        raise ContractError(
            f"the model expects the bands {choices(wanted.bands)} in layer {wanted.key}; "
            f"{choices(missing)} did not come, on offer are: {choices(given.bands)}"
        )
    chosen = tuple(given.bands.index(name) for name in wanted.bands)
    return None if chosen == tuple(range(len(given.bands))) else chosen
