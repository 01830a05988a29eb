"""Where a training stands between two steps, in one file that is whole or not there.

The file is safetensors; what is not a tensor stands as JSON in its header, so that the two can
never be of different steps. Nothing is pickled.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from earthloom.errors import DataError
from earthloom.stages import disk_errors

FILE = "checkpoint.safetensors"
_STATE, _PARTIAL = "state", ".partial"
_SEPARATOR = "|"


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the next step depends on."""

    job: str
    """Digest of the settings and of what is trained; another job cannot go on from here."""
    tensors: Mapping[str, Mapping[str, Tensor]]
    """By what they are (`model`, `optimiser`, `average`, `best`, `random`), then by name."""
    state: Mapping[str, Any]
    """JSON values: the step, the loader's position, the history."""


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Replaces the checkpoint of a folder; a kill leaves the old one or the new one."""
    path = folder / FILE
    partial = path.with_name(f"{FILE}.{uuid.uuid4().hex}{_PARTIAL}")
    flat = {
        f"{kind}{_SEPARATOR}{name}": value.detach().cpu().contiguous()
        for kind, named in checkpoint.tensors.items()
        for name, value in named.items()
    }
    text = json.dumps({"job": checkpoint.job, "state": checkpoint.state})
    with disk_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            save_file(flat, partial, {_STATE: text})
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint of a folder, its tensors on the processor; None where there is none.

    DataError where it is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    tensors: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            card = json.loads(file.metadata()[_STATE])
            for key in file.keys():  # noqa: SIM118 - a handle, not a mapping
                kind, name = key.split(_SEPARATOR, 1)
                tensors.setdefault(kind, {})[name] = file.get_tensor(key)
        return Checkpoint(card["job"], tensors, card["state"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"the checkpoint {path} is damaged: {error}; remove it to train from the start"
        ) from error


def sweep(folder: Path) -> None:
    """Removes what killed runs left half-written."""
    for path in folder.glob(f"*{_PARTIAL}"):
        path.unlink(missing_ok=True)


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's moments, by the number of the parameter and their own name."""
    state = optimiser.state_dict()["state"]
    return {f"{n}.{name}": value for n, each in state.items() for name, value in each.items()}


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts moments back; the groups are those that the optimiser was made with."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def random_tensors(device: torch.device) -> dict[str, Tensor]:
    """Where torch's random numbers stand."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def load_random(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Goes on with the same random numbers; those of a GPU only if it was one before."""
    torch.set_rng_state(tensors["cpu"])
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)
