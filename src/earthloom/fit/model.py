"""A model: encoders and heads with what they were trained on, kept as safetensors and a card."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from earthloom.encoders import Encoder, Statistics, mask_on_base_grid, on_base_grid
from earthloom.encoders.registry import ENCODERS
from earthloom.errors import DataError, choices
from earthloom.sample import LayerSpec, Shape2d
from earthloom.sample.batch import Batch
from earthloom.tasks import Head, PixelClasses
from earthloom.tasks.registry import HEADS

WEIGHTS = "model.safetensors"
CARD = "card.json"


@dataclass(frozen=True)
class Member:
    """One encoder with its head; a model averages the probabilities of one or more of them."""

    encoder: Encoder
    head: Head

    def probabilities(self, batch: Batch) -> Tensor:
        """(B, K, H, W) float32, summing to one over K; NaN where nothing was seen."""
        features = self.encoder(batch)
        shares = self.head(features.pixels).float().softmax(dim=1)
        seen, stride = features.seen, self.encoder.stride
        if stride > 1:
            shape = Shape2d(shares.shape[-2] * stride, shares.shape[-1] * stride)
            shares, seen = on_base_grid(shares, shape), mask_on_base_grid(seen, shape)
        return torch.where(seen[:, None], shares, torch.nan)


@dataclass(frozen=True)
class Model:
    """Encoders with heads, the task they were fitted for, and a record of the fitting."""

    members: tuple[Member, ...]
    task: PixelClasses
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
    def needs_moments(self) -> bool:
        """Whether it compares a chip with the whole place that it is of."""
        return any(member.encoder.needs_moments for member in self.members)

    @torch.inference_mode()
    def probabilities(self, batch: Batch) -> Tensor:
        """(B, K, H, W) float32, the mean over the members; NaN where nothing was seen."""
        shares = [member.probabilities(batch) for member in self.members]
        return torch.stack(shares).mean(dim=0)


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
        "task": vars(model.task),
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
    task = _tupled(card["task"])
    colours = tuple(tuple(colour) for colour in task["colours"])
    return Model(
        members=tuple(members),
        task=PixelClasses(task["codes"], task["names"], colours),
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


def _registered(registry: dict[str, Any], name: str, what: str) -> Any:
    if name not in registry:
        raise DataError(f"the model has an unknown {what} '{name}'; known: {choices(registry)}")
    return registry[name]


def _prefixed(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {prefix + name: value.contiguous() for name, value in module.state_dict().items()}


def _unprefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}


def _tupled(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
