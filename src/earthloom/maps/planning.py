"""How a project's model is evaluated for its maps."""

import torch

from earthloom.cube import Cube
from earthloom.errors import DataError
from earthloom.fit import Model
from earthloom.fit.plan import Plan, is_network
from earthloom.fit.trial import Chosen, Wish, choose_plan
from earthloom.grid import cover
from earthloom.maps.examples import example_windows
from earthloom.project import MapChoice
from earthloom.sample import Moments

AUTO = "auto"


def stated_plan(model: Model, choice: MapChoice) -> Plan:
    """The plan that a project file states: the same on all machines of a kind.

    Networks have channels side by side in memory, as all processors like it; other models are
    evaluated as they stand.
    """
    network = is_network(model)
    device = choice.device
    if device == AUTO:
        device = "cuda" if network and torch.cuda.is_available() else "cpu"
    return Plan(device, choice.precision if network else "fp32", channels_last=network)


def timed_plan(model: Model, cube: Cube, choice: MapChoice, moments: Moments | None) -> Chosen:
    """The fastest plan on this machine, tried on windows of the area.

    DataError where nothing was seen to try it on.
    """
    examples = example_windows(cube, model.layers, choice.window, 9, moments)
    if not examples:
        raise DataError(
            "nothing was seen in the area, so no plan can be timed on it; "
            "set map.precision to fp32 or bf16"
        )
    count = sum(1 for _ in cover(cube.shape, choice.window))
    return choose_plan(model, Wish(device=choice.device), examples[0], windows=count)
