"""Our defaults beside a random forest and a U-Net, on six real sets, on folds that do not leak.

    python benchmarks/tasks.py [--data FOLDER] [--seeds 5] [--sets prodes,dubai] [--keep FILE]

| set | folds | metric | ours |
|---|---|---|---|
| cerrado_11, mt_9, ieda, prodes | 5, of blocks of 1 degree (ieda: 0.1) | macro-F1 | `ridge` |
| oscd | leave one city out | F1 of change, pooled | `boosted-change` |
| dubai | leave one tile out | macro-IoU, pooled | `ridge`, 8 px around |

`ours` is what the project file gives by default, but for Dubai's surroundings of 8 px. `forest` has
300 trees on the raw bands (OSCD: 100 on both dates, differences and 5 px means, as in
`benchmarks/oscd.py`). `unet` is our U-Net from scratch; on series, which have one pixel, it is a
network of one pixel. The seed decides folds (series) and models.

A set is ahead where ours is better than both baselines by more than two standard errors of the
differences, paired by seed. Scores are kept in a file as they come (`--keep`): run again, it does
what is missing. `--quick` takes fewer samples, steps and seeds, and its scores mean nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import crops
import numpy as np
from numpy.typing import NDArray

from earthloom.bench.examine import Examination, batches, reading_of
from earthloom.bench.pieces import Held, cut_into_pieces
from earthloom.chips.folds import Fold, deal_folds, leave_group_out
from earthloom.datasets import open_dataset
from earthloom.fit.choose import fit_model
from earthloom.project import ForestModel, ModelChoice, NetworkModel, RidgeModel
from earthloom.sample import Samples, Subset
from earthloom.tasks import PixelClasses

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
WAYS = ("ours", "forest", "unet")
AHEAD = 2.0
"""Standard errors."""

FOREST = ForestModel(name="forest", trees=300)


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    data: Path
    quick: bool


Score = Callable[[str, int, Options], Mapping[str, float]]
"""A way and a seed to scores: of that way, and of others that came with it."""


@dataclass(frozen=True)
class RealSet:
    """One of the six."""

    metric: str
    folder: str
    score: Score


def series(name: str, way: str, seed: int, options: Options) -> Mapping[str, float]:
    """Macro-F1 of all folds together; macro-F1 is over all classes of the table."""
    samples, task = crops.read(options.data / "timeseries_labelled", name)
    choices: dict[str, ModelChoice] = {
        "ours": RidgeModel(name="ridge"),
        "forest": FOREST,
        "unet": NetworkModel(name="unet", levels=1, batch=64, steps=60 if options.quick else 1000),
    }
    rows = np.arange(len(samples))
    if options.quick:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:400])
    chosen = Subset(samples, rows.tolist())
    folds = deal_folds(chosen.groups, crops.FOLDS, seed)
    return {way: pooled(chosen, task, folds, choices[way], seed)["macro_f1"]}


def dubai(way: str, seed: int, options: Options) -> Mapping[str, float]:
    """Macro-IoU of all tiles together, each mapped by a model that has not seen it."""
    samples, task = aerial(options.data / "dubai_seg")
    choices: dict[str, ModelChoice] = {
        "ours": RidgeModel(name="ridge", radius=8),
        "forest": FOREST,
        "unet": NetworkModel(name="unet", steps=20 if options.quick else 600, crop=128),
    }
    folds = leave_group_out(samples.groups)
    if options.quick:
        folds = folds[:2]
    return {way: pooled(samples, task, folds, choices[way], seed)["macro_iou"]}


@cache
def aerial(folder: Path) -> tuple[Samples, PixelClasses]:
    """Dubai in pieces of 256 pixels, and its classes."""
    images = open_dataset("dubai", folder)
    codes = tuple(range(1, len(images.classes) + 1))
    task = PixelClasses(codes, images.classes, ((0, 0, 0),) * len(codes))
    return Held(cut_into_pieces(Held(images), 256)), task


def pooled(
    samples: Samples, task: PixelClasses, folds: tuple[Fold, ...], choice: ModelChoice, seed: int
) -> Mapping[str, float]:
    """Metrics of the predictions of all folds together."""
    examination = Examination(reading_of("pixel-class", len(task.codes)), task.score())
    for fold in folds:
        train = Subset(samples, fold.train.tolist())
        model = fit_model(train, task, choice, seed, lambda *_: None)
        for batch, chips in batches(Subset(samples, fold.test.tolist())):
            examination.add(model, batch, chips)
    return examination.metrics()


CITIES = """
import json, sys
from pydantic import TypeAdapter
from earthloom import verbs
from earthloom.progress import set_quiet
from earthloom.project import ModelChoice, load_project

set_quiet(True)
project = load_project(sys.argv[1], seed=int(sys.argv[2]), out=sys.argv[3])
changes = {}
if sys.argv[4]:
    changes["model"] = TypeAdapter(ModelChoice).validate_json(sys.argv[4])
    changes["assess"] = project.assess.model_copy(update={"baselines": ()})
