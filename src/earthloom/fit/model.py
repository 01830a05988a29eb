"""A model: encoders and heads with what they were trained on, kept as safetensors and a card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from earthloom.encoders import Encoder, Statistics
from earthloom.encoders.registry import ENCODERS
from earthloom.errors import ContractError, DataError, choices
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch
from earthloom.tasks import Head
from earthloom.tasks.base import Task
from earthloom.tasks.planes import ClassesOfPixels, planes_of
from earthloom.tasks.registry import HEADS, TASKS

WEIGHTS = "model.safetensors"
CARD = "card.json"


@dataclass(frozen=True)
class Member:
    """One encoder with its head; a model averages the answers of one or more of them."""

    encoder: Encoder
    head: Head


def pixels_of(members: Sequence[Member], task: Task[Any], batch: Batch) -> Tensor:
    """(B, P, H, W) float32: what a map is blended from, one plane for each of `planes_of` the task.

    The mean over the members of the task's answers, class probabilities or numbers, the very ones
    that are scored; NaN where nothing was seen.
    """
    planes = len(planes_of(task))
    answers = [task.answer(member.head, member.encoder(batch)) for member in members]
    return _seen_mean(answers)[:, :planes]


@dataclass(frozen=True)
class Model:
    """Encoders with heads, the task they were fitted for, and a record of the fitting."""

    members: tuple[Member, ...]
    task: Task[Any]
    threshold: float | None
    """With two classes: the probability from which the second one is mapped."""
    record: dict[str, Any]
    """What it was fitted on: counts of labels by class, settings, seed."""

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        return self.members[0].encoder.layers

    @property
    def radius(self) -> int:
        """Pixels of the base grid that the model looks beyond the one it predicts."""
        return max(member.encoder.radius for member in self.members)

    @property
    def is_local(self) -> bool:
        """Whether what lies beyond the radius has no effect at all."""
        return all(each.encoder.is_local and each.head.is_local for each in self.members)

    @property
    def needs_moments(self) -> bool:
        """Whether it compares a chip with the whole place that it is of."""
        return any(member.encoder.needs_moments for member in self.members)

    @property
    def classes(self) -> ClassesOfPixels:
        """The task of a model that tells classes of pixels; ContractError for any other."""
        if isinstance(self.task, ClassesOfPixels):
            return self.task
        raise ContractError(
            f"a model of the task '{self.task.name}' tells no classes of pixels; that takes one of "
            "the task pixel-class or pixel-ordinal"
        )

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of the planes of `pixels`; ContractError for a task that says nothing of pixels."""
        return planes_of(self.task)

    @torch.inference_mode()
    def answer(self, batch: Batch) -> Any:
        """What the task says of each chip: the mean over the members.

        Answers that have no mean, such as boxes, are those of the one member; ContractError if
        there are several.
        """
        return _mean_of(
            [self.task.answer(each.head, each.encoder(batch)) for each in self.members], self.task
        )

    @torch.inference_mode()
    def probabilities(self, batch: Batch) -> Tensor:
        """(B, K, H, W) float32, summing to one over K, the mean over the members; NaN where nothing
        was seen. ContractError for a model that tells no classes of pixels."""
        return pixels_of(self.members, self.classes, batch)

    @torch.inference_mode()
    def pixels(self, batch: Batch) -> Tensor:
        """(B, P, H, W) float32, see `pixels_of`."""
        return pixels_of(self.members, self.task, batch)


def _seen_mean(answers: Sequence[Tensor]) -> Tensor:
    """The mean over members that say something; NaN where none does. A member of one sensor is
    silent where that sensor saw nothing."""
    return answers[0] if len(answers) == 1 else torch.stack(list(answers)).nanmean(dim=0)


def _mean_of(answers: Sequence[Any], task: Task[Any]) -> Any:
    """The mean of tensors, part by part where an answer has parts by name."""
    first = answers[0]
    if isinstance(first, Tensor):
        return _seen_mean(answers)
    if isinstance(first, Mapping):
        return {key: _mean_of([each[key] for each in answers], task) for key in first}
    if len(answers) == 1:
        return first
    raise ContractError(
        f"the answers of {len(answers)} members to the task '{task.name}' have no mean; such a "
        "model has one member"
    )


def save_model(model: Model, folder: Path) -> None:
    """Writes `model.safetensors` and `card.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    members = []
    for number, member in enumerate(model.members):
        tensors |= _prefixed(f"{number}.encoder.", member.encoder)
        tensors |= _prefixed(f"{number}.head.", member.head)
        members.append(
            {
                "encoder": {"name": member.encoder.name} | member.encoder.config(),
                "head": {"name": member.head.name} | member.head.config(),
            }
        )
    save_file(tensors, folder / WEIGHTS)
    card = {
        "members": members,
        "layers": [layer.to_json() for layer in model.layers],
        "task": {"name": model.task.name} | model.task.config(),
        "threshold": model.threshold,
        "record": model.record,
    }
    text = json.dumps(card, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def load_model(folder: Path) -> Model:
    """Reads a model; DataError if the folder holds none or its files are damaged."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, json.JSONDecodeError, SafetensorError) as error:
        raise DataError(
            f"no model can be read from {folder}: {error}; a model is a folder with "
            f"{WEIGHTS} and {CARD}, as 'earthloom fit' writes it"
        ) from error
    try:
        return _model(card, tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        # RuntimeError is torch's word for tensors that do not fit.
        raise DataError(f"the model in {folder} is damaged: {error!r}") from error


def _model(card: dict[str, Any], tensors: dict[str, Tensor]) -> Model:
    layers = tuple(LayerSpec.from_json(layer) for layer in card["layers"])
    members = [_member(layers, made, tensors, n) for n, made in enumerate(card["members"])]
    return Model(
        members=tuple(members),
        task=_task(card["task"]),
        threshold=card["threshold"],
        record=card["record"],
    )


def _member(
    layers: Sequence[LayerSpec], made: dict[str, Any], tensors: dict[str, Tensor], number: int
) -> Member:
    encoder_config, head_config = dict(made["encoder"]), dict(made["head"])
    encoder_class = _registered(ENCODERS, encoder_config.pop("name"), "encoder")
    head_class = _registered(HEADS, head_config.pop("name"), "head")
    # The real statistics are among the tensors that are loaded next.
    blank = {
        layer.key: Statistics((0.0,) * len(layer.bands), (1.0,) * len(layer.bands))
        for layer in layers
    }
    encoder = encoder_class(tuple(layers), blank, **encoder_config)
    head = head_class(**head_config)
    encoder.load_state_dict(_unprefixed(f"{number}.encoder.", tensors))
    head.load_state_dict(_unprefixed(f"{number}.head.", tensors))
    return Member(encoder.eval(), head.eval())


def _task(config: Mapping[str, Any]) -> Task[Any]:
    """A task from its card."""
    rest = dict(config)
    name = rest.pop("name")
    task: Task[Any] = _registered(TASKS, name, "task").from_config(rest)
    return task


def _registered(registry: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in registry:
        raise DataError(f"the model has an unknown {what} '{name}'; known: {choices(registry)}")
    return registry[name]


def _prefixed(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {prefix + name: value.contiguous() for name, value in module.state_dict().items()}


def _unprefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
