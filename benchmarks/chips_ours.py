"""Our part of `chips.py`: what each measurement runs in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from chips_data import BANDS, OFFSET, SCALE, ScenesSpec, file_of

SIZE, BATCH, THREADS = 256, 16, 2
INDEX_ROWS = 1_000_000
KEY = "sentinel-2-l2a_10m"


def direct(folder: Path):
    """The direct path over all scenes of a folder."""
    from earthloom.archive import Asset, Scene
    from earthloom.chips.direct import DirectChips
    from earthloom.chips.grids import survey
    from earthloom.cube.read import Reader
    from earthloom.sample import LayerSpec

    time_ = datetime(2023, 6, 1, 10, tzinfo=UTC)
    scenes = [
        Scene(
            id=f"s{scene:03d}", sensor="sentinel-2-l2a", time=time_, day=time_.date(), bounds=None,
            place="", cloud_cover=None, quality=None,
            bands={
                band: Asset(file_of(scene, band), None, scale=SCALE, offset=OFFSET, nodata=0)
                for band in BANDS
            },
        )
        for scene in range(ScenesSpec(**json.loads((folder / "spec.json").read_text())).scenes)
    ]  # fmt: skip
    spec = LayerSpec("sentinel-2-l2a", 10, BANDS, "1", ("1",), (None,) * len(BANDS))
    reader = Reader(str(folder))
    found = survey(reader, scenes, [spec])
    assert not found.unreadable, found.unreadable
    return DirectChips(reader, found.grids, SIZE, seed=0, threads=THREADS)


def cog(folder: Path) -> dict[str, float]:
    """One epoch straight from COGs: each pixel once on average."""
    chips = direct(folder)
    start, count = time.perf_counter(), 0
    for batch in chips.batches(BATCH, 0):
        count += len(batch.ids)
    seconds = time.perf_counter() - start
    cache = chips.served.cache
    return {
        "chips": count,
        "seconds": seconds,
        "per_second": count / seconds,
        "decodes_per_block": sum(cache.decoded.values()) / len(cache.decoded),
        "cache_mb": cache.peak_bytes / 2**20,
    }


def make_store(folder: Path, scenes: Path, count: int, compressed: bool) -> Path:
    """A store of `count` chips of the scenes, as the stored numbers; kept if it is there."""
    from earthloom.chips.store import CARD, ChipWriter, Packing, Storage

    if (folder / CARD).exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    chips = direct(scenes)
    storage = Storage({KEY: Packing("uint16", SCALE, OFFSET)}, compressed)
    shape = next(chips.chips(0)).shape
    writer = ChipWriter(folder, chips.specs, shape, count, {}, storage)
    for chip in _chips(chips, count):
        writer.add(chip, "benchmark")
    writer.finish()
    return folder


def _chips(chips, count: int) -> Iterator:
    made, epoch = 0, 0
    while True:
        for chip in chips.chips(epoch):
            if made == count:
                return
            yield chip
            made += 1
        epoch += 1


def store(folder: Path, chips: int, workers: int, processes: bool) -> dict[str, float]:
    """Batches of a store in shuffled order, over and over until `chips` were handed out."""
    loader = _loader(folder, workers, processes)
    count, sent, start = 0, 0, 0.0
    while True:
        for batch in loader:
            if not start:
                # The first batch starts the workers.
                start = time.perf_counter()
                continue
            count += len(batch.ids)
            layer = batch.layers[KEY]
            sent += layer.pixels.nbytes + layer.valid.nbytes
            if count >= chips:
                seconds = time.perf_counter() - start
                loader.close()
                return {
                    "chips": count,
                    "seconds": seconds,
                    "per_second": count / seconds,
                    "bytes_per_second": sent / seconds,
                }
            del batch, layer


def _loader(folder: Path, workers: int, processes: bool):
    from earthloom.chips.loader import Loader, Loading
    from earthloom.chips.sampling import Sampler, Shuffled
    from earthloom.chips.store import open_chips

    samples = open_chips(folder)
    order = Sampler(Shuffled(np.arange(len(samples))), seed=0)
    return Loader(samples, order, Loading(BATCH, workers=workers, processes=processes))


def memcpy(folder: Path, threads: int) -> dict[str, float]:
    """A plain copy of a store's bytes, from the mapped files to memory that is used again."""
    piece = 16 * 2**20
    files = [path for path in sorted(folder.rglob("*")) if path.stat().st_size > 2**20]
    maps = [np.memmap(path, np.uint8, "r") for path in files if path.is_file()]
    targets = [np.ones(piece, np.uint8) for _ in range(threads)]

    def copy(thread: int) -> None:
        for source in maps[thread::threads]:
            for first in range(0, len(source), piece):
                part = source[first : first + piece]
                np.copyto(targets[thread][: len(part)], part)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(copy, range(threads)))
        start = time.perf_counter()
        for _ in range(3):
            list(pool.map(copy, range(threads)))
        seconds = time.perf_counter() - start
    return {"bytes_per_second": 3 * sum(len(each) for each in maps) / seconds}


