"""A small search, on training data alone, for how each task is trained without being told.

    python benchmarks/defaults.py [--data FOLDER] [--tasks boxes,...] [--keep FOLDER] [--quick]

Every task has the same trials, around its row of `src/earthloom/fit/training/defaults.toml`: one
thing is changed at a time (`TRIALS`), but for the last trial, which joins the two best changes.
Every trial is trained from scratch by the default adaptation on the training part of a split, and
scored by the task's main metric on its validation part, which is a quarter of the training groups;
split n holds out quarter n (in turns), and has the seed n. Test data is never read.

1. Every trial on two splits.
2. Successive halving (Jamieson and Talwalkar 2016) in one step: the two best changes, both
   together, and the present values, on four further splits. The further splits alone decide, so
   that luck in the first round does not count.
3. What is ahead there meets the present values again, on the same splits, at the full steps and
   batch of the row: a rate that is right for few steps is often too high for many.

A change is taken where its mean is ahead of that of the present values by more than `AHEAD`
standard errors of the differences, paired by split, in the second round and in the third. More
steps cost more: they are shown, and never taken by the search (`FREE`). Networks, chips and steps
are small, so that a task takes about three minutes of an idle core (boxes half an hour, and a third
round as long again); see docs/training.md for what that means.

With `--keep`, each score is a line of JSON in a file there: run again, it does what is missing.
`--quick` trains for two steps, and its scores mean nothing.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from defaults_sets import SETS, SearchSet
from numpy.typing import NDArray

from earthloom.bench.examine import main_score
from earthloom.chips.folds import deal_groups
from earthloom.fit.training import Training
from earthloom.fit.training.adapt import Full
from earthloom.fit.training.defaults import defaults_for
from earthloom.fit.training.settings import NO_CHANGES
from earthloom.sample import Samples, Subset

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
QUARTERS = 4
FIRST, FURTHER = (0, 1), (2, 3, 4, 5)
"""Splits of the two rounds."""
AHEAD = 2.0
"""Standard errors."""
PRESENT, JOINED = "present values", "both of the best"


@dataclass(frozen=True)
class Change:
    """What a trial does otherwise; as it stands, the present values."""

    rate: float = 1.0
    """What the learning rate is multiplied by."""
    steps: float = 1.0
    """What the steps are multiplied by."""
    batch: float = 1.0
    """What the batch is multiplied by, and the steps divided by: as many chips are drawn."""
    decay: float | None = None
    """Weight decay, where it is another one."""
    average: bool = True
    """Whether the weights are averaged (EMA)."""
    turned: bool = True
    """Whether chips are flipped and turned."""

    def training(self, base: Training) -> Training:
        """The settings of a trial."""
        return replace(
            base,
            learning_rate=base.learning_rate * self.rate,
            batch=max(round(base.batch * self.batch), 1),
            steps=max(round(base.steps * self.steps / self.batch), 1),
            weight_decay=base.weight_decay if self.decay is None else self.decay,
            ema=base.ema if self.average else None,
            changes=base.changes if self.turned else NO_CHANGES,
        )

    def joined(self, other: "Change") -> "Change":
        """Both changes; where both change the same thing, that of `self`."""
        plain = Change()
        own = {f.name for f in fields(self) if getattr(self, f.name) != getattr(plain, f.name)}
        return replace(other, **{name: getattr(self, name) for name in own})


TRIALS: Mapping[str, Change] = {
    PRESENT: Change(),
    "rate x 1/3": Change(rate=1 / 3),
    "rate x 3": Change(rate=3),
    "twice the batch, half the steps": Change(batch=2),
    "weight decay 0.1": Change(decay=0.1),
    "no average of the weights": Change(average=False),
    "neither flips nor turns": Change(turned=False),
    "half the steps": Change(steps=0.5),
    "twice the steps": Change(steps=2),
}
FREE = tuple(name for name, change in TRIALS.items() if change.steps <= 1)
"""What costs no more than the present values, and may be taken."""


@dataclass(frozen=True)
class Kept:
    """Scores in a file, a line of JSON each; a line that was cut off by a kill is passed over."""

    file: Path

    def read(self) -> dict[tuple[str, str, int], float]:
        """By task, trial and split."""
        found = {}
        for line in self.file.read_text().splitlines() if self.file.is_file() else []:
            try:
                task, trial, split, score, _ = json.loads(line)
            except ValueError:
                continue
            found[task, trial, split] = score
        return found

    def add(self, task: str, trial: str, split: int, score: float, seconds: float) -> None:
        """Writes a score down."""
        with self.file.open("a") as stream:
            stream.write("\n" + json.dumps([task, trial, split, score, round(seconds, 2)]))


@dataclass(frozen=True)
class Search:
    """The search of one task."""

    task: str
    given: SearchSet
    kept: Kept
    quick: bool
    full: bool = False
    """Whether the row's own steps and batch are taken, and not those of the set."""

    def scores(self, trial: str, change: Change, splits: Sequence[int]) -> NDArray[np.float64]:
        """The scores of a trial; what is kept is not done again."""
        name = f"{trial}, full length" if self.full else trial
        for split in splits:
            if (self.task, name, split) not in self.kept.read():
                began = time.process_time()
                score = self._score(change, split)
                self.kept.add(self.task, name, split, score, time.process_time() - began)
        known = self.kept.read()
        return np.array([known[self.task, name, split] for split in splits])

    def base(self) -> Training:
        """The row of the task, on the budget of the set."""
        row, given = defaults_for(self.given.task, "network"), self.given
        if self.full and not self.quick:
            return replace(row, crop=given.crop)
        steps = 2 if self.quick else given.steps
        return replace(row, steps=steps, batch=given.batch, crop=given.crop)

    def _score(self, change: Change, split: int) -> float:
        given = self.given
        train, judge = split_of(given.samples, split)
        torch.manual_seed(split)
        encoder = given.encoder(train, given.width)
        adaptation = Full(training=change.training(self.base()))
        model = adaptation.fit(encoder, train, given.task, split)
        return main_score(given.task, None, given.task.main, model, judge)


