"""Answers in stores and batches: what is put in comes out, whoever reads it."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "sample"))
from answers import assert_same, targets

from earthloom.chips.loader import Loader, Loading
from earthloom.chips.sampling import Sampler, Shuffled
from earthloom.chips.store import ChipWriter, Storage, open_chips
from earthloom.errors import DataError
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d, Subset
from earthloom.sample.batch import collate
from earthloom.sample.room import collate_ragged
from earthloom.sample.target import (
    Boxes,
    Counts,
    Instances,
    PixelValues,
    SceneClasses,
    SceneValue,
)

SPEC = LayerSpec("optical", 10.0, ("red",), "1", ("1",), (660.0,))
SHAPE = Shape2d(4, 6)
CODES = np.array([2, 1], np.uint8)
RING = np.array([[0, 0], [3, 0], [1.5, 2.5]], np.float32)
KINDS = (
    SceneClasses((1, 3)),
    SceneValue(2.5, "t/ha"),
    PixelValues(np.arange(24, dtype=np.float32).reshape(SHAPE), "m"),
    None,
    Boxes.upright(np.array([[0, 0, 2, 2], [1, 1, 6, 4]], np.float32), CODES),
    Instances(CODES, ((RING,), (RING, RING + 1)), np.eye(4, 6, dtype=np.int32)),
    Instances(CODES, ids=np.eye(4, 6, dtype=np.int32)),
    Counts(CODES, np.array([4, 0.5], np.float32)),
    Instances(CODES[:0], ()),
)


def make_chip(number, target):
    pixels = np.full((1, 1, *SHAPE), number, np.float32)
    layer = Layer(SPEC, pixels, np.ones((1, *SHAPE), np.bool_), np.zeros(1, np.int32))
    return Chip(f"chip-{number}", SHAPE, {SPEC.key: layer}, group="block", target=target)


def write(folder, answers, storage, stop=None):
    writer = ChipWriter(folder, {SPEC.key: SPEC}, SHAPE, len(answers), {}, storage)
    for number, target in enumerate(answers[:stop]):
        writer.add(make_chip(number, target), "area")
    if stop is None:
        writer.finish()
        return open_chips(folder, verify=True)
    return None


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("compressed", [False, True])
@settings(max_examples=40)
@given(answers=st.lists(targets(*SHAPE), min_size=1, max_size=4))
def test_every_kind_comes_out_as_it_was(tmp_path_factory, compressed, answers):
    store = write(tmp_path_factory.mktemp("store"), answers, Storage(compressed=compressed))
    for number, target in enumerate(answers):
        assert_same(store[number].target, target)
        assert_same(store.targets[number], target)
    store.verify()


def test_a_store_without_answers_has_no_column_of_them(tmp_path):
    write(tmp_path / "none", [None, None], Storage())
    write(tmp_path / "some", [None, SceneClasses((1,))], Storage())
    columns = [np.load(tmp_path / name / "chips.npy").dtype.names for name in ("none", "some")]
    assert "target" not in columns[0]
    assert "target" in columns[1]
    store = open_chips(tmp_path / "none")
    assert list(store.targets) == [None, None]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_killed_writer_goes_on_to_the_same_bytes(tmp_path, compressed):
    storage = Storage(compressed=compressed, shard_bytes=300)
    write(tmp_path / "whole", KINDS, storage)
    for stop in range(1, len(KINDS)):
        folder = tmp_path / f"killed-{stop}"
        write(folder, KINDS, storage, stop)
        write(folder, KINDS, storage)
        assert bytes_of(folder) == bytes_of(tmp_path / "whole")


def test_a_damaged_answer_is_found(tmp_path):
    write(tmp_path, KINDS, Storage(shard_bytes=1))
    table = np.load(tmp_path / "chips.npy")
    at, size = table["target"][4]
    shard = tmp_path / "shard-00004.bin"
    data = bytearray(shard.read_bytes())
    data[at + size - 1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match=r"shard-00004\.bin is damaged"):
        open_chips(tmp_path, verify=True).targets[4]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write(tmp_path_factory.mktemp("store"), KINDS, Storage(shard_bytes=500))


@pytest.mark.parametrize(
    ("loading", "subset"),
    [
        (Loading(4), False),
        (Loading(4), True),
        (Loading(4, workers=1), False),
        (Loading(4, workers=3, prefetch=2), True),
        (Loading(4, workers=2, processes=True), True),
    ],
)
def test_batches_carry_answers_in_order_as_collate_does(store, loading, subset):
    rows = list(range(len(KINDS)))[::-1] if subset else list(range(len(KINDS)))
    samples = Subset(store, rows) if subset else store
    order = Sampler(Shuffled(np.arange(len(KINDS))), seed=3)
    loader = Loader(samples, order, loading)
    for epoch in range(2):
        drawn = Sampler(Shuffled(np.arange(len(KINDS))), seed=3).order(epoch)
        seen = 0
        for batch in loader:
            numbers = [rows[at] for at in drawn[seen : seen + len(batch.ids)]]
            wanted = collate([make_chip(number, KINDS[number]) for number in numbers])
            assert batch.ids == wanted.ids
            assert len(batch.targets) == len(wanted.targets)
            for one, other in zip(batch.targets, wanted.targets, strict=True):
                assert_same(one, other)
            assert batch.to(torch.device("cpu")).targets is batch.targets
            seen += len(batch.ids)
        assert seen == len(KINDS)
    loader.close()


def test_ragged_chips_carry_answers_too():
    chips = [make_chip(number, target) for number, target in enumerate(KINDS)]
    found = collate_ragged(chips, {SPEC.key: SPEC}).targets
    assert all(one is other for one, other in zip(found, KINDS, strict=True))
    assert collate_ragged(chips[3:4], {SPEC.key: SPEC}).targets == ()


def test_a_batch_without_answers_has_none(store):
    order = Sampler(Shuffled(np.arange(1)), seed=0)
    (batch,) = Loader(Subset(store, [3]), order, Loading(1))
    assert batch.targets == ()
