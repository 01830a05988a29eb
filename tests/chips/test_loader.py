"""The loader: the same chips in the same order, whoever reads them, and after a stop."""

import gc
import json
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from earthloom.chips.loader import Loader, Loading
from earthloom.chips.store import ChipWriter, Packing, Storage, open_chips
from earthloom.errors import ContractError, DataError
from earthloom.sample import IGNORE, Chip, Layer, LayerSpec, Place, Shape2d, Subset
from earthloom.sample.needs import Needs
from earthloom.sample.room import collate_ragged

DATES = ("1", "2", "3")
FINE = LayerSpec("optical", 10.0, ("green", "red", "nir"), "1", DATES, (560.0, 660.0, 840.0))
COARSE = LayerSpec("radar", 20.0, ("vv",), "linear power", DATES, (None,), factor=2)
SPECS = {spec.key: spec for spec in (FINE, COARSE)}
SHAPE = Shape2d(8, 8)
COUNT = 23
WEIGHTED = (1, 5, 6, 13)
"""Chips whose label has weights; too few for every batch to have one."""


@dataclass(frozen=True)
class Shuffle:
    """All chips, in another order each epoch."""

    seed: int = 0
    count: int = COUNT

    def order(self, epoch):
        return np.random.default_rng([self.seed, epoch]).permutation(self.count)


def make_chip(number):
    random = np.random.default_rng(number)
    layers = {}
    for spec in SPECS.values():
        if spec is COARSE and number % 3 == 0:
            continue
        times = 1 + (number + spec.factor) % 3
        side = 8 // spec.factor
        valid = random.random((times, side, side)) < 0.7
        steps = random.integers(0, 9999, (times, len(spec.bands), side, side))
        pixels = steps.astype(np.float32) * np.float32(0.0001)
        pixels[~np.broadcast_to(valid[:, None], pixels.shape)] = np.nan
        days = random.integers(1, 20000, times).astype(np.int32)
        layers[spec.key] = Layer(replace(spec, dates=spec.dates[:times]), pixels, valid, days)
    label = random.choice(np.array([0, 1, 2, 3, IGNORE], np.uint8), SHAPE)
    place = Place("EPSG:32632", (10.0, 0.0, 80.0 * number, 0.0, -10.0, 0.0), SHAPE)
    weight = random.random(SHAPE, np.float32) if number in WEIGHTED else None
    return Chip(f"chip-{number}", SHAPE, layers, label, "block", place, weight=weight)


