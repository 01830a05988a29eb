"""Windows spread over an area."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.maps.examples import example_windows
from earthloom.sample import Layer, LayerSpec, Shape2d

FINE = LayerSpec("s", 10, ("red",), "1", ("01",), (660.0,))
COARSE = LayerSpec("s", 20, ("swir",), "1", ("01",), (1610.0,), factor=2)


@dataclass(frozen=True)
class Plain:
    """Pixels that tell where they are; nothing is seen in the upper half."""

    shape: Shape2d

    @property
    def specs(self):
        return {spec.key: spec for spec in (FINE, COARSE)}

    def window(self, window):
        layers = {}
        for spec in (FINE, COARSE):
            at = window.coarser(spec.factor)
            rows = np.arange(at.row, at.row + at.shape.rows)
            valid = np.repeat(
                (rows * spec.factor >= self.shape.rows // 2)[:, None], at.shape.cols, 1
            )
            pixels = np.where(valid, rows[:, None], np.nan).astype(np.float32)
            layers[spec.key] = Layer(spec, pixels[None, None], valid[None], np.zeros(1, np.int32))
        return layers


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 90),
    cols=st.integers(1, 90),
    size=st.integers(1, 40),
    count=st.integers(1, 20),
)
def test_windows_are_seen_and_lie_on_every_layers_pixels(rows, cols, size, count):
    found = example_windows(Plain(Shape2d(rows, cols)), (FINE, COARSE), size, count)
    assert len(found) <= max(count, 1)
    assert len({batch.ids for batch in found}) == len(found)
    for batch in found:
        fine, coarse = batch.layers[FINE.key].valid, batch.layers[COARSE.key].valid
        assert fine.shape[-2:] == tuple(2 * side for side in coarse.shape[-2:])
        assert fine.any() or coarse.any()
        assert fine.shape[-1] <= max(size, 2)
    if count == 1 and rows <= size:
        assert len(found) == 1
