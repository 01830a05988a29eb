"""Fitting without gradient descent: features of the labelled pixels, then one solve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earthloom.encoders.base import Encoder
from earthloom.encoders.time_features import TimeFeatures
from earthloom.fit.forest import grow_forest
from earthloom.fit.model import Member, Model
from earthloom.fit.ridge import BALANCE, solve_ridge
from earthloom.fit.shallow.gather import gather_pixel_classes
from earthloom.fit.shallow.rows import Rows
from earthloom.fit.statistics import statistics_of
from earthloom.sample import Samples
from earthloom.tasks import Head, PixelClasses

if TYPE_CHECKING:
    from earthloom.progress import Tick
    from earthloom.project import ForestModel, RidgeModel


def fit_closed_form(
    samples: Samples,
    task: PixelClasses,
    choice: RidgeModel | ForestModel,
    seed: int,
    tick: Tick | None = None,
) -> Model:
    """A model of the samples' labelled pixels; LabelError if they show fewer than two classes."""
    layers = tuple(samples.specs.values())
    statistics = statistics_of(samples)
    encoder: Encoder
    if choice.name == "forest":
        encoder = TimeFeatures(layers, statistics, only_bands=True)
    else:
        encoder = TimeFeatures(layers, statistics, radius=choice.radius)
    labelled = gather_pixel_classes(encoder.eval(), samples, task, seed, tick=tick)
    head: Head
    if choice.name == "forest":
        head, found = _forest(labelled, task, choice, seed)
    else:
        head, found = _ridge(labelled, task, choice, seed)
    record = {
        "labels": dict(labelled.counts),
        "pixels": len(labelled),
        "settings": choice.as_inputs(),
        "seed": seed,
        "solution": found,
    }
    return Model((Member(encoder, head.eval()),), task, threshold=None, record=record)


def _ridge(
    labelled: Rows, task: PixelClasses, choice: RidgeModel, seed: int
) -> tuple[Head, dict[str, float]]:
    solved = solve_ridge(
        labelled.features,
        labelled.answers,
        labelled.groups,
        labelled.weights,
        class_count=len(task.codes),
        random_features=choice.random_features,
        seed=seed,
        repeats=labelled.repeats,
    )
    return solved.head, {
        "balance": BALANCE,
        "penalty": solved.penalty,
        "temperature": solved.temperature,
        "held_out_loss": solved.held_out_loss,
        "held_out_accuracy": solved.held_out_accuracy,
    }


def _forest(
    labelled: Rows, task: PixelClasses, choice: ForestModel, seed: int
) -> tuple[Head, dict[str, float]]:
    head = grow_forest(
        labelled.features,
        labelled.answers,
        class_count=len(task.codes),
        trees=choice.trees,
        seed=seed,
        weights=labelled.repeats,
    )
    return head, {"nodes": head.nodes, "depth": int(head.depths.max())}