project = project.model_copy(update=changes)
print(json.dumps(verbs.run(project)))
"""


def oscd(way: str, seed: int, options: Options) -> Mapping[str, float]:
    """F1 of change over all pixels of the nine cities, by `examples/oscd`; ours and the forest come
    of one run."""
    unet = NetworkModel(name="unet", steps=10 if options.quick else 600, crop=96)
    model = unet.model_dump_json() if way == "unet" else ""
    project = ROOT / "examples" / "oscd" / "project.yaml"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", CITIES, str(project), str(seed), folder, model]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    summary = json.loads(done.stdout.splitlines()[-1])
    if way == "unet":
        return {"unet": float(summary["f1"])}
    return {"ours": float(summary["f1"]), "forest": float(summary["forest_f1"])}


SETS: Mapping[str, RealSet] = {
    **{
        name: RealSet("macro-F1", "timeseries_labelled", partial(series, name))
        for name in ("cerrado_11", "mt_9", "ieda", "prodes")
    },
    "oscd": RealSet("F1 of change", "oscd", oscd),
    "dubai": RealSet("macro-IoU", "dubai_seg", dubai),
}


@dataclass(frozen=True)
class Kept:
    """Scores in a file, a line of JSON each; a line that was cut off by a kill is passed over."""

    file: Path

    def read(self) -> dict[tuple[str, str, int], float]:
        found = {}
        for line in self.file.read_text().splitlines() if self.file.is_file() else []:
            try:
                name, way, seed, score = json.loads(line)
            except ValueError:
                continue
            found[name, way, seed] = score
        return found

    def add(self, name: str, way: str, seed: int, score: float) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as stream:
            stream.write("\n" + json.dumps([name, way, seed, score]))


def summary(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, object]:
    """Mean, spread, and whether ours is ahead of both baselines."""
    ours = scores["ours"]
    errors = {way: errors_ahead(ours - scores[way]) for way in WAYS[1:]}
    return {
        **{way: round(float(values.mean()), 4) for way, values in scores.items()},
        "spread": {way: round(deviation(values), 4) for way, values in scores.items()},
        "errors_ahead": {way: round(value, 2) for way, value in errors.items()},
        "ahead": all(value > AHEAD for value in errors.values()),
        "seeds": len(ours),
    }


def errors_ahead(differences: NDArray[np.float64]) -> float:
    """Mean difference in standard errors; 0 where one seed alone says nothing of its spread."""
    if len(differences) < 2:
        return 0.0
    error = deviation(differences) / len(differences) ** 0.5
    return float(differences.mean() / max(error, 1e-9))


def deviation(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def main() -> int:
    """Runs the benchmark; 2 where there is no data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the sets")
    parser.add_argument("--seeds", type=int, default=None, help="how many, from 0 (5; quick: 2)")
    parser.add_argument("--sets", default=",".join(SETS), help="which, with commas between")
    parser.add_argument("--keep", type=Path, default=None, help="file of scores, to go on from")
    parser.add_argument("--quick", action="store_true", help="a trial whose scores mean nothing")
    given = parser.parse_args()
    names = given.sets.split(",")
    unknown = [name for name in names if name not in SETS]
    if unknown:
        parser.error(f"unknown set '{unknown[0]}'; valid are: {', '.join(SETS)}")
    missing = [name for name in names if not (given.data / SETS[name].folder).is_dir()]
    if missing:
        print(f"no data of {', '.join(missing)} in {given.data}; see --data", file=sys.stderr)
        return 2
    seeds = given.seeds or (2 if given.quick else 5)
    found = {}
    with tempfile.TemporaryDirectory() as gone:
        kept = Kept(given.keep or Path(gone) / "scores.jsonl")
        options = Options(given.data, given.quick)
        for name in names:
            found[name] = summary(scores_of(name, seeds, options, kept))
            print(line_of(name, found[name]), flush=True)
    ahead = sum(bool(each["ahead"]) for each in found.values())
    figures = {"benchmark": "tasks", "quick": given.quick, "sets": found, "sets_ahead": ahead}
    print(json.dumps(figures))
    return 0


def scores_of(
    name: str, seeds: int, options: Options, kept: Kept
) -> dict[str, NDArray[np.float64]]:
    """Each way's score of each seed; what is kept is not done again."""
    for seed in range(seeds):
        for way in WAYS:
            if (name, way, seed) not in kept.read():
                for scored, value in SETS[name].score(way, seed, options).items():
                    kept.add(name, scored, seed, value)
    known = kept.read()
    return {way: np.array([known[name, way, seed] for seed in range(seeds)]) for way in WAYS}


def line_of(name: str, found: Mapping[str, object]) -> str:
    """A row of the table."""
    spread = found["spread"]
    assert isinstance(spread, dict)
    parts = [f"{way} {found[way]:.3f} +- {spread[way]:.3f}" for way in WAYS]
    return f"{name:<11} {SETS[name].metric:<13} {'   '.join(parts)}   ahead: {found['ahead']}"


if __name__ == "__main__":
    sys.exit(main())