def split_of(samples: Samples, split: int) -> tuple[Samples, Samples]:
    """Three quarters of the groups to train on, and the quarter that judges."""
    quarter = deal_groups(samples.groups, QUARTERS, seed=0)
    held = quarter == split % QUARTERS
    return (
        Subset(samples, np.flatnonzero(~held).tolist()),
        Subset(samples, np.flatnonzero(held).tolist()),
    )


@dataclass(frozen=True)
class Row:
    """What was seen of a trial, in one round."""

    mean: float
    spread: float
    gain: float
    """Over the present values, paired by split."""
    error: float
    """Standard error of the gain."""


def row_of(scores: NDArray[np.float64], present: NDArray[np.float64]) -> Row:
    """Means and standard deviations of a trial's scores beside the present ones."""
    apart = scores - present
    error = float(apart.std(ddof=1) / len(apart) ** 0.5)
    return Row(float(scores.mean()), float(scores.std(ddof=1)), float(apart.mean()), error)


def best_two(first: Mapping[str, Row]) -> tuple[str, str]:
    """The two changes of the first round with the highest means that may be taken."""
    ranked = sorted(
        (name for name in FREE if name != PRESENT), key=lambda name: first[name].mean, reverse=True
    )
    return ranked[0], ranked[1]


def chosen_of(further: Mapping[str, Row]) -> str:
    """The best trial of the last round that is ahead beyond its error, else the present values."""
    ahead = [name for name, row in further.items() if row.gain > AHEAD * row.error and row.gain > 0]
    return max(ahead, key=lambda name: further[name].mean, default=PRESENT)


def searched(search: Search) -> dict[str, object]:
    """Both rounds of a task, printed as they come."""
    base, given = search.base(), search.given
    print(
        f"\n{search.task}: {given.what}; {base.steps} steps of {base.batch} chips, "
        f"{base.learning_rate:g}; {given.task.main}",
        flush=True,
    )
    present = search.scores(PRESENT, TRIALS[PRESENT], FIRST)
    first = {}
    for name, change in TRIALS.items():
        first[name] = row_of(search.scores(name, change, FIRST), present)
        print(line_of("1", name, first[name]), flush=True)
    one, two = best_two(first)
    joined = TRIALS[one].joined(TRIALS[two])
    last = {PRESENT: Change(), one: TRIALS[one], two: TRIALS[two], JOINED: joined}
    present = search.scores(PRESENT, last[PRESENT], FURTHER)
    further = {}
    for name, change in last.items():
        further[name] = row_of(search.scores(name, change, FURTHER), present)
        print(line_of("2", name, further[name]), flush=True)
    chosen, held = chosen_of(further), None
    if chosen != PRESENT:
        whole = replace(search, full=True)
        present = whole.scores(PRESENT, last[PRESENT], FURTHER)
        print(line_of("3", PRESENT, row_of(present, present)), flush=True)
        held = row_of(whole.scores(chosen, last[chosen], FURTHER), present)
        print(line_of("3", chosen, held), flush=True)
        chosen = chosen_of({chosen: held})
    print(f"   chosen: {chosen}" + (f" ({one}, {two})" if chosen == JOINED else ""), flush=True)
    return {
        "data": given.what,
        "steps": base.steps,
        "batch": base.batch,
        "learning_rate": base.learning_rate,
        "metric": given.task.main,
        "first": {name: _rounded(row) for name, row in first.items()},
        "further": {name: _rounded(row) for name, row in further.items()},
        "full_length": None if held is None else _rounded(held),
        "joined": [one, two],
        "chosen": chosen,
    }


def line_of(number: str, name: str, row: Row) -> str:
    """A row of the table."""
    gain = "" if name == PRESENT else f"   gain {row.gain:+.4f}, error {row.error:.4f}"
    return f"   {number}  {name:<32} {row.mean:.4f} +- {row.spread:.4f}{gain}"


def _rounded(row: Row) -> dict[str, float]:
    return {f.name: round(getattr(row, f.name), 5) for f in fields(row)}


def parsed() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the sets")
    parser.add_argument("--tasks", default=",".join(SETS), help="which, with commas between")
    parser.add_argument("--keep", type=Path, help="folder of scores, to go on from")
    parser.add_argument("--quick", action="store_true", help="a trial whose scores mean nothing")
    given = parser.parse_args()
    unknown = [name for name in given.tasks.split(",") if name not in SETS]
    if unknown:
        parser.error(f"unknown task '{unknown[0]}'; valid are: {', '.join(SETS)}")
    return given


def main() -> int:
    """Runs the search; 2 where there is no data."""
    given = parsed()
    if not given.data.is_dir():
        print(f"no data in {given.data}; see --data", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as gone:
        folder = given.keep or Path(gone)
        folder.mkdir(parents=True, exist_ok=True)
        kept = Kept(folder / ("quick.jsonl" if given.quick else "scores.jsonl"))
        for task in given.tasks.split(","):
            found[task] = searched(Search(task, SETS[task](given.data), kept, given.quick))
    print(json.dumps({"benchmark": "defaults", "quick": given.quick, "tasks": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
