"""Our defaults beside a random forest and a U-Net, on six real sets, on folds that do not leak; and
beside other ways on two sets of other kinds.

    python benchmarks/tasks.py [--data FOLDER] [--seeds 5] [--sets prodes,dubai] [--keep FOLDER]

| set | samples | folds | metric | ours |
|---|---|---|---|---|
| cerrado_11, mt_9, prodes | all | 5, of blocks of 1 degree | macro-F1 | `ridge` |
| ieda | 2500 of 7043 | 5, of blocks of 0.1 degree | macro-F1 | `ridge` |
| oscd | all pixels | leave one city out | F1 of change, pooled | `boosted-change` |
| dubai | 72 of its pieces of 256 px | leave one tile out | macro-IoU, pooled | `ridge` |
| poverty | all, four fifths to train on | leave one country out | R2, pooled | see `poverty.py` |
| trees | SJER | 3, of images | AP at overlap 0.5 | the detector, see `trees.py` |
| trees_harv | the detectors of `trees`, on another biome | | AP at overlap 0.5 | the detector |

What is left out of a set is left out for all three ways, evenly over its groups. `ours` is what the
project file gives by default; for Dubai the surroundings of the ridge model, 1 or 8 px, are chosen.
`forest` has 300 trees on the raw bands (OSCD: 100 on both dates, differences and 5 px means, as in
`benchmarks/oscd.py`). `unet` is our U-Net from scratch. On series, which have one pixel, that is a
network of one pixel, in batches of 64, of 50 or 200 steps. What is chosen is chosen in each fold
on a quarter of its training groups, and then fitted again on all of them. On images the U-Net's
budget is bounded by time, see `IMAGE_STEPS`, and not by what it might still learn.

Of poverty and trees the other ways are what serves there: no U-Net tells a number of a histogram,
and no forest finds crowns. `sets_ahead` counts the first six alone.

The seed decides folds (series, trees) and models; tables have 5, images 3, trees 2. A set is ahead
where ours is better than every baseline by more than two standard errors of the differences, paired
by seed.
With `--keep`, scores are kept as they come: run again, it does what is missing. `--quick` takes
fewer samples, steps and seeds, and its scores mean nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import crops
import numpy as np
import poverty
import trees
from numpy.typing import NDArray

from earthloom.bench.examine import Examination, batches, main_score, reading_of
from earthloom.bench.pieces import Held, cut_into_pieces, draw_evenly
from earthloom.bench.run import validation_of
from earthloom.bench.truth import read_truth
from earthloom.chips.folds import Fold, deal_folds, leave_group_out
from earthloom.datasets import open_dataset
from earthloom.fit.choose import fit_model
from earthloom.fit.model import Model
from earthloom.project import ForestModel, ModelChoice, NetworkModel, RidgeModel
from earthloom.sample import Samples, Subset
from earthloom.tasks import PixelClasses

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
WAYS = ("ours", "forest", "unet")
CROWN_WAYS = ("ours", "watershed")
AHEAD = 2.0
"""Standard errors."""

SERIES, PIECES = 2500, 72
"""Most samples of a set."""
SERIES_STEPS, IMAGE_STEPS = (50, 200), 150
"""Of the U-Net: those tried on series, and those taken on images, of 8 pieces of 96 px each."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    data: Path
    quick: bool
    keep: Path
    """Folder for what is worth keeping."""


Score = Callable[[str, int, Options], Mapping[str, float]]
"""A way and a seed to scores: of that way, and of others that came with it."""


@dataclass(frozen=True)
class RealSet:
    """One of the six, or another one beside them."""

    metric: str
    folder: str
    seeds: int
    score: Score
    ways: Sequence[str] = WAYS
    beside: bool = False
    """Whether it does not count in `sets_ahead`."""


Choices = Mapping[str, Sequence[ModelChoice]]
"""What may be chosen from, by way."""


def series(name: str, way: str, seed: int, options: Options) -> Mapping[str, float]:
    """Macro-F1 of all folds together; macro-F1 is over all classes of the table."""
    samples, task = crops.read(options.data / "timeseries_labelled", name)
    steps = SERIES_STEPS[:1] if options.quick else SERIES_STEPS
    choices: Choices = {
        "ours": (RidgeModel(name="ridge"),),
        "forest": (ForestModel(name="forest", trees=300),),
        "unet": tuple(NetworkModel(name="unet", levels=1, batch=64, steps=each) for each in steps),
    }
    kept = draw_evenly(samples.groups, 400 if options.quick else SERIES)
    chosen = Held(Subset(samples, kept.tolist()))
    folds = deal_folds(chosen.groups, crops.FOLDS, seed)
    return {way: pooled(chosen, task, folds, choices[way], seed, "macro_f1")}


