"""A fitted network as ONNX files, which run without torch and without this package."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from earthloom.errors import ContractError, StageError
from earthloom.fit.card import METADATA_KEY, Card, card_of
from earthloom.fit.flat import MaskedInside
from earthloom.fit.model import Model
from earthloom.fit.plan import is_network
from earthloom.fit.quantise import write_int8
from earthloom.fit.runtimes import imported, quiet
from earthloom.sample import Shape2d
from earthloom.sample.batch import Batch

FLOAT = "model.onnx"
INT8 = "model-int8.onnx"
CHOICE = "export.json"
"""Which file and which runtime were measured to be fastest, see `earthloom.fit.exported`."""

_MOST_WINDOWS = 1024
_MOST_PIXELS = 65_536
"""Largest batch, and greatest height and width in pixels of the coarsest layer, that a graph says
it takes."""
_LEVELS = 4
"""The image that is traced is some pixels larger than 2 to the power of this."""


def export_model(
    model: Model, folder: Path, window: Shape2d | None = None, calibration: Sequence[Batch] = ()
) -> list[Path]:
    """Writes `model.onnx`, and with `calibration` windows `model-int8.onnx`; returns what it wrote.

    Both hold the whole of `Model.probabilities`, from the mask to the mean over members, take any
    number of windows of any size, or of the one size `window`, and carry their `Card` in their
    metadata. A few dozen windows from all over the area that is to be mapped, with seasons and
    clouds as they come, are enough for the calibration. ContractError for a model that is no
    network.
    """
    _check_exportable(model, window)
    for batch in calibration:
        _check_window(model, batch, window)
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in (CHOICE, INT8, FLOAT):
        (folder / earlier).unlink(missing_ok=True)
    _write(_traced(model, window), card_of(model, window, "float32"), folder / FLOAT)
    if not calibration:
        return [folder / FLOAT]
    rough = folder / (INT8 + ".rough")
    try:
        write_int8(folder / FLOAT, rough, model.layers, calibration)
        _write(imported("onnx").load(rough), card_of(model, window, "int8"), folder / INT8)
    finally:
        rough.unlink(missing_ok=True)
    return [folder / FLOAT, folder / INT8]


def _check_exportable(model: Model, window: Shape2d | None) -> None:
    if not is_network(model) or model.needs_moments:
        names = sorted({member.encoder.name for member in model.members})
        raise ContractError(
            f"a model with encoder {', '.join(names)} is not exported: only networks are; it runs "
            "wherever numpy, torch and safetensors are, by earthloom.fit.load_model"
        )
    step = _step(model)
    if window and (min(window) < step or window.rows % step or window.cols % step):
        raise ContractError(
            f"windows of {window.rows} x {window.cols} pixels do not lie on the layers' pixels; "
            f"both figures must be multiples of {step}"
        )


def _check_window(model: Model, batch: Batch, window: Shape2d | None) -> None:
    """ContractError if calibration windows have another shape than the one that is asked for."""
    for spec in model.layers if window else ():
        rows, cols = (s * spec.factor for s in batch.layers[spec.key].valid.shape[-2:])
        if window and (rows, cols) != window:
            raise ContractError(
                f"calibration windows are {rows} x {cols} pixels, the graph's are "
                f"{window.rows} x {window.cols}"
            )


def _traced(model: Model, window: Shape2d | None) -> Any:
    """The graph as an `onnx.ModelProto`."""
    for needed in ("onnx", "onnxscript"):
        imported(needed)
    several = torch.export.Dim("windows", min=1, max=_MOST_WINDOWS)
    rows, cols = (torch.export.Dim(name, min=1, max=_MOST_PIXELS) for name in ("rows", "cols"))
    step = _step(model)
    # What is traced shows two windows, and sizes that are neither alike nor one: torch takes such
    # for constants.
    shape = window or Shape2d(step * 2**_LEVELS + step, step * (2**_LEVELS + 3))
    sizes: list[dict[int, Any]] = [
        {0: several}
        if window
        else {0: several, 3: (step // s.factor) * rows, 4: (step // s.factor) * cols}
        for s in model.layers
    ]
    with torch.no_grad(), quiet():
        program = torch.onnx.export(
            MaskedInside(model),
            tuple(_blank(model, shape, 2)),
            dynamo=True,
            input_names=[layer.key for layer in model.layers],
            output_names=["probabilities"],
            dynamic_shapes=(tuple(sizes),),
            verbose=False,
        )
    if program is None:
        raise StageError("torch exported no graph")
    return program.model_proto


def _step(model: Model) -> int:
    """Base pixels on whole multiples of which windows end: whole pixels of every layer."""
    return math.lcm(*(layer.factor for layer in model.layers))


def _blank(model: Model, window: Shape2d, count: int) -> Iterator[torch.Tensor]:
    """Windows of each layer, some of their pixels unseen."""
    generator = torch.Generator().manual_seed(0)
    for layer in model.layers:
        size = (window.rows // layer.factor, window.cols // layer.factor)
        shape = (count, len(layer.dates), len(layer.bands), *size)
        pixels = torch.rand(shape, generator=generator)
        pixels[:, 0, :, 0, 0] = torch.nan
        yield pixels


def _write(proto: Any, card: Card, path: Path) -> None:
    """Writes a graph with its card, whole or not at all."""
    onnx = imported("onnx")
    kept = {item.key: item.value for item in proto.metadata_props if item.key != METADATA_KEY}
    onnx.helper.set_model_props(proto, kept | {METADATA_KEY: card.to_text()})
    onnx.checker.check_model(proto)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(proto.SerializeToString(deterministic=True))
        os.replace(partial, path)
    except OSError as error:
        raise StageError(f"{path} cannot be written: {error}") from error


def _load(path: Path) -> Any:
    return imported("onnx").load(path)
