"""The chip store: what is put in comes out, whole, and a killed writer goes on."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.chips.store import ChipWriter, Packing, Storage, open_chips
from earthloom.errors import ContractError, DataError
from earthloom.sample import IGNORE, Chip, Layer, LayerSpec, Moments, Place, Shape2d

DATES = ("1", "2", "3")
FINE = LayerSpec("optical", 10.0, ("red", "nir"), "1", DATES, (660.0, 840.0))
COARSE = LayerSpec("radar", 20.0, ("vv",), "linear power", DATES, (None,), factor=2)
SPECS = {spec.key: spec for spec in (FINE, COARSE)}
SHAPE = Shape2d(6, 8)
TENTHS = Packing("int16", 0.1, -3.0)
REFLECTANCE = Packing("uint16", 0.0001, -0.1)


def make_layer(spec, times, random, seen=0.7, step=None):
    rows, cols = SHAPE.rows // spec.factor, SHAPE.cols // spec.factor
    valid = random.random((times, rows, cols)) < seen
    shape = (times, len(spec.bands), rows, cols)
    pixels = random.normal(size=shape).astype(np.float32)
    if step is not None:
        whole = random.integers(0, 10000, shape)
        pixels = (whole.astype(np.float32) * np.float32(step.scale)) + np.float32(step.offset)
    pixels[~np.broadcast_to(valid[:, None], shape)] = np.nan
    days = random.integers(-1000, 20000, times).astype(np.int32)
    dates = spec.dates if times == len(spec.dates) else spec.dates[:times]
    return Layer(replace(spec, dates=dates), pixels, valid, days)


def make_chip(number, storage=None, seen=0.7, weighted=True):
    """Every third lacks the radar; dates, labels, weights and places are ragged."""
    random = np.random.default_rng(number)
    layers = {}
    for spec in SPECS.values():
        if spec is COARSE and number % 3 == 0:
            continue
        step = None if storage is None else storage.packing.get(spec.key)
        layers[spec.key] = make_layer(spec, 1 + (number + spec.factor) % 3, random, seen, step)
    label = random.choice(np.array([0, 1, 2, 3, IGNORE], np.uint8), SHAPE)
    weight = random.random(SHAPE, np.float32) * (label > 0)
    return Chip(
        id=f"chip-{number}-é",
        shape=SHAPE,
        layers=layers,
        label=None if number % 5 == 4 else label,
        group=f"block-{number // 2}",
        place=None
        if number % 4 == 3
        else Place("EPSG:32632", (10.0, 0.0, 80.0 * number, 0.0, -10.0, 0.0), SHAPE),
        weight=weight if weighted and number % 5 in (1, 2) else None,
    )


def write(folder, count=7, storage=None, stop=None, chips=None, moments=None):
    chips = chips or [make_chip(number, storage) for number in range(count)]
    writer = ChipWriter(folder, SPECS, SHAPE, len(chips), moments or {}, storage)
    for number, chip in enumerate(chips):
        if number == stop:
            return writer
        writer.add(chip, f"area-{number % 2}")
    writer.finish()
    return open_chips(folder)


def assert_same(found, wanted, exact=True):
    assert found.id == wanted.id
    assert (found.shape, found.group, found.place) == (wanted.shape, wanted.group, wanted.place)
    assert found.layers.keys() == wanted.layers.keys()
    for key, layer in wanted.layers.items():
        assert found.layers[key].spec == layer.spec
        np.testing.assert_array_equal(found.layers[key].valid, layer.valid)
        np.testing.assert_array_equal(found.layers[key].days, layer.days)
        compare = np.testing.assert_array_equal if exact else np.testing.assert_allclose
        compare(found.layers[key].pixels, layer.pixels)
    for what in ("label", "weight"):
        plane, expected = getattr(found, what), getattr(wanted, what)
        if expected is None:
            assert plane is None
        else:
            assert plane.dtype == expected.dtype
            np.testing.assert_array_equal(plane, expected)


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("compressed", [False, True])
@settings(deadline=None, max_examples=25)
@given(
    count=st.integers(1, 9),
    shard_bytes=st.sampled_from([1, 700, 10**6]),
    packed=st.sampled_from(["float32", "uint16"]),
)
def test_what_is_put_in_comes_out(tmp_path_factory, compressed, count, shard_bytes, packed):
    packing = {FINE.key: REFLECTANCE} if packed == "uint16" else {}
    storage = Storage(packing, compressed, shard_bytes)
    store = write(tmp_path_factory.mktemp("store"), count, storage)
    assert len(store) == count
    assert store.specs == SPECS
    for number in range(count):
        assert_same(store[number], make_chip(number, storage))
    store.verify()


@pytest.mark.parametrize("compressed", [False, True])
def test_chips_without_weights_cost_nothing(tmp_path, compressed):
    storage = Storage(compressed=compressed)
    plain = [make_chip(number, weighted=False) for number in (0, 1, 3, 5)]
    write(tmp_path / "plain", storage=storage, chips=plain)
    table = np.load(tmp_path / "plain" / "chips.npy")
    assert table.dtype.names == (
        "id", "group", "area", "crs", "transform", "shard", "label", "layer_0", "layer_1",
    )  # fmt: skip
    mixed = [make_chip(number) for number in (0, 1, 3, 5)]
    assert [chip.weight is None for chip in mixed] == [True, False, True, True]
    write(tmp_path / "mixed", storage=storage, chips=mixed)
    with_one = np.load(tmp_path / "mixed" / "chips.npy")
    assert with_one["weight"][:, 0].tolist() == [-1, with_one["weight"][1, 0], -1, -1]
    one, other = ((tmp_path / name / "shard-00000.bin").read_bytes() for name in ("plain", "mixed"))
    # The chips before the one with weights, and that one but for its weights, are the same bytes.
    assert other.startswith(one[: with_one["weight"][1, 0]])


def test_masks_of_all_and_of_nothing(tmp_path):
    chips = [make_chip(1, seen=2.0), make_chip(2, seen=-1.0)]
    store = write(tmp_path, chips=chips)
    for number, chip in enumerate(chips):
        assert_same(store[number], chip)


def test_half_precision_is_near(tmp_path):
    storage = Storage({FINE.key: Packing("float16"), COARSE.key: TENTHS})
    store = write(tmp_path, 3, storage)
    for number in range(3):
        wanted, found = make_chip(number, storage), store[number]
        pair = [chip.layers[FINE.key].pixels for chip in (found, wanted)]
        np.testing.assert_allclose(*pair, rtol=1e-3, atol=1e-3)


def test_same_seed_same_bytes_and_resumed_as_uninterrupted(tmp_path):
    storage = Storage(shard_bytes=900, compressed=True)
    write(tmp_path / "whole", 8, storage)
    for stop in range(8):
        folder = tmp_path / f"killed-{stop}"
        write(folder, 8, storage, stop=stop)
        assert not (folder / "store.json").exists()
        with pytest.raises(DataError, match="holds no chips"):
            open_chips(folder)
        again = ChipWriter(folder, SPECS, SHAPE, 8, {}, storage)
        # Shards here hold one chip or two, of which the last may be lost.
        assert stop - 2 <= again.done <= stop
        first = again.skip_done()
        for number in range(first, 8):
            again.add(make_chip(number, storage), f"area-{number % 2}")
        again.finish()
        assert bytes_of(folder) == bytes_of(tmp_path / "whole")


def test_going_on_with_all_chips_given_again(tmp_path):
    storage = Storage(shard_bytes=900)
    write(tmp_path / "killed", 6, storage, stop=4)
    write(tmp_path / "killed", 6, storage)
    write(tmp_path / "whole", 6, storage)
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


def test_going_on_with_other_chips_is_refused(tmp_path):
    storage = Storage(shard_bytes=1)
    write(tmp_path, 4, storage, stop=2)
    writer = ChipWriter(tmp_path, SPECS, SHAPE, 4, {}, storage)
    with pytest.raises(ContractError, match="chip-0-é, not chip-3-é"):
        writer.add(make_chip(3), "area")


def test_other_settings_begin_anew(tmp_path):
    write(tmp_path, 4, Storage(shard_bytes=1), stop=3)
    store = write(tmp_path, 2, Storage(shard_bytes=1, compressed=True))
    assert len(store) == 2
    assert [path.name for path in sorted(tmp_path.glob("shard*"))] == [
        "shard-00000.bin",
        "shard-00001.bin",
    ]


def test_a_torn_shard_is_written_again(tmp_path):
    storage = Storage(shard_bytes=1)
    write(tmp_path / "whole", 4, storage)
    write(tmp_path / "torn", 4, storage, stop=3)
    shard = tmp_path / "torn" / "shard-00001.bin"
    shard.write_bytes(shard.read_bytes()[:-5])
    assert ChipWriter(tmp_path / "torn", SPECS, SHAPE, 4, {}, storage).done == 1
    write(tmp_path / "torn", 4, storage)
    assert bytes_of(tmp_path / "torn") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["torn", "flipped", "gone"])
def test_damage_is_found(tmp_path, damage):
    write(tmp_path, 4, Storage(shard_bytes=1))
    shard = tmp_path / "shard-00002.bin"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "gone":
        shard.unlink()
    else:
        shard.write_bytes(data if damage == "flipped" else data[:-1])
    store = open_chips(tmp_path, verify=True)
    assert_same(store[1], make_chip(1))
    with pytest.raises(DataError, match=r"shard-00002\.bin is (torn|damaged)"):
        store[2]
    if damage != "gone":
        with pytest.raises(DataError, match=r"shard-00002\.bin is damaged"):
            open_chips(tmp_path).verify()


def test_a_damaged_table_is_found(tmp_path):
    write(tmp_path, 4)
    table = tmp_path / "chips.npy"
    data = bytearray(table.read_bytes())
    data[-3] ^= 1
    table.write_bytes(data)
    with pytest.raises(DataError, match=r"chips\.npy is damaged"):
        open_chips(tmp_path, verify=True)


def test_a_store_of_another_format_says_so(tmp_path):
    (tmp_path / "store.json").write_text(json.dumps({"layers": []}))
    with pytest.raises(DataError, match="are of format 1, this version reads format 2"):
        open_chips(tmp_path)


def test_columns_are_sequences(tmp_path):
    moments = Moments(np.zeros(9, np.float32), np.eye(9, dtype=np.float32))
    store = write(tmp_path, 5, moments={"area-1": moments})
    assert list(store.ids) == [f"chip-{number}-é" for number in range(5)]
    assert store.ids[-1] == "chip-4-é"
    assert list(store.groups[1:4]) == ["block-0", "block-1", "block-1"]
    assert store.places[3] is None
    assert [each is None for each in store.moments] == [True, False, True, False, True]
    with pytest.raises(IndexError):
        store.ids[5]


def test_a_copy_in_another_process_opens_the_files_anew(tmp_path):
    store = write(tmp_path, 2)
    assert_same(store[1], make_chip(1))
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    assert_same(pickle.loads(sent)[1], make_chip(1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": Shape2d(8, 8)}, "has the shape"),
        ({"layers": {"thermal_10m": make_layer(FINE, 3, np.random.default_rng(0))}}, "has layer"),
        (
            {
                "layers": {
                    FINE.key: make_layer(replace(FINE, unit="dB"), 3, np.random.default_rng(0))
                }
            },
            "the store has LayerSpec",
        ),
    ],
)
def test_chips_that_do_not_fit(tmp_path, change, words):
    writer = ChipWriter(tmp_path, SPECS, SHAPE, 1, {})
    with pytest.raises(ContractError, match=words):
        writer.add(replace(make_chip(0), **change), "area")


def test_too_few_chips(tmp_path):
    writer = ChipWriter(tmp_path, SPECS, SHAPE, 3, {})
    writer.add(make_chip(0), "area")
    with pytest.raises(ContractError, match="1 chips were added to a store of 3"):
        writer.finish()


def test_a_packing_that_loses_digits_is_refused(tmp_path):
    writer = ChipWriter(tmp_path, SPECS, SHAPE, 1, {}, Storage({FINE.key: REFLECTANCE}))
    with pytest.raises(DataError, match=r"layer optical_10m: pixels lie up to 0\.\d+ steps off"):
        writer.add(make_chip(0), "area")


def test_a_packing_for_an_unknown_layer(tmp_path):
    with pytest.raises(ContractError, match="a packing is given for layer thermal"):
        ChipWriter(tmp_path, SPECS, SHAPE, 1, {}, Storage({"thermal": TENTHS}))
