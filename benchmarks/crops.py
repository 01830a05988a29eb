"""Crops and land cover from pixel series: the `ridge` model beside a random forest, same folds.

    python benchmarks/crops.py [--data FOLDER] [--seeds 5] [--tables mt_9,prodes]

Four tables of labelled MODIS MOD13Q1 series. Blocks of 1 degree (0.1 degree for ieda) are dealt to
5 folds; each fold is predicted by a model that saw the others. The seed decides the deal and the
model. Accuracy and macro-F1 are taken from the predictions of all folds together; macro-F1 is the
mean of F1 over all classes of the table, a class that is never hit counting 0.

Peer: a random forest of 300 trees on the raw series (scikit-learn's defaults), Breiman 2001.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from earthloom.chips.folds import deal_folds
from earthloom.chips.series import SeriesSamples, read_table
from earthloom.fit import Model
from earthloom.fit.closed_form import fit_closed_form
from earthloom.project import ForestModel, RidgeModel
from earthloom.sample import Subset, chips_of
from earthloom.sample.batch import collate
from earthloom.sensors import load_sensor
from earthloom.tasks import PixelClasses

DATA = Path(__file__).parents[1] / "../shared/data/timeseries_labelled"
TABLES = {
    "mt_9": ("modis_mt_9classes.npz", 1.0),
    "cerrado_11": ("modis_cerrado_11classes.npz", 1.0),
    "ieda": ("modis_ieda_agri.npz", 0.1),
    "prodes": ("modis_prodes_226_064.npz", 1.0),
}
"""File and side of a block in degrees."""
CHOICES = (RidgeModel(name="ridge"), ForestModel(name="forest", trees=300))
FOLDS = 5


@dataclass(frozen=True)
class Result:
    """One model on one table, one figure a seed."""

    table: str
    model: str
    accuracy: list[float]
    macro_f1: list[float]
    calibration_error: list[float]
    """Expected calibration error over ten bins of confidence (Guo et al. 2017)."""
    seconds: list[float]
    """To fit and predict all folds."""


def main() -> int:
    """Runs the benchmark; 2 where there is no data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tables")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0")
    parser.add_argument("--tables", default=",".join(TABLES), help="which tables")
    given = parser.parse_args()
    names = given.tables.split(",")
    missing = [name for name in names if not (given.data / TABLES[name][0]).exists()]
    if missing:
        print(
            f"no tables {', '.join(missing)} in {given.data}; name their folder with --data",
            file=sys.stderr,
        )
        return 2
    print(f"{'table':<11} {'model':<7} {'accuracy':>15} {'macro-F1':>15} {'ECE':>6} {'s/seed':>7}")
    results = []
    for name in names:
        samples, task = read(given.data, name)
        for choice in CHOICES:
            result = run(name, samples, task, choice, given.seeds)
            print(line_of(result), flush=True)
            results.append(result)
    print(json.dumps({"benchmark": "crops", "results": [vars(result) for result in results]}))
    return 0


def read(folder: Path, name: str) -> tuple[SeriesSamples, PixelClasses]:
    """A table as samples, and its classes as a task."""
    file, block = TABLES[name]
    with np.load(folder / file, allow_pickle=False) as table:
        names = sorted(set(table["y"].tolist()))
    codes = {each: number for number, each in enumerate(names, start=1)}
    samples = read_table(folder / file, load_sensor("modis-mod13q1"), (), codes, block)
    task = PixelClasses(tuple(codes.values()), tuple(names), ((0, 0, 0),) * len(names))
    return samples, task


def run(
    table: str,
    samples: SeriesSamples,
    task: PixelClasses,
    choice: RidgeModel | ForestModel,
    seeds: int,
) -> Result:
    """All seeds of one model on one table."""
    result = Result(table, choice.name, [], [], [], [])
    true = samples.codes.astype(np.intp) - 1
    for seed in range(seeds):
        started = time.perf_counter()
        shares = np.empty((len(samples), len(task.codes)), dtype=np.float32)
        for fold in deal_folds(samples.groups, FOLDS, seed):
            model = fit_closed_form(Subset(samples, fold.train.tolist()), task, choice, seed)
            shares[fold.test] = predict(model, Subset(samples, fold.test.tolist()))
        result.seconds.append(time.perf_counter() - started)
        chosen = shares.argmax(axis=1)
        result.accuracy.append(float((chosen == true).mean()))
        result.macro_f1.append(macro_f1(chosen, true, len(task.codes)))
        result.calibration_error.append(calibration_error(shares, true))
    return result


def predict(model: Model, samples: Subset) -> NDArray[np.float32]:
    """(n, K) class probabilities of single pixels."""
    probabilities: torch.Tensor = model.probabilities(collate(list(chips_of(samples))))
    shares: NDArray[np.float32] = probabilities[:, :, 0, 0].numpy()
    return shares


def macro_f1(chosen: NDArray[np.intp], true: NDArray[np.intp], classes: int) -> float:
    """Mean of F1 over all classes."""
    counts = np.bincount(true * classes + chosen, minlength=classes**2).reshape(classes, classes)
    both = counts.sum(axis=0) + counts.sum(axis=1)
    return float(np.mean(2 * np.diag(counts) / np.maximum(both, 1)))


def calibration_error(shares: NDArray[np.float32], true: NDArray[np.intp]) -> float:
    """Mean distance of confidence from accuracy over ten bins, weighted by their counts."""
    sure, right = shares.max(axis=1), shares.argmax(axis=1) == true
    bins = np.minimum((sure * 10).astype(int), 9)
    gaps = [abs((sure[bins == b] - right[bins == b]).sum()) for b in range(10)]
    return float(np.sum(gaps) / len(true))


def line_of(result: Result) -> str:
    """A row of the table: mean +- standard deviation over seeds."""

    def spread(values: list[float]) -> str:
        return f"{np.mean(values):.3f} +- {np.std(values):.3f}"

    return (
        f"{result.table:<11} {result.model:<7} {spread(result.accuracy):>15} "
        f"{spread(result.macro_f1):>15} {np.mean(result.calibration_error):6.3f} "
        f"{np.mean(result.seconds):7.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
