"""The weights of a pretraining as they are now, whether it is done or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from earthloom.encoders.loom import Loom, save_weights
from earthloom.encoders.loom.weights import write_checksum
from earthloom.errors import DataError
from earthloom.fit.training.checkpoint import Checkpoint, load_checkpoint
from earthloom.pretrain.card import card_of
from earthloom.pretrain.even import even_out, measure_slots
from earthloom.pretrain.job import job_of
from earthloom.pretrain.learner import faces_of, flat_statistics
from earthloom.pretrain.run import history_of
from earthloom.pretrain.settings import Pretraining
from earthloom.sample import LayerSpec

_FACE = "faces.0."
"""What the names of the encoder's parameters begin with: all faces share the first one's."""


def export(settings: Pretraining, file: Path) -> dict[str, Any]:
    """Writes the encoder of a folder's checkpoint with a card, and a checksum beside it; the card.

    The average of the weights is taken where there is one, so that any step will do while the
    learning rate is constant. A pretraining that runs is not disturbed. DataError where there is no
    checkpoint, or one of other settings or chips.
    """
    opened = tuple(source.open() for source in settings.sources)
    found = load_checkpoint(settings.folder)
    if found is None:
        raise DataError(f"{settings.folder} holds no checkpoint; valid is one of this pretraining")
    if found.job != job_of(settings, opened, settings.devices):
        raise DataError(
            f"the checkpoint in {settings.folder} is of another pretraining; valid is one of the "
            "same settings, chips and devices"
        )
    loom = _loom_of(found, tuple(opened[0].specs.values()), settings.size)
    state, history = found.state, history_of(found.state)
    used = state["kwh"], state["seconds"], state["device"], state["step"]
    card = card_of(settings, history, *used)
    faces = faces_of(loom, opened)
    measure_slots(faces, opened, settings.sources)
    even_out(faces, opened, settings.sources)
    save_weights(loom, file, card=card)
    write_checksum(file)
    return card


@torch.no_grad()
def _loom_of(found: Checkpoint, layers: tuple[LayerSpec, ...], size: str) -> Loom:
    # Statistics are of the layers, and no part of the weights.
    loom = Loom(layers, flat_statistics(layers), size)
    values = found.tensors.get("average") or found.tensors["model"]
    for name, parameter in loom.named_parameters():
        parameter.copy_(values[f"{_FACE}{name}"])
    return loom
