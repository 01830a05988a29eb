"""How fast chips come: from a store and straight from COGs, beside TorchGeo on the same files.

Random chips of 256 px in 10 bands as float32 batches with a valid mask, on two cores. Every
contender runs in a process of its own, in turn, several rounds; the best run of each counts, and of
TorchGeo the better of two samplers. Simulated scenes (`chips_data.py`):

- one scene of 4096 px, which TorchGeo's GDAL holds decoded in memory after a while: against it
  stand the stores (`store_vs_torchgeo`, `store_compressed_vs_torchgeo`; TorchGeo with no worker or
  two, whichever is better) and the plain copy of the store's bytes (`store_vs_memcpy`);
- 24 scenes of 1536 px, 1.1 GB decoded, a cache of 512 MB (each of TorchGeo's workers has as much),
  each pixel drawn once on average: `cog_vs_torchgeo_0` and `cog_vs_torchgeo_2` workers. TorchGeo's
  faster sampler takes each batch from one scene alone; against the one whose batches mix scenes,
  as ours do, the figures end in `_mixed`.

All files are in the page cache; TorchGeo is timed once GDAL's caches are full, after as many chips
as are timed. `index_ms`: a fresh process opens an index of a million chips, queries a box and draws
16 chips of balanced classes, from the interpreter's start to its end. `anon_growth_mb`: growth of
anonymous memory of all processes over 20,000 chips with two workers, threads or processes,
whichever grow more.

TorchGeo's dependencies are not ours, so it has a Python of its own:

    python -m venv PEER; PEER/bin/pip install --require-hashes -r requirements/peers.txt
    python benchmarks/chips.py --peer-python PEER/bin/python [--rounds 3] [--folder DIR]
        [--only store,cog,index,memory]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import chips_ours
from chips_data import ScenesSpec, make_scenes

PARTS = ("store", "cog", "index", "memory")
MANY, ONE = ScenesSpec(24, 1536), ScenesSpec(1, 4096, seed=1)
PEER_CACHE_MB = 512
STORE_CHIPS = 512
Run = dict[str, float]


class Bench:
    """Runs contenders and keeps what they printed."""

    def __init__(self, folder: Path, rounds: int, peer: Path | None, peer_chips: int) -> None:
        self.folder, self.rounds, self.peer, self.peer_chips = folder, rounds, peer, peer_chips
        self.runs: dict[str, list[Run]] = {}

    def ours(self, name: str, job: str, *values: object) -> None:
        """One run of a function of `chips_ours`."""
        command = [sys.executable, __file__, "--child", json.dumps([job, *map(str, values)])]
        self._run(name, command, os.environ)

    def torchgeo(self, name: str, scenes: Path, workers: int, sampler: str, cache_mb: int) -> None:
        """One run of TorchGeo, with the GDAL options that suit it."""
        if self.peer is None:
            return
        command = [str(self.peer), str(Path(__file__).with_name("chips_peer.py")), str(scenes)]
        command += ["--workers", str(workers), "--sampler", sampler]
        command += ["--chips", str(self.peer_chips), "--batch", str(chips_ours.BATCH)]
        # GDAL's cache is full by then.
        command += ["--warm", str(self.peer_chips)]
        options = {
            "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
            "GDAL_CACHEMAX": str(cache_mb),
        }
        self._run(name, command, {**os.environ, **options})

    def best(self, *names: str, figure: str = "per_second") -> float | None:
        """The greatest figure of some contenders over all rounds; None where none ran."""
        found = [run[figure] for name in names for run in self.runs.get(name, [])]
        return max(found, default=None)

    def _run(self, name: str, command: list[str], environment: "os._Environ | dict") -> None:
        done = subprocess.run(
            command, capture_output=True, text=True, env=dict(environment), check=False
        )
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
        run = json.loads(done.stdout.splitlines()[-1])
        self.runs.setdefault(name, []).append(run)
        print(f"{name:<28}", "  ".join(f"{k} {v:,.1f}" for k, v in run.items()), flush=True)


def child(job: str, *values: str) -> Run:
    """What a process of our own does."""
    if job == "cog":
        return chips_ours.cog(Path(values[0]))
    if job == "make_store":
        chips_ours.make_store(Path(values[0]), Path(values[1]), STORE_CHIPS, values[2] == "True")
        return {}
    if job == "store":
        return chips_ours.store(Path(values[0]), 4 * STORE_CHIPS, int(values[1]), False)
    if job == "memcpy":
        return chips_ours.memcpy(Path(values[0]), int(values[1]))
    if job == "memory":
        return chips_ours.anonymous(Path(values[0]), int(values[1]), values[2] == "True")
    if job == "index":
        return chips_ours.index(Path(values[0]))
    assert job == "make_index"
    chips_ours.make_index(Path(values[0]))
    return {}


def stores(bench: Bench) -> dict[str, float | None]:
    scene, plain, packed = _stores(bench)
    for _ in range(bench.rounds):
        for workers in (1, 2):
            bench.ours(f"store, {workers} threads", "store", plain, workers)
            bench.ours(f"compressed, {workers} threads", "store", packed, workers)
            bench.ours(f"memcpy, {workers} threads", "memcpy", plain, workers)
        for workers in (0, 2):
            for sampler in ("random", "batch"):
                name = f"torchgeo one, {workers}, {sampler}"
                bench.torchgeo(name, scene, workers, sampler, 2048)
    peers = [f"torchgeo one, {w}, {s}" for w in (0, 2) for s in ("random", "batch")]
    peer = bench.best(*peers)
    kinds = {
        kind: [f"{kind}, {workers} threads" for workers in (1, 2)]
        for kind in ("store", "compressed", "memcpy")
    }
    bytes_ours = bench.best(*kinds["store"], figure="bytes_per_second")
    return {
        "store_vs_torchgeo": _ratio(bench.best(*kinds["store"]), peer),
        "store_compressed_vs_torchgeo": _ratio(bench.best(*kinds["compressed"]), peer),
        "store_vs_memcpy": _ratio(
            bytes_ours, bench.best(*kinds["memcpy"], figure="bytes_per_second")
        ),
    }


def _stores(bench: Bench) -> tuple[Path, Path, Path]:
    """One scene, and the uncompressed and the compressed store of its chips."""
    scene = make_scenes(bench.folder / "one", ONE)
    plain, packed = bench.folder / "plain", bench.folder / "packed"
    bench.ours("make the store", "make_store", plain, scene, False)
    bench.ours("make the compressed store", "make_store", packed, scene, True)
    return scene, plain, packed


def cogs(bench: Bench) -> dict[str, float | None]:
    scenes = make_scenes(bench.folder / "many", MANY)
    for _ in range(bench.rounds):
        bench.ours("straight from COGs", "cog", scenes)
        for workers in (0, 2):
            for sampler in ("random", "batch"):
                name = f"torchgeo many, {workers}, {sampler}"
                bench.torchgeo(name, scenes, workers, sampler, PEER_CACHE_MB)
    ours = bench.best("straight from COGs")
    figures = {}
    for workers in (0, 2):
        mixed, single = (f"torchgeo many, {workers}, {each}" for each in ("random", "batch"))
        figures[f"cog_vs_torchgeo_{workers}"] = _ratio(ours, bench.best(mixed, single))
        figures[f"cog_vs_torchgeo_{workers}_mixed"] = _ratio(ours, bench.best(mixed))
    return figures


def indices(bench: Bench) -> dict[str, float | None]:
    file = bench.folder / "index" / "index.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    bench.ours("make the index", "make_index", file)
    for _ in range(bench.rounds):
        bench.ours("index", "index", file)
    return {"index_ms": min(run["ms"] for run in bench.runs["index"])}


def memory(bench: Bench) -> dict[str, float | None]:
    _, plain, _ = _stores(bench)
    for processes in (False, True):
        name = f"memory, 2 {'processes' if processes else 'threads'}"
        bench.ours(name, "memory", plain, 20_000, processes)
    return {
        "anon_growth_mb": bench.best("memory, 2 threads", "memory, 2 processes", figure="growth_mb")
    }


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else round(ours / theirs, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", type=Path, help="a Python that has TorchGeo")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where data are kept between runs")
    parser.add_argument("--peer-chips", type=int, default=432, help="chips of a run of TorchGeo")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(child(*json.loads(asked.child))))
        return
    if asked.peer_python is None:
        print("no --peer-python: figures beside TorchGeo are left out", file=sys.stderr)
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        bench = Bench(folder, asked.rounds, asked.peer_python, asked.peer_chips)
        parts = {"store": stores, "cog": cogs, "index": indices, "memory": memory}
        figures: dict[str, object] = {"rounds": asked.rounds}
        for name in asked.only.split(","):
            figures |= parts[name](bench)
    per_second = {name: round(bench.best(name), 1) for name in bench.runs if _counts(bench, name)}
    print(json.dumps(figures | {"chips_per_second": per_second}))


def _counts(bench: Bench, name: str) -> bool:
    return "per_second" in bench.runs[name][0]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