def dubai(way: str, seed: int, options: Options) -> Mapping[str, float]:
    """Macro-IoU of all tiles together, each mapped by a model that has not seen it."""
    samples, task = aerial(options.data / "dubai_seg", 24 if options.quick else PIECES)
    choices: Choices = {
        "ours": (RidgeModel(name="ridge"), RidgeModel(name="ridge", radius=8)),
        "forest": (ForestModel(name="forest", trees=300),),
        "unet": (small_unet(options),),
    }
    folds = leave_group_out(samples.groups)
    if options.quick:
        folds = folds[:2]
    return {way: pooled(samples, task, folds, choices[way], seed, "macro_iou")}


def small_unet(options: Options) -> NetworkModel:
    """The U-Net of images."""
    steps = 10 if options.quick else IMAGE_STEPS
    return NetworkModel(name="unet", steps=steps, batch=8, crop=96)


@cache
def aerial(folder: Path, most: int) -> tuple[Samples, PixelClasses]:
    """Dubai in pieces of 256 pixels, some of them, and its classes."""
    images = open_dataset("dubai", folder)
    codes = tuple(range(1, len(images.classes) + 1))
    task = PixelClasses(codes, images.classes, ((0, 0, 0),) * len(codes))
    pieces = cut_into_pieces(Held(images), 256)
    kept = draw_evenly(pieces.groups, most)
    return Held(Subset(pieces, kept.tolist())), task


def pooled(
    samples: Samples, task: PixelClasses, folds: Sequence[Fold], choices: Sequence[ModelChoice],
    seed: int, metric: str,
) -> float:  # fmt: skip
    """A metric of the predictions of all folds together."""
    examination = Examination(reading_of("pixel-class", len(task.codes)), task.score())
    for fold in folds:
        train = Subset(samples, fold.train.tolist())
        choice = choices[0]
        if len(choices) > 1:
            choice = best_of(choices, train, task, seed, metric)
        model = fitted(train, task, choice, seed)
        for batch, chips in batches(Subset(samples, fold.test.tolist())):
            examination.add(model, batch, chips)
    return examination.metrics()[metric]


def best_of(
    choices: Sequence[ModelChoice], train: Samples, task: PixelClasses, seed: int, metric: str
) -> ModelChoice:
    """The choice that does best on a quarter of the training groups, fitted on the others."""
    inner, judge = validation_of(train, read_truth(train, len(task.codes)), seed)
    reading = reading_of("pixel-class", len(task.codes))
    scores = [
        main_score(task, reading, metric, fitted(inner, task, choice, seed), judge)
        for choice in choices
    ]
    return choices[int(np.argmax(scores))]


def fitted(train: Samples, task: PixelClasses, choice: ModelChoice, seed: int) -> Model:
    return fit_model(train, task, choice, seed, lambda *_: None)


CITIES = """
import json, sys
from pydantic import TypeAdapter
from earthloom import verbs
from earthloom.progress import set_quiet
from earthloom.project import ModelChoice, load_project

set_quiet(True)
file, data, seed, out, model, places = sys.argv[1:]
project = load_project(file, seed=int(seed), out=out)
pattern = project.archive.pattern
if places:
    pattern = pattern.replace("(?P<place>[^/]+)", f"(?P<place>{places})")
changes = {
    "archive": project.archive.model_copy(update={"path": data, "pattern": pattern}),
    "labels": project.labels.model_copy(update={"path": data + "/{place}/cm/{place}-cm.tif"}),
}
if model:
    changes["model"] = TypeAdapter(ModelChoice).validate_json(model)
    changes["assess"] = project.assess.model_copy(update={"baselines": ()})
print(json.dumps(verbs.assess(project.model_copy(update=changes))))
"""
"""In a process of its own, which gives its memory back."""

FEW_CITIES = "beihai|bercy|pisa"


def oscd(way: str, seed: int, options: Options) -> Mapping[str, float]:
    """F1 of change over all pixels of the nine cities, by `examples/oscd`; ours and the forest come
    of one run. Cubes and chips are made once."""
    model = small_unet(options).model_dump_json() if way == "unet" else ""
    project = ROOT / "examples" / "oscd" / "project.yaml"
    data = (options.data / "oscd").resolve()
    out = options.keep / ("oscd-quick" if options.quick else "oscd")
    places = FEW_CITIES if options.quick else ""
    given = [str(project), str(data), str(seed), str(out.resolve()), model, places]
    command = [sys.executable, "-c", CITIES, *given]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    summary = json.loads(done.stdout.splitlines()[-1])
    if way == "unet":
        return {"unet": float(summary["f1"])}
    return {"ours": float(summary["f1"]), "forest": float(summary["forest_f1"])}


def wealth(way: str, seed: int, options: Options) -> Mapping[str, float]:
    """R2 over the clusters of all countries, each country said by models of the others."""
    share = 0.1 if options.quick else poverty.DRAWN
    return {way: poverty.r2_of(way, seed, options.data / "africa_poverty_tabular", share)}


