"""From the project file's choice of a model to the function that fits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earthloom.errors import ContractError
from earthloom.fit.boosted_change import fit_boosted_change
from earthloom.fit.closed_form import fit_closed_form
from earthloom.fit.frozen import shallow_of
from earthloom.fit.model import Model
from earthloom.sample import Samples
from earthloom.tasks import PixelClasses
from earthloom.tasks.pixel_values import PixelValueTask

if TYPE_CHECKING:
    from earthloom.progress import Tick
    from earthloom.project import ModelChoice


def fit_model(
    samples: Samples,
    task: PixelClasses | PixelValueTask,
    choice: ModelChoice,
    seed: int,
    tick: Tick,
) -> Model:
    """Fits the chosen model to the samples; the same seed gives the same model on one machine.

    ContractError for a model that does not serve the task.
    """
    if isinstance(task, PixelClasses):
        return _fit_classes(samples, task, choice, seed, tick)
    if choice.name == "boosted-change":
        raise ContractError(
            f"the model '{choice.name}' tells classes, not numbers; valid: ridge, forest, boosted, "
            "loom, unet"
        )
    from earthloom.fit.values import fit_values

    return fit_values(samples, task, choice, seed, tick)


def _fit_classes(
    samples: Samples, task: PixelClasses, choice: ModelChoice, seed: int, tick: Tick
) -> Model:
    if choice.name == "unet":
        # Lightning takes seconds to import, which the other fits need not wait for.
        from earthloom.fit.network import fit_network

        return fit_network(samples, task, choice, seed, tick)
    if choice.name == "boosted-change":
        return fit_boosted_change(samples, task, choice, seed, tick)
    if choice.name == "boosted":
        encoder, adaptation = shallow_of(samples, choice)
        return adaptation.fit(encoder, samples, task, seed)
    return fit_closed_form(samples, task, choice, seed, tick)
