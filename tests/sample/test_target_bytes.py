"""Answers as bytes: what is put in comes out, and what is damaged says so."""

import typing

import numpy as np
import pytest
from answers import assert_same, targets
from hypothesis import given
from hypothesis import strategies as st

from earthloom.errors import DataError
from earthloom.sample import target_bytes
from earthloom.sample.packing import compress, decompress
from earthloom.sample.target import Boxes, SceneClasses, SceneValue, Target
from earthloom.sample.target_bytes import target_from_bytes, target_to_bytes

ROWS, COLS = 4, 6


def as_it_is(block, shape, dtype):
    return block.view(dtype).reshape(shape)


PACKINGS = {"plain": (lambda array: array.tobytes(), as_it_is), "packed": (compress, decompress)}


@pytest.mark.parametrize("packing", PACKINGS)
@given(target=targets(ROWS, COLS).filter(lambda target: target is not None))
def test_what_is_put_in_comes_out(packing, target):
    pack, unpack = PACKINGS[packing]
    data = target_to_bytes(target, pack)
    assert data == target_to_bytes(target, pack)
    assert_same(target_from_bytes(np.frombuffer(data, np.uint8), unpack), target)


@given(
    target=targets(ROWS, COLS).filter(lambda target: target is not None),
    at=st.floats(0, 1, exclude_max=True),
    flip=st.integers(1, 255),
    cut=st.booleans(),
)
def test_damage_is_an_error_of_one_kind_or_other_numbers(target, at, flip, cut):
    data = bytearray(target_to_bytes(target, PACKINGS["plain"][0]))
    where = int(at * len(data))
    data[where] ^= flip
    block = np.frombuffer(bytes(data[:where] if cut else data), np.uint8)
    words = ""
    try:
        found = target_from_bytes(block, as_it_is)
    except DataError as error:
        found, words = None, str(error)
    assert isinstance(found, Target) or "a stored answer is damaged" in words


def test_objects_are_never_read():
    data = target_to_bytes(SceneClasses((1,)), PACKINGS["plain"][0]).replace(b'"<i8"', b'"|O8"')
    with pytest.raises(DataError, match=r"dtype '\|O8', valid are"):
        target_from_bytes(np.frombuffer(data, np.uint8), as_it_is)


def test_every_kind_has_a_name():
    kinds = {kind.type for kind in target_bytes._KINDS.values()}
    assert kinds == set(typing.get_args(Target))


def test_numbers_that_json_has_no_word_for():
    for value in (float("nan"), float("inf"), 0.1):
        data = target_to_bytes(SceneValue(value, "t/ha"), PACKINGS["plain"][0])
        found = target_from_bytes(np.frombuffer(data, np.uint8), as_it_is)
        np.testing.assert_equal(found.value, value)


def test_what_comes_out_can_be_written_to():
    boxes = Boxes(np.zeros((1, 4, 2), np.float32), np.ones(1, np.uint8))
    data = np.frombuffer(target_to_bytes(boxes, PACKINGS["plain"][0]), np.uint8)
    found = target_from_bytes(data, as_it_is)
    found.corners[0] = 7
    assert target_from_bytes(data, as_it_is).corners.max() == 0
