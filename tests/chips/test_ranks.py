"""Two processes of torchrun, with Lightning's DDP, on one store."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from earthloom.chips.sampling import Sampler, Shuffled
from earthloom.chips.store import ChipWriter, open_chips
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d

SPEC = LayerSpec("optical", 10.0, ("red",), "1", ("1",), (660.0,))
SIDE = Shape2d(4, 4)
COUNT = 13


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    writer = ChipWriter(folder, {SPEC.key: SPEC}, SIDE, COUNT, {})
    for number in range(COUNT):
        layer = Layer(
            SPEC,
            np.full((1, 1, *SIDE), number, np.float32),
            np.ones((1, *SIDE), np.bool_),
            np.zeros(1, np.int32),
        )
        chip = Chip(f"chip-{number}", SIDE, {SPEC.key: layer}, np.ones(SIDE, np.uint8))
        writer.add(chip, "area")
    writer.finish()
    assert len(open_chips(folder)) == COUNT
    return folder


def torchrun(*arguments):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        str(Path(__file__).with_name("ranks.py")), *map(str, arguments),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def results(out):
    return [json.loads((out / f"rank-{rank}.json").read_text("utf-8")) for rank in (0, 1)]


def test_ranks_share_one_order_and_go_on_in_mid_epoch(folder, tmp_path):
    """An epoch of 13 chips has 6 for each rank, 3 steps; one chip is left over."""
    torchrun(folder, tmp_path / "whole", 5)
    whole = results(tmp_path / "whole")
    sampler = Sampler(Shuffled(np.arange(COUNT)), seed=5)
    for rank, result in enumerate(whole):
        first, second = (sampler.order(epoch)[:12][rank::2] for epoch in (0, 1))
        wanted = [f"chip-{row}" for row in [*first, *second[:4]]]
        assert [name for ids in result["seen"] for name in ids] == wanted
    assert whole[0]["value"] == whole[1]["value"]
    torchrun(folder, tmp_path / "rest", 5, tmp_path / "whole" / "step=2.ckpt")
    rest = results(tmp_path / "rest")
    assert [each["seen"] for each in rest] == [each["seen"][2:] for each in whole]
    assert rest[0]["value"] == pytest.approx(whole[0]["value"], rel=1e-6)
