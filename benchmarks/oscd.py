"""Change between two Sentinel-2 dates: leave-cities-out on the nine labelled cities of OSCD.

Runs `examples/oscd` once a seed: the boosted change model, and beside it change-vector analysis
with Otsu's threshold and a random forest on both dates, their differences and 5 px means, on the
same folds and pixels. F1 and IoU are of the change class, pooled over all pixels of all cities.

    python benchmarks/oscd.py [--seeds 3] [--no-baselines]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "examples" / "oscd" / "project.yaml"


RUN = """
import json, sys
from earthloom import verbs
from earthloom.progress import set_quiet
from earthloom.project import load_project

set_quiet(True)
project = load_project(sys.argv[1], seed=int(sys.argv[2]), out=sys.argv[3])
if sys.argv[4] == "model-only":
    assess = project.assess.model_copy(update={"baselines": ()})
    project = project.model_copy(update={"assess": assess})
print(json.dumps(verbs.run(project)))
"""


def run(seed: int, folder: Path, baselines: bool) -> dict[str, Any]:
    """One run from the archive to the scores, with its per-city figures, in its own process."""
    command = [sys.executable, "-c", RUN, str(PROJECT), str(seed), str(folder)]
    command.append("all" if baselines else "model-only")
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads((folder / "assess" / "accuracy.json").read_text())
    cities = {city: fold["f1"] for city, fold in figures["model"]["folds"].items()}
    return json.loads(done.stdout.splitlines()[-1]) | {"cities": cities}


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} +- {deviation:.3f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--baselines", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    seeds = range(options.seeds)
    if not (ROOT.parent / "shared" / "data" / "oscd").is_dir():
        print("no data: ../shared/data/oscd is not there", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        runs = [run(seed, Path(folder) / str(seed), options.baselines) for seed in seeds]
    keys = [k for k in ("f1", "iou", "forest_f1", "baseline_f1", "seconds") if k in runs[0]]
    for key in [*keys, "peak_rss_gb"]:
        print(f"{key:>12}  {spread([r[key] for r in runs])}")
    for city in runs[0]["cities"]:
        print(f"{city:>12}  F1 {spread([r['cities'][city] for r in runs])}")
    print(json.dumps({"seeds": list(seeds), "runs": runs}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