def anonymous(folder: Path, chips: int, processes: bool) -> dict[str, float]:
    """Growth of anonymous memory of this process and its workers over many chips."""
    loader = _loader(folder, 2, processes)
    count, first = 0, None
    while count < chips:
        for batch in loader:
            count += len(batch.ids)
            if first is None and count >= 512:
                first = _anonymous_mb()
            if count >= chips:
                break
    last = _anonymous_mb()
    loader.close()
    assert first is not None
    return {"growth_mb": last - first, "before_mb": first}


def _anonymous_mb() -> float:
    """Of this process and all its children, from the kernel's account of their memory."""
    total = 0
    for process in (os.getpid(), *_children(os.getpid())):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Anonymous:"):
                total += int(line.split()[1])
    return total / 1024


def _children(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_children(int(child))]
    return found


def make_index(file: Path) -> Path:
    """An index of a million chips in ten classes, one of them in one chip of a thousand."""
    from earthloom.chips.index_schema import ChipRow
    from earthloom.chips.index_write import IndexWriter

    if file.exists():
        return file
    random = np.random.default_rng(0)
    piece = 20_000
    with IndexWriter(file) as writer:
        for first in range(0, INDEX_ROWS, piece):
            lon, lat = random.uniform(-180, 179, piece), random.uniform(-80, 80, piece)
            rare = random.random(piece) < 0.001
            codes = np.where(rare, 10, random.integers(1, 10, piece))
            writer.add(
                [
                    ChipRow(
                        id=f"c{first + n:07d}", area=f"a{n % 50}", layers=(KEY,), row=0, col=0,
                        size=SIZE, valid_fraction=1.0, first_day=19_000, last_day=19_100,
                        label_counts={int(codes[n]): 100, int(codes[n]) % 9 + 1: 20},
                        corners=_corners(float(lon[n]), float(lat[n])),
                    )
                    for n in range(piece)
                ]
            )  # fmt: skip
    return file


def _corners(lon: float, lat: float):
    side = 0.02
    return (
        (lon, lat + side), (lon + side, lat + side), (lon + side, lat), (lon, lat)
    )  # fmt: skip


INDEX_JOB = """
import sys
from pathlib import Path
from earthloom.chips.index import open_index
opened = open_index(Path(sys.argv[1]))
rows = opened.query(box=(0.0, 40.0, 20.0, 55.0))
ids = opened.ids(opened.draw(16, seed=0, how="balanced", rows=rows))
assert len(ids) == 16
"""


def index(file: Path) -> dict[str, float]:
    """A process of its own: start, imports, open, query a box, draw 16 chips, name them."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", INDEX_JOB, str(file)], check=True)
    return {"ms": 1000 * (time.perf_counter() - start)}
