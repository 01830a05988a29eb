"""How windows lie over a grid, and how they are dealt out into parts."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.errors import ContractError
from earthloom.maps.tiling import PART, Tiling, blocks_of, layout_of, tiling_for
from earthloom.sample import LayerSpec, Shape2d

FINE = LayerSpec("optical", 10, ("red",), "1", ("1",), (660.0,))
COARSE = LayerSpec("optical", 20, ("swir",), "1", ("1",), (1610.0,), factor=2)


@dataclass(frozen=True)
class Model:
    """How far a model looks."""

    radius: int
    alignment: int = 1
    is_local: bool = True
    layers: tuple[LayerSpec, ...] = (FINE, COARSE)


@st.composite
def tilings(draw):
    """Windows as `tiling_for` makes them: in whole steps, with room for their margins."""
    multiple = draw(st.integers(1, 3))
    step = multiple * draw(st.integers(1, 3))
    size = step * draw(st.integers(1, 9))
    stride = step * draw(st.integers(1, size // step))
    margin = draw(st.integers(0, (size - stride) // 2))
    return Tiling(size, stride, margin, multiple, step)


lengths = st.integers(1, 150)


@settings(deadline=None, max_examples=200)
@given(lengths, tilings())
def test_windows_lie_as_they_should(length, tiling):
    axis = tiling.axis(length)
    assert axis.starts[0] == 0
    assert length <= axis.extent < length + tiling.multiple
    assert axis.extent % tiling.multiple == 0
    assert all(start % tiling.step == 0 for start in axis.starts)
    sizes = np.subtract(axis.ends, axis.starts)
    assert (sizes[:-1] == tiling.size).all()
    assert min(tiling.size - tiling.step, axis.extent - 1) < sizes[-1] <= tiling.size
    for (a, b), end in zip(pairwise(axis.starts), axis.ends, strict=False):
        assert 0 < b - a <= tiling.stride
        assert end - b >= 2 * tiling.margin
    # None is for nothing: the last but one does not reach the end.
    assert len(axis.ends) == 1 or axis.ends[-2] < axis.extent


@settings(deadline=None, max_examples=200)
@given(lengths, tilings(), st.integers(1, 80))
def test_blocks_share_pixels_with_their_neighbours_alone(length, tiling, part):
    axis = tiling.axis(length)
    blocks = blocks_of(axis, tiling, part)
    windows = [n for block in blocks for n in range(block.first, block.last)]
    assert windows == list(range(len(axis.starts)))
    owned = [n for block in blocks for n in range(block.start, block.after)]
    assert owned == list(range(axis.extent))
    reach = np.zeros((len(blocks), axis.extent), np.bool_)
    for block in blocks:
        assert block.start <= block.before <= block.after <= block.end
        for n in range(block.first, block.last):
            reach[block.number, axis.starts[n] : axis.ends[n]] = True
    for block in blocks:
        others = np.delete(reach, block.number, axis=0).sum(axis=0)
        assert (others[block.before : block.after] == 0).all()
        assert (others[block.start : block.before] == 1).all()
        assert (others[block.after : block.end] == 1).all()


def test_parts_are_about_as_large_as_they_should_be():
    layout = layout_of(Shape2d(10980, 10980), Tiling(256, 224))
    sides = [block.after - block.start for block in layout.row_blocks]
    assert max(sides) < 1.3 * PART
    assert min(sides) > 0.7 * PART
    names = [part.name for part in layout.parts()]
    assert len(set(names)) == len(names) == len(sides) ** 2
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("model", "window", "overlap", "wanted"),
    [
        (Model(0), 64, 0.25, (64, 64)),
        (Model(1), 64, 0.25, (64, 48)),
        (Model(3), 65, 0.5, (64, 32)),
        (Model(3), 1, 0.0, (2, 2)),
        (Model(3), 4, 0.75, (4, 2)),
        (Model(9, alignment=8), 68, 0.25, (64, 48)),
        (Model(9, alignment=3), 68, 0.25, (66, 48)),
    ],
)
def test_tiling_suits_the_model(model, window, overlap, wanted):
    tiling = tiling_for(model, window, overlap)
    assert (tiling.size, tiling.stride) == wanted
    assert tiling.margin == 0
    assert tiling.multiple == 2
    assert tiling.step % model.alignment == 0


@settings(deadline=None)
@given(st.integers(0, 60), st.sampled_from([1, 2, 8, 16]), st.integers(1, 300))
def test_windows_of_an_exact_map_overlap_by_both_margins(radius, alignment, window):
    tiling = tiling_for(Model(radius, alignment), window, 0.1, exact=True)
    assert tiling.margin == radius
    assert tiling.size - tiling.stride >= 2 * radius
    assert tiling.stride > 0
    assert tiling.stride % alignment == tiling.size % alignment == 0


def test_a_model_that_looks_everywhere_cannot_be_exact():
    with pytest.raises(ContractError, match=r"map\.exact.*norm: batch"):
        tiling_for(Model(3, is_local=False), 64, 0.25, exact=True)
    assert tiling_for(Model(3, is_local=False), 64, 0.25).margin == 0
