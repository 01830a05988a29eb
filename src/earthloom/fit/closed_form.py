"""Fitting without gradient descent: features of the labelled pixels, then one solve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earthloom.fit.frozen import shallow_of
from earthloom.fit.model import Member, Model
from earthloom.fit.shallow import gather
from earthloom.sample import Samples
from earthloom.tasks import PixelClasses

if TYPE_CHECKING:
    from earthloom.progress import Tick
    from earthloom.project import ForestModel, LoomModel, RidgeModel


def fit_closed_form(
    samples: Samples,
    task: PixelClasses,
    choice: RidgeModel | ForestModel | LoomModel,
    seed: int,
    tick: Tick | None = None,
) -> Model:
    """A model of the samples' labelled pixels; LabelError if they show fewer than two classes."""
    encoder, adaptation = shallow_of(samples, choice)
    labelled = gather(encoder, samples, task, seed, adaptation.most, tick=tick)
    head, found = adaptation.solved(labelled, seed)
    record = {
        "labels": dict(labelled.counts),
        "pixels": len(labelled),
        "settings": choice.as_inputs(),
        "seed": seed,
        "solution": found,
    }
    return Model((Member(encoder, head.eval()),), task, threshold=None, record=record)
