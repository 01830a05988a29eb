"""The main job on the simulated archive: accuracy against the truth, time and memory.

Every model makes the map of the same simulated area from the same labels; each map is held against
the world's truth, wall to wall, which only a simulated world allows. The random forest on the bands
of every date is the plain baseline. Each run is a process of its own.

    python benchmarks/demo.py [--size-m 3000] [--seeds 3] [--models ridge,forest,unet]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RUN = """
import json, sys
from pathlib import Path
from earthloom import verbs
from earthloom.demo import write_demo
from earthloom.project import load_project

if __name__ == "__main__":
    folder, size, seed, model = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    file = write_demo(folder, size, seed)
    project = load_project(file, model={"name": model}, out=f"out-{model}")
    print(json.dumps(verbs.run(project)))
"""


def run(folder: Path, size_m: int, seed: int, model: str) -> dict[str, Any]:
    """One run of the demonstration with a model; the archive is made by the first of a seed."""
    script = folder.parent / "run.py"
    script.write_text(RUN)
    command = [sys.executable, str(script), str(folder), str(size_m), str(seed), model]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size-m", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", default="ridge,forest,unet")
    options = parser.parse_args()
    rows: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            for model in options.models.split(","):
                place = Path(folder) / f"seed-{seed}"
                rows.setdefault(model, []).append(run(place, options.size_m, seed, model))
    print(f"{'model':>8}  accuracy         areas held  seconds  peak GB")
    for model, runs in rows.items():
        accuracy = [r["true_overall_accuracy"] for r in runs]
        deviation = statistics.stdev(accuracy) if len(accuracy) > 1 else 0.0
        held = sum(r["true_areas_within_intervals"] for r in runs)
        print(
            f"{model:>8}  {statistics.mean(accuracy):.4f} +- {deviation:.4f}  "
            f"{held} of {len(runs)}      {statistics.median(r['seconds'] for r in runs):6.0f}   "
            f"{max(r['peak_rss_gb'] for r in runs):.2f}"
        )
    print(json.dumps({"size_m": options.size_m, "seeds": options.seeds, "runs": rows}))


if __name__ == "__main__":
    main()
