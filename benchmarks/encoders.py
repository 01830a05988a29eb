"""What pretraining is worth: frozen `loom-tiny` beside the same network untrained, random
convolutional features and the raw bands, under the same linear probes on five real sets.

    python benchmarks/encoders.py --weights FILE [--keep FOLDER] [--data FOLDER] [--seeds 5]
        [--sets prodes,oscd] [--parts probes,sensor,distil] [--included FILE]

| set | rows | folds | metric |
|---|---|---|---|
| cerrado_11, prodes | series of one pixel, 2459 and 617 | 5, of blocks of 1 degree | macro-F1 |
| ieda | 2500 of 7043 series | 5, of blocks of 0.1 degree | macro-F1 |
| oscd | 1 in 60 labelled pixels of nine cities | 3, of whole cities | F1 of change |
| dubai | 1 in 160 labelled pixels of 108 pieces of 256 px | 3, of whole tiles | mean IoU |

Rows are drawn once, each pixel as likely as the other, and serve training and test of all. Metrics
are of the predictions of all folds together. The seed decides the folds, the labels that are drawn
(5 or 20 a class, or all: 5000 at most), the untrained network's weights and the random filters, so
that ways are paired by it. All series of a table have the same days, since the days of some tell
the class.

The probe is logistic regression; its penalty, of ten, has the lowest loss on held-out groups of the
training rows. Both networks offer two readings, the features of the pixel, and those with the
cells of all levels around it; the same loss chooses, for both alike. Series of single pixels have
nothing around them, and one reading. A class of n rows counts as the root of n. Of OSCD the probe
sees the features of both dates and how far they are apart, for all encoders, and calls change as
often as there is change in the training cities: that share is taken as known. What an encoder takes
from a set without labels, the mean and spread of bands, for `missing_half` how ours go together
(`Loom.acquaint`), and patches for random filters, it takes from all images of the set at once.

`wins`, `losses`: of sets x budgets, those where ours is better, or worse, than the best of the
three (by its mean) by more than two standard errors of the paired differences. `missing_half`:
score above that of the majority class with half of the bands and dates hidden at test (bands alone
where there are fewer than three dates), over the same with all, all labels; mean over sets. See
`encoders_sensor.py` for `unseen_sensor`, and `encoders_distil.py` for `distil_*`.

With `--keep`, features and scores are kept as they come: run again, it does what is missing, and
with other weights only what hangs on them. Remove the folder when an encoder's code has changed.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import encoders_distil
import encoders_sensor
import numpy as np
from encoders_probe import Budget, scored
from encoders_sets import OURS, SETS, WAYS, Tables
from numpy.typing import NDArray
from tasks import AHEAD, Kept, deviation, errors_ahead

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
BUDGETS: tuple[Budget, ...] = (5, 20, None)
PARTS = ("probes", "sensor", "distil")


def scores_of(tables: Tables, way: str, budget: Budget, seed: int) -> dict[str, float]:
    """The metric over all folds; of ours with all labels also with half of the inputs hidden."""
    tested = {"": tables.coded(way, seed)}
    if way == OURS and budget is None:
        tested[" half"] = tables.coded(way, seed, half=True)
    chosen = SETS[tables.name]
    return scored(tested, tables.truth, chosen.folds, chosen.metric, budget, seed)


def probed(tables: Tables, seeds: int, kept: Kept) -> dict[str, Any]:
    """All scores of a set, by budget; what is kept is not done again."""
    names = {way: tables.label(way, 0) if way == OURS else way for way in WAYS}
    for seed in range(seeds):
        for way, label in names.items():
            for budget in BUDGETS:
                if (row_name(tables, budget), label, seed) in kept.read():
                    continue
                began = time.perf_counter()
                for condition, score in scores_of(tables, way, budget, seed).items():
                    spent = time.perf_counter() - began
                    kept.add(row_name(tables, budget) + condition, label, seed, score, spent)
    known = kept.read()

    def values(row: str, label: str) -> NDArray[np.float64]:
        return np.array([known[row, label, seed] for seed in range(seeds)])

    found: dict[str, Any] = {}
    for budget in BUDGETS:
        row = row_name(tables, budget)
        found[str(budget or "all")] = compared({w: values(row, n) for w, n in names.items()})
        print(line_of(row, found[str(budget or "all")]), flush=True)
    row, floor = row_name(tables, None), tables.truth.floor(SETS[tables.name].metric)
    whole, half = (values(each, names[OURS]).mean() for each in (row, f"{row} half"))
    found["floor"], found["half"] = round(floor, 4), round(float(half), 4)
    found["kept_of_half"] = round(float((half - floor) / (whole - floor)), 3)
    return found


def row_name(tables: Tables, budget: Budget) -> str:
    return f"{tables.name} {budget or 'all'}"


def compared(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Means and spreads, and ours against the best of the others."""
    others = {way: each for way, each in scores.items() if way != OURS}
    best = max(others, key=lambda way: float(others[way].mean()))
    ahead = errors_ahead(scores[OURS] - others[best])
    return {
        "mean": {way: round(float(each.mean()), 4) for way, each in scores.items()},
        "spread": {way: round(deviation(each), 4) for way, each in scores.items()},
        "best_other": best,
        "errors_ahead": round(ahead, 2),
        "win": ahead > AHEAD,
        "loss": ahead < -AHEAD,
    }