@pytest.fixture(scope="module", params=["plain", "packed"])
def store(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    storage = Storage(shard_bytes=3000)
    if request.param == "packed":
        storage = replace(storage, compressed=True, packing={FINE.key: Packing("uint16", 0.0001)})
    writer = ChipWriter(folder, SPECS, SHAPE, COUNT, {}, storage)
    for number in range(COUNT):
        writer.add(make_chip(number), "area")
    writer.finish()
    return open_chips(folder)


def copies(batches):
    """Batches that stay what they are, as plain arrays."""
    return [
        (
            batch.ids,
            batch.places,
            (batch.label.clone(), None if batch.weight is None else batch.weight.clone()),
            {
                (key, name): getattr(layer, name).clone()
                for key, layer in batch.layers.items()
                for name in ("pixels", "valid", "days", "dated")
            },
        )
        for batch in batches
    ]


def assert_same(found, wanted):
    assert [each[:2] for each in found] == [each[:2] for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one[2][0], other[2][0])
        assert (one[2][1] is None) == (other[2][1] is None)
        if one[2][1] is not None:
            assert torch.equal(one[2][1], other[2][1])
        torch.testing.assert_close(one[3], other[3], rtol=0, atol=0, equal_nan=True)


def test_batches_are_what_collate_makes(store):
    loader = Loader(store, Shuffle(), Loading(5))
    order = Shuffle().order(0)
    assert len(loader) == 5
    for number, batch in enumerate(loader):
        chips = [make_chip(int(row)) for row in order[5 * number : 5 * number + 5]]
        assert_same(copies([batch]), copies([collate_ragged(chips, SPECS)]))
        assert batch.ids == tuple(chip.id for chip in chips)


def test_missing_sensors_and_dates_are_marked(store):
    for batch in Loader(store, Shuffle(), Loading(4)):
        for at, name in enumerate(batch.ids):
            chip = make_chip(int(name.split("-")[1]))
            for key, layer in batch.layers.items():
                there = chip.layers.get(key)
                assert bool(layer.present[at]) == (there is not None)
                times = 0 if there is None else len(there.days)
                assert layer.dated[at].tolist() == [True] * times + [False] * (3 - times)
                assert not layer.valid[at, times:].any()
                assert torch.isnan(layer.pixels[at, times:]).all()
                assert torch.isnan(layer.pixels[at]).any(1).equal(~layer.valid[at])


@pytest.mark.parametrize("subset", [False, True])
def test_weights_come_with_the_labels_that_have_them(store, subset):
    """Also in memory where the weights of an earlier batch lie."""
    rows = np.arange(COUNT)[::-1] if subset else np.arange(COUNT)
    loader = Loader(Subset(store, rows.tolist()) if subset else store, Shuffle(), Loading(3))
    seen = []
    for _epoch in range(3):
        for batch in loader:
            numbers = [int(name.split("-")[1]) for name in batch.ids]
            seen.append(batch.weight is not None)
            assert seen[-1] == any(number in WEIGHTED for number in numbers)
            for at, number in enumerate(numbers if seen[-1] else []):
                wanted = make_chip(number).weight if number in WEIGHTED else np.ones(SHAPE)
                np.testing.assert_array_equal(batch.weight[at], wanted)
    assert set(seen) == {True, False}
    assert loader._rooms.made <= 2


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_any_number_of_threads_gives_the_same(store, workers, prefetch):
    alone = Loader(store, Shuffle(), Loading(4))
    many = Loader(store, Shuffle(), Loading(4, workers=workers, prefetch=prefetch))
    for _epoch in range(2):
        assert_same(copies(many), copies(alone))
    many.close()


@pytest.mark.parametrize("store", ["packed"], indirect=True)
def test_processes_give_the_same(store):
    alone = Loader(store, Shuffle(), Loading(4))
    many = Loader(store, Shuffle(), Loading(4, workers=2, processes=True))
    for _epoch in range(2):
        assert_same(copies(many), copies(alone))
    many.close()


@dataclass(frozen=True)
class Broken:
    """Samples of which one cannot be read."""

    specs = SPECS
    groups = ("block",) * COUNT
    shape = SHAPE

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        if index == 7:
            raise DataError("chip 7 is torn")
        return make_chip(index)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_what_goes_wrong_in_a_worker_is_told(workers):
    loader = Loader(Broken(), Shuffle(), Loading(4, workers=workers))
    with pytest.raises(DataError, match="chip 7 is torn"):
        list(loader)
    loader.close()


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("even", [True, False])
def test_any_number_of_ranks_shares_the_same_chips(store, world, even):
    order = Shuffle().order(0)
    loaders = [
        Loader(store, Shuffle(), Loading(2, ranks=(rank, world), even=even))
        for rank in range(world)
    ]
    steps = [[batch.ids for batch in loader] for loader in loaders]
    drawn = [name for rank in steps for batch in rank for name in batch]
    kept = len(order) // world * world if even else len(order)
    assert sorted(drawn) == sorted(f"chip-{row}" for row in order[:kept])
    assert [len(rank) for rank in steps] == [
        -(-len(order[:kept][rank::world]) // 2) for rank in range(world)
    ]
    for step in range(min(map(len, steps)) - 1):
        together = {name for rank in steps for name in rank[step]}
        block = order[step * 2 * world : (step + 1) * 2 * world]
        assert together == {f"chip-{row}" for row in block}


@pytest.mark.parametrize("stop", range(1, 7))
def test_a_restart_goes_on_exactly(store, stop):
    """Other workers and another world after the restart change nothing."""
    whole = Loader(store, Shuffle(), Loading(4, workers=1))
    expected = copies(whole) + copies(whole)
    stopped = Loader(store, Shuffle(), Loading(4, workers=2, prefetch=3))
    for _ in range(stop // 6):
        list(stopped)
    for number, _batch in enumerate(stopped):
        if number == stop % 6:
            break
    state = stopped.state_dict()
    stopped.close()
    again = Loader(store, Shuffle(), Loading(4))
    again.load_state_dict(state)
    done = stop // 6 * 6 + stop % 6 + 1
    rest = copies(again)
    if done < 6:
        rest += copies(again)
    assert_same(rest, expected[done:])


def test_a_restart_in_another_world(store):
    alone = Loader(store, Shuffle(), Loading(2))
    for number, _batch in enumerate(alone):
        if number == 3:
            break
    drawn = []
    for rank in range(3):
        one = Loader(store, Shuffle(), Loading(2, ranks=(rank, 3)))
        one.load_state_dict(alone.state_dict())
        drawn += [name for batch in one for name in batch.ids]
    assert sorted(drawn) == sorted(f"chip-{row}" for row in Shuffle().order(0)[8:])


def test_a_restart_with_another_order_is_refused(store):
    state = Loader(store, Shuffle(0), Loading(4)).state_dict()
    with pytest.raises(ContractError, match="give it the same seed and chips"):
        Loader(store, Shuffle(1), Loading(4)).load_state_dict(state)


def test_a_state_at_the_end_of_an_epoch_is_the_start_of_the_next(store):
    loader = Loader(store, Shuffle(), Loading(4))
    for _batch in loader:
        state = loader.state_dict()
    again = Loader(store, Shuffle(), Loading(4))
    again.load_state_dict(state)
    assert_same(copies(again), copies(loader))


@pytest.mark.parametrize("workers", [0, 2])
def test_memory_is_used_again_but_never_while_it_is_seen(store, workers):
    loader = Loader(store, Shuffle(), Loading(1, workers=workers))
    wanted = copies(Loader(store, Shuffle(), Loading(1)))
    held = list(loader)
    assert_same(copies(held), wanted)
    views = [batch.layers[FINE.key].pixels[0, 0, 1] for batch in held]
    del held
    gc.collect()
    for _batch in loader:
        pass
    for view, batch in zip(views, wanted, strict=True):
        torch.testing.assert_close(
            view, batch[3][FINE.key, "pixels"][0, 0, 1], rtol=0, atol=0, equal_nan=True
        )
    loader.close()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_few_rooms_serve_many_batches(store, workers):
    loader = Loader(store, Shuffle(), Loading(1, workers=workers))
    for _epoch in range(5):
        for _batch in loader:
            pass
    # One that is shown, one that is ready, one that is being filled.
    assert loader._rooms.made <= 3
    loader.close()


def test_subsets_are_read_in_place(store):
    rows = [20, 3, 7, 11]
    loader = Loader(Subset(store, rows), Shuffle(count=4), Loading(4))
    (batch,) = list(loader)
    assert batch.ids == tuple(f"chip-{rows[at]}" for at in Shuffle(count=4).order(0))


def test_a_model_gets_its_bands_in_its_order(store):
    wanted = replace(FINE, bands=("nir", "green"), wavelengths_nm=(840.0, 560.0))
    needs = Needs((wanted,))
    loader = Loader(store, Shuffle(), Loading(3), needs)
    assert loader.specs == {wanted.key: wanted}
    whole = Loader(store, Shuffle(), Loading(3))
    for batch, other in zip(loader, whole, strict=True):
        needs.check_batch(batch)
        assert list(batch.layers) == [FINE.key]
        torch.testing.assert_close(
            batch.layers[FINE.key].pixels,
            other.layers[FINE.key].pixels[:, :, [2, 0]],
            rtol=0,
            atol=0,
            equal_nan=True,
        )


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (Needs((replace(FINE, unit="dB"),)), "expects unit = dB in layer optical_10m, but got 1"),
        (
            Needs((replace(FINE, bands=("red", "swir"), wavelengths_nm=(660.0, 1610.0)),)),
            "expects the bands red, swir .* swir did not come, on offer are: green, red, nir",
        ),
        (Needs((replace(FINE, sensor="thermal"),)), "expects layer thermal_10m; on offer are"),
        (Needs((replace(FINE, dates=("1",)),)), "expects 1 dates"),
        (Needs((FINE,), multiple=16), "multiples of 16, but got 8 x 8"),
        (Needs((FINE,), least=16), "at least 16 rows and columns, but got 8 x 8"),
        (Needs((FINE,), most=4), "of 1 to 4 rows and columns, but got 8 x 8"),
    ],
)
def test_what_does_not_meet_a_models_needs(store, needs, words):
    with pytest.raises(ContractError, match=words):
        Loader(store, Shuffle(), Loading(3), needs)


def test_settings_that_cannot_be():
    with pytest.raises(ContractError, match="batch_size is 1 or more, not 0"):
        Loading(0)
    with pytest.raises(ContractError, match="workers is 0 or more, not -1"):
        Loading(1, workers=-1)


RANK = """
import json, sys
from pathlib import Path
import numpy as np, torch.distributed as dist
from earthloom.chips.loader import Loader, Loading
from earthloom.chips.store import open_chips
class Order:
    def order(self, epoch):
        return np.random.default_rng([0, epoch]).permutation({count})
rank, port, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
dist.init_process_group("gloo", f"tcp://127.0.0.1:{{port}}", rank=rank, world_size=2)
loader = Loader(open_chips(folder), Order(), Loading(3, workers=rank))
mine = [batch.ids for batch in loader]
every = [None, None]
dist.all_gather_object(every, mine)
if rank == 0:
    print(json.dumps(every))
dist.destroy_process_group()
"""


@pytest.mark.parametrize("store", ["packed"], indirect=True)
def test_two_ranks_of_torch_distributed(store):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = RANK.format(count=COUNT)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(rank), str(port), str(Path(store.folder))],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    every = json.loads(said[0])
    order = Shuffle().order(0)[: COUNT // 2 * 2]
    for rank, batches in enumerate(every):
        expected = [f"chip-{row}" for row in order[rank::2]]
        assert [name for batch in batches for name in batch] == expected


class Watched(L.LightningModule):
    """Notes what it is trained on, and stops where it is told to."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def training_step(self, batch, index):
        self.seen.append(batch.ids)
        return (self.weight * batch.layers[FINE.key].valid.float().mean()).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(store, workers, folder, resume=None):
    """What eleven steps saw; a checkpoint is kept of each step."""
    module = Watched()
    trainer = L.Trainer(
        max_steps=11,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)],
    )
    loader = Loader(store, Shuffle(), Loading(4, workers=workers))
    trainer.fit(module, loader, ckpt_path=resume, weights_only=True)
    loader.close()
    return module.seen


@pytest.mark.parametrize("store", ["packed"], indirect=True)
def test_lightning_goes_on_in_the_middle_of_an_epoch(store, tmp_path):
    """An epoch has six batches, so these stops lie within, just before, at and after its end."""
    whole = train(store, 2, tmp_path / "whole")
    drawn = [name for ids in whole for name in ids]
    order = [*Shuffle().order(0), *Shuffle().order(1)[:20]]
    assert drawn == [f"chip-{row}" for row in order]
    for stop in (2, 5, 6, 8):
        kept = tmp_path / "whole" / f"step={stop}.ckpt"
        assert train(store, 1, tmp_path / f"rest-{stop}", kept) == whole[stop:]
