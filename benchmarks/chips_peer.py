"""TorchGeo's part of `chips.py`; runs with a Python of its own (`requirements/peers.txt`).

Batches as a model takes them: float32 in physical units, with a valid mask, as TorchGeo's
documentation shows it: a `RasterDataset` of separate files, a sampler, torch's `DataLoader`. Prints
one JSON object.

    PEER/bin/python benchmarks/chips_peer.py FOLDER --workers 2 --sampler batch --chips 432
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset
from torchgeo.samplers import RandomBatchGeoSampler, RandomGeoSampler

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
SCALE, OFFSET = 1e-4, -0.1


class Scenes(RasterDataset):
    """The scenes of `chips_data.py`."""

    filename_glob = "s*_B02.tif"
    filename_regex = r"s(?P<scene>\d+)_(?P<band>B[0-9A]+)\.tif"
    is_image = True
    separate_files = True
    all_bands = BANDS


def collate(samples: list[dict]) -> dict[str, torch.Tensor]:
    """Physical units and the mask, for a whole batch at once, in place."""
    image = torch.stack([sample["image"] for sample in samples])
    valid = (image != 0).all(dim=1)
    return {"image": image.mul_(SCALE).add_(OFFSET), "valid": valid}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--sampler", choices=("random", "batch"), default="random")
    parser.add_argument("--chips", type=int, default=432)
    parser.add_argument("--warm", type=int, default=0, help="chips before the clock starts")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    length = asked.warm + asked.chips
    dataset = Scenes(asked.folder, bands=BANDS)
    generator = torch.Generator().manual_seed(0)
    if asked.sampler == "random":
        sampler = RandomGeoSampler(dataset, asked.size, length, generator=generator)
        loader = DataLoader(
            dataset, asked.batch, sampler=sampler, num_workers=asked.workers, collate_fn=collate
        )
    else:
        batches = RandomBatchGeoSampler(
            dataset, asked.size, asked.batch, length, generator=generator
        )
        loader = DataLoader(
            dataset, batch_sampler=batches, num_workers=asked.workers, collate_fn=collate
        )
    start, drawn, count = time.perf_counter(), 0, 0
    for batch in loader:
        assert batch["image"].dtype == torch.float32
        drawn += len(batch["image"])
        if drawn <= asked.warm:
            start = time.perf_counter()
        else:
            count += len(batch["image"])
    seconds = time.perf_counter() - start
    print(json.dumps({"chips": count, "seconds": seconds, "per_second": count / seconds}))


if __name__ == "__main__":
    main()