def line_of(row: str, found: Mapping[str, Any]) -> str:
    parts = [
        f"{way} {found['mean'][way]:.3f} +- {spread:.3f}" for way, spread in found["spread"].items()
    ]
    verdict = "win" if found["win"] else "loss" if found["loss"] else "level"
    return f"{row:<15} {'   '.join(parts)}   {found['errors_ahead']:+.1f} errors: {verdict}"


def probes(given: argparse.Namespace, keep: Path) -> dict[str, Any]:
    """All sets, and what is counted over them."""
    kept = Kept(keep / "scores.jsonl")
    found = {}
    for name in given.sets.split(","):
        tables = Tables(name, given.data, keep / "features", given.weights)
        found[name] = probed(tables, given.seeds, kept)
    rows = [found[name][str(budget or "all")] for name in found for budget in BUDGETS]
    return {
        "wins": sum(row["win"] for row in rows),
        "losses": sum(row["loss"] for row in rows),
        "of": len(rows),
        "missing_half": round(float(np.mean([each["kept_of_half"] for each in found.values()])), 3),
        "sets": found,
    }


def parsed() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of a loom")
    parser.add_argument("--included", type=Path, help="weights that saw Landsat, for unseen_sensor")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the sets")
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0")
    parser.add_argument("--sets", default=",".join(SETS), help="which, with commas between")
    parser.add_argument("--parts", default=",".join(PARTS), help="which, with commas between")
    parser.add_argument("--keep", type=Path, help="folder of features and scores, to go on from")
    given = parser.parse_args()
    for what, named, valid in (("set", given.sets, SETS), ("part", given.parts, PARTS)):
        unknown = [name for name in named.split(",") if name not in valid]
        if unknown:
            parser.error(f"unknown {what} '{unknown[0]}'; valid are: {', '.join(valid)}")
    return given


def missing(given: argparse.Namespace, parts: Sequence[str]) -> list[str]:
    """Sets whose data are not there."""
    names = given.sets.split(",") if "probes" in parts else []
    names += list(encoders_distil.LESSONS) if "distil" in parts else []
    return [name for name in names if not (given.data / SETS[name].folder).is_dir()]


def main() -> int:
    """Runs the benchmark; 2 where there is no data."""
    given = parsed()
    parts = given.parts.split(",")
    absent = missing(given, parts)
    if absent:
        print(f"no data of {', '.join(absent)} in {given.data}; see --data", file=sys.stderr)
        return 2
    found: dict[str, Any] = {"benchmark": "encoders", "weights": given.weights.name}
    with tempfile.TemporaryDirectory() as gone:
        keep = given.keep or Path(gone)
        if "probes" in parts:
            found |= probes(given, keep)
        if "sensor" in parts:
            found |= encoders_sensor.measured(given.weights, given.included, given.seeds)
        if "distil" in parts:
            found |= encoders_distil.measured(given.weights, given.data, keep)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
