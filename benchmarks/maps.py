"""How fast, in how much memory and how well a scene is mapped by a U-Net.

One simulated scene of ten bands (`maps_scene.py`), made into a cube by the project's own store, and
a U-Net of 6.5 M parameters, trained for a while on it. Each measure is a process of its own
(`maps_steps.py`), with two threads:

- `overhead_class`: seconds of a map of classes, from opening the cube to the finished COG, over the
  seconds of the bare forward passes of the same windows (before and after it, the mean);
- `overhead_probabilities`: the same with the probabilities of all ten classes;
- `peak_rss_gb`: most memory that the process of either map took;
- `seam`: mean step of the probabilities from pixel to pixel across the borders of windows and of
  blends, over the mean elsewhere;
- `exact_max_abs`: most that an exact map differs from the model over the whole area at once, fp32;
- `vs_terratorch`, `rss_vs_terratorch`: our seconds and memory over those of TerraTorch's tiled
  inference on the same windows, in the same number format (`maps_peer.py`);
- `scaling_2`: the speed-up by a second dask worker, over that of two bare processes of forward
  passes at once (`maps_cluster.py`);
- `kill_equal`: whether a map is the same after three workers and the client were killed.

    python benchmarks/maps.py [--size 10980] [--folder DIR] [--peer-python PEER/bin/python]
        [--only overhead,seam,exact,terratorch,scaling,kills]

With `--size` all areas shrink; `--size 1024 --steps 20` is a test of the benchmark itself.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio

sys.path.insert(0, str(Path(__file__).parent))
from maps_cluster import STEPS, Job, kills, scaling
from maps_scene import BANDS, Scene, make_scene

from earthloom.sample import Shape2d, Window

PEER_BATCHES = (1, 4)
"""The peer's batches that are tried; the faster one counts."""

ENVIRONMENT = {"MALLOC_ARENA_MAX": "2"} | os.environ
"""For ours and for the peer: without it glibc keeps a pool of freed memory for each thread."""


@dataclass(frozen=True)
class Bench:
    """What is measured, and where."""

    scene: Scene
    scratch: Path
    threads: int
    plan: str
    """As JSON."""
    peer_python: Path | None
    rounds: int

    def area(self, wanted: int) -> int:
        """Pixels, both ways, of an area that is smaller where the scene is."""
        return min(wanted, self.scene.size)

    def step(self, name: str, area: int, *more: str) -> dict:
        """Runs a step in a process of its own."""
        command = [sys.executable, str(STEPS), name, str(self.scene.folder), str(self.scene.size)]
        command += ["--area", str(area), "--threads", str(self.threads), "--plan", self.plan]
        return run([*command, *more])

    def out(self, name: str) -> Path:
        """A new folder."""
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder


def run(command: list[str]) -> dict:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def overhead(bench: Bench) -> dict[str, object]:
    size, forwards, figures = bench.scene.size, [], {}
    peaks = []
    for name in ("classes", "probabilities"):
        ratios = []
        for _ in range(bench.rounds):
            before = bench.step("forward", size)["seconds"]
            made = bench.step(name, size, "--out", str(bench.out(name)))
            after = bench.step("forward", size)["seconds"]
            ratios.append(made["seconds"] / statistics.mean((before, after)))
            forwards += [before, after]
            peaks.append(made["peak_gb"])
            print(
                f"{name:<14} {made['seconds']:7.1f} s, forward {before:.1f} and {after:.1f} s, "
                f"{made['peak_gb']:.2f} GB, right {made['accuracy']:.3f}, MB {made['mb']}"
            )
        key = {"classes": "class", "probabilities": "probabilities"}[name]
        figures[f"overhead_{key}"] = round(statistics.median(ratios), 3)
    figures["forward_s"] = round(statistics.median(forwards), 1)
    figures["mpx_per_s"] = round(size**2 / 1e6 / statistics.median(forwards), 3)
    return {**figures, "peak_rss_gb": round(max(peaks), 2)}


def seam(bench: Bench) -> dict[str, object]:
    found = bench.step("seam", bench.area(3072), "--out", str(bench.out("seam")))
    print(f"seam       {found['at']:.5f} at borders, {found['elsewhere']:.5f} elsewhere")
    return {"seam": round(found["seam"], 4)}


def exact(bench: Bench) -> dict[str, object]:
    found = bench.step("exact", bench.area(2048), "--out", str(bench.out("exact")))
    print(f"exact      differs by {found['exact_max_abs']:.2g}, {found['seconds']:.1f} s")
    return {"exact_max_abs": float(f"{found['exact_max_abs']:.2g}")}


