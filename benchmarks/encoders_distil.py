"""What is lost where a fitted Loom is distilled into a network some twenty times smaller.

Part of `benchmarks/encoders.py`, on two of its real sets: land use from series (cerrado_11) and
aerial images (dubai). The teacher is `loom-tiny`, all its weights fine-tuned on the training part;
the student a U-Net from scratch that learns by `earthloom.fit.distil` from the same chips. Whole
blocks, or whole tiles, are held out, as in the probes: the first fold of the deal of each seed.

`distil_ratio`: numbers that a saved teacher holds over those of the student, the least of the two.
`distil_drop_pp`: accuracy of the teacher on the held-out part less the student's, in percentage
points, mean over seeds, the largest of the two. Steps are few, for time: a teacher that trains
longer may be harder to follow.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoders_sets import SETS, Opened, digest_of_weights
from tasks import Kept

from earthloom.bench.examine import main_score, reading_of
from earthloom.bench.pieces import Held
from earthloom.chips.folds import deal_folds
from earthloom.encoders.loom import load_loom
from earthloom.encoders.unet import UNet
from earthloom.fit.distil import Distil
from earthloom.fit.model import Model
from earthloom.fit.statistics import statistics_of
from earthloom.fit.training.adapt import Full
from earthloom.fit.training.settings import Training
from earthloom.sample import Samples, Subset
from earthloom.tasks import PixelClasses

SEEDS = 2
_HELD = 100_000_000
"""Bytes of chips that are read once."""


@dataclass(frozen=True)
class Lesson:
    """How a set is taught."""

    width: int
    levels: int
    """Of the student."""
    batch: int
    crop: int | None
    teacher_steps: int
    student_steps: int

    def training(self, steps: int, rate: float) -> Training:
        """So many steps, at such a rate of learning."""
        return Training(steps=steps, batch=self.batch, learning_rate=rate, crop=self.crop, ema=0.99)


LESSONS: Mapping[str, Lesson] = {
    "cerrado_11": Lesson(40, 1, 32, None, 200, 600),
    "dubai": Lesson(10, 3, 4, 96, 200, 600),
}
TEACHER_RATE, STUDENT_RATE = 5e-4, 4e-3


def measured(weights: Path, data: Path, keep: Path) -> dict[str, Any]:
    """`distil_ratio`, `distil_drop_pp` and what they are made of."""
    kept = Kept(keep / "distil.jsonl")
    label = digest_of_weights(weights)
    found = {}
    for name in LESSONS:
        opened = None
        for seed in range(SEEDS):
            if (f"{name} ratio", label, seed) in kept.read():
                continue
            opened = opened or SETS[name].open(data)
            began = time.perf_counter()
            for what, value in taught(name, opened, weights, seed).items():
                kept.add(f"{name} {what}", label, seed, value, time.perf_counter() - began)
        known = kept.read()
        found[name] = {
            what: float(np.mean([known[f"{name} {what}", label, seed] for seed in range(SEEDS)]))
            for what in ("teacher", "student", "ratio")
        }
        found[name]["drop_pp"] = 100 * (found[name]["teacher"] - found[name]["student"])
        print(f"{name:<12}", "   ".join(f"{k} {v:.3f}" for k, v in found[name].items()), flush=True)
    return {
        "distil_ratio": round(min(each["ratio"] for each in found.values()), 1),
        "distil_drop_pp": round(max(each["drop_pp"] for each in found.values()), 2),
        "distil": found,
    }


def taught(name: str, opened: Opened, weights: Path, seed: int) -> dict[str, float]:
    """Accuracies of teacher and student, and how many times smaller it is."""
    lesson, samples = LESSONS[name], Held(opened.views[0], most=_HELD)
    fold = deal_folds(samples.groups, SETS[name].folds, seed)[0]
    train, test = (Subset(samples, part.tolist()) for part in (fold.train, fold.test))
    codes = tuple(range(1, len(opened.classes) + 1))
    task = PixelClasses(codes, opened.classes, ((0, 0, 0),) * len(codes))
    layers, statistics = tuple(train.specs.values()), statistics_of(train)
    way = Full(lesson.training(lesson.teacher_steps, TEACHER_RATE))
    teacher = way.fit(load_loom(layers, statistics, weights), train, task, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        small = UNet(layers, statistics, lesson.width, lesson.levels, norm="batch")
    distil = Distil(lesson.training(lesson.student_steps, STUDENT_RATE), teacher=teacher)
    student = distil.fit(small, train, task, seed)
    return {
        "teacher": _accuracy(task, teacher, test),
        "student": _accuracy(task, student, test),
        "ratio": float(student.record["times_smaller"]),
    }


def _accuracy(task: PixelClasses, model: Model, test: Samples) -> float:
    return main_score(task, reading_of("pixel-class", len(task.codes)), "accuracy", model, test)