def crowns(place: str, way: str, seed: int, options: Options) -> Mapping[str, float]:
    """Average precision at an overlap of 0.5, of both ways, which are chosen side by side."""
    figures = crown_figures(seed, options)
    return {each: figures[f"{each}_{place}_ap_50"] for each in CROWN_WAYS}


@cache
def crown_figures(seed: int, options: Options) -> Mapping[str, float]:
    """Both places by the same detectors."""
    steps = 10 if options.quick else trees.STEPS
    return trees.run(*trees.places(options.data / "neon_trees"), seed, trees.FOLDS, steps)


SETS: Mapping[str, RealSet] = {
    **{
        name: RealSet("macro-F1", "timeseries_labelled", 5, partial(series, name))
        for name in ("prodes", "mt_9", "cerrado_11", "ieda")
    },
    "oscd": RealSet("F1 of change", "oscd", 3, oscd),
    "dubai": RealSet("macro-IoU", "dubai_seg", 3, dubai),
    "poverty": RealSet("R2", "africa_poverty_tabular", 5, wealth, tuple(poverty.WAYS), beside=True),
    **{
        name: RealSet("AP at 0.5", "neon_trees", 2, partial(crowns, place), CROWN_WAYS, beside=True)
        for name, place in (("trees", "sjer"), ("trees_harv", "harv"))
    },
}


@dataclass(frozen=True)
class Kept:
    """Scores in a file, a line of JSON each; a line that was cut off by a kill is passed over."""

    file: Path

    def read(self) -> dict[tuple[str, str, int], float]:
        found = {}
        for line in self.file.read_text().splitlines() if self.file.is_file() else []:
            try:
                name, way, seed, score, _ = json.loads(line)
            except ValueError:
                continue
            found[name, way, seed] = score
        return found

    def add(self, name: str, way: str, seed: int, score: float, seconds: float) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as stream:
            stream.write("\n" + json.dumps([name, way, seed, score, round(seconds, 1)]))


def summary(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, object]:
    """Mean, spread, and whether ours is ahead of every baseline."""
    ours = scores["ours"]
    errors = {way: errors_ahead(ours - each) for way, each in scores.items() if way != "ours"}
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


def parsed() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the sets")
    parser.add_argument(
        "--seeds", type=int, help="how many, from 0 (tables 5, images 3, trees 2, quick 2)"
    )
    parser.add_argument("--sets", default=",".join(SETS), help="which, with commas between")
    parser.add_argument("--keep", type=Path, help="folder of scores, to go on from")
    parser.add_argument("--quick", action="store_true", help="a trial whose scores mean nothing")
    given = parser.parse_args()
    unknown = [name for name in given.sets.split(",") if name not in SETS]
    if unknown:
        parser.error(f"unknown set '{unknown[0]}'; valid are: {', '.join(SETS)}")
    return given


def main() -> int:
    """Runs the benchmark; 2 where there is no data."""
    given = parsed()
    names = given.sets.split(",")
    missing = [name for name in names if not (given.data / SETS[name].folder).is_dir()]
    if missing:
        print(f"no data of {', '.join(missing)} in {given.data}; see --data", file=sys.stderr)
        return 2
    found = {}
    with tempfile.TemporaryDirectory() as gone:
        keep = given.keep or Path(gone)
        kept = Kept(keep / ("quick.jsonl" if given.quick else "scores.jsonl"))
        options = Options(given.data, given.quick, keep)
        for name in names:
            seeds = given.seeds or (2 if given.quick else SETS[name].seeds)
            found[name] = summary(scores_of(name, seeds, options, kept))
            print(line_of(name, found[name]), flush=True)
    ahead = sum(bool(each["ahead"]) for name, each in found.items() if not SETS[name].beside)
    figures = {"benchmark": "tasks", "quick": given.quick, "sets": found, "sets_ahead": ahead}
    print(json.dumps(figures))
    return 0


def scores_of(
    name: str, seeds: int, options: Options, kept: Kept
) -> dict[str, NDArray[np.float64]]:
    """Each way's score of each seed; what is kept is not done again."""
    for seed in range(seeds):
        for way in SETS[name].ways:
            if (name, way, seed) not in kept.read():
                began = time.perf_counter()
                for scored, value in SETS[name].score(way, seed, options).items():
                    kept.add(name, scored, seed, value, time.perf_counter() - began)
    known = kept.read()
    ways = SETS[name].ways
    return {way: np.array([known[name, way, seed] for seed in range(seeds)]) for way in ways}


def line_of(name: str, found: Mapping[str, object]) -> str:
    """A row of the table."""
    spread = found["spread"]
    assert isinstance(spread, dict)
    parts = [f"{way} {found[way]:.3f} +- {each:.3f}" for way, each in spread.items()]
    return f"{name:<11} {SETS[name].metric:<13} {'   '.join(parts)}   ahead: {found['ahead']}"


if __name__ == "__main__":
    sys.exit(main())