def terratorch(bench: Bench) -> dict[str, object]:
    if bench.peer_python is None:
        print("terratorch left out: no --peer-python")
        return {}
    area = bench.area(4096)
    image = _image(bench, area)
    plan = json.loads(bench.plan)
    peer = [str(bench.peer_python), str(STEPS.with_name("maps_peer.py")), str(image)]
    peer += [str(bench.scene.model), str(bench.scratch / "peer.tif")]
    peer += ["--threads", str(bench.threads)]
    peer += ["--bf16"] * (plan["precision"] == "bf16")
    peer += ["--channels-last"] * plan["channels_last"]
    ours, theirs = [], []
    for _ in range(bench.rounds):
        theirs += [run([*peer, "--batch", str(batch)]) for batch in PEER_BATCHES]
        ours.append(bench.step("classes", area, "--out", str(bench.out("ours"))))
    same = _alike(bench.scratch / "peer.tif", bench.scratch / "ours" / "map.tif")
    best = min(theirs, key=lambda each: each["seconds"])
    mine = {key: statistics.median(each[key] for each in ours) for key in ("seconds", "peak_gb")}
    for name, each in (("ours", mine), ("terratorch", best)):
        print(f"{name:<10} {each['seconds']:7.1f} s  {each['peak_gb']:.2f} GB")
    return {
        "vs_terratorch": round(mine["seconds"] / best["seconds"], 3),
        "rss_vs_terratorch": round(mine["peak_gb"] / best["peak_gb"], 3),
        "alike_terratorch": round(same, 4),
        "terratorch": best["terratorch"],
    }


def _image(bench: Bench, area: int) -> Path:
    """The corner of the scene as a GeoTIFF, for the peer."""
    path = bench.scratch / "image.tif"
    box, cube = bench.scene.box[:area, :area], bench.scene.cube
    with rasterio.open(
        path, "w", driver="GTiff", width=area, height=area, count=len(BANDS), dtype="float32",
        crs=box.crs.to_wkt(), transform=box.affine, nodata=np.nan, tiled=True, BIGTIFF="IF_SAFER",
    ) as file:  # fmt: skip
        for row in range(0, area, 512):
            rows = min(512, area - row)
            layer = next(iter(cube.window(Window(row, 0, Shape2d(rows, area))).values()))
            file.write(layer.pixels[0], window=((row, row + rows), (0, area)))
    return path


def _alike(first: Path, second: Path) -> float:
    """Share of pixels on which two maps agree."""
    with rasterio.open(first) as a, rasterio.open(second) as b:
        return float((a.read(1) == b.read(1)).mean())


def _job(bench: Bench, area: int, name: str) -> Job:
    scene = bench.scene
    return Job(scene.folder, scene.size, bench.area(area), bench.plan, bench.out(name))


def scaled(bench: Bench) -> dict[str, object]:
    found = scaling(_job(bench, 6144, "scaling"), bench.scratch)
    return {key: round(value, 3) for key, value in found.items()}


def killed(bench: Bench) -> dict[str, object]:
    # Small parts, so that some are done before the client is killed.
    return kills(replace(_job(bench, 3072, "kills"), part=512), bench.scratch)


MEASURES: dict[str, Callable[[Bench], dict[str, object]]] = {
    "overhead": overhead,
    "seam": seam,
    "exact": exact,
    "terratorch": terratorch,
    "scaling": scaled,
    "kills": killed,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=10980)
    parser.add_argument("--steps", type=int, default=150, help="of training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the scene is kept between runs")
    parser.add_argument("--peer-python", type=Path, help="of an environment with TerraTorch")
    parser.add_argument("--only", default=",".join(MEASURES))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        folder = asked.folder or Path(scratch)
        scene = make_scene(folder.absolute(), asked.size, asked.steps, asked.threads)
        bench = Bench(
            scene, Path(scratch).absolute(), asked.threads, "", asked.peer_python, asked.rounds
        )
        plan = bench.step("plan", scene.size)
        print(f"plan       {plan['plan']}, {plan['windows']} windows, {plan['notes']}")
        bench = Bench(
            scene, bench.scratch, asked.threads, json.dumps(plan["plan"]), asked.peer_python,
            asked.rounds,
        )  # fmt: skip
        figures: dict[str, object] = {"size": asked.size, "plan": plan["plan"]}
        for name in asked.only.split(","):
            figures |= MEASURES[name](bench)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
