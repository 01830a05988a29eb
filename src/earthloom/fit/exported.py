"""Exported networks: loading one for maps, comparing it with torch, choosing the fastest."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from earthloom.errors import ContractError, DataError, ProjectError, choices
from earthloom.fit.card import Card
from earthloom.fit.export import CHOICE, FLOAT, INT8
from earthloom.fit.flat import in_pieces, windows_in
from earthloom.fit.lanes import Lanes, Pending
from earthloom.fit.model import Model
from earthloom.fit.runtimes import RUNTIMES, Runtime, arrays_of, installed
from earthloom.fit.trial import FASTER, largest_difference, seconds_of
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch
from earthloom.tasks import PixelClasses

AUTO = "auto"

TOLERANCE = 1e-3
"""Most that a probability of a float32 graph may differ from torch's."""

AGREEMENT = 0.99
"""Least share of pixels to which an int8 graph must give the class that torch gives."""


@final
class Exported:
    """A network from an ONNX file; fulfils `earthloom.fit.predictor.Predicting`."""

    needs_moments = False

    def __init__(self, path: Path, runtime: str, lanes: int = 1, batch: int = 1) -> None:
        if runtime not in RUNTIMES:
            raise ProjectError(
                f"runtime '{runtime}' is not known; choose from: {choices((AUTO, *RUNTIMES))}"
            )
        if not path.is_file():
            raise DataError(f"no exported model at {path}")
        self.path, self.batch = path, batch
        self._runtime: Runtime = RUNTIMES[runtime](path, lanes)
        self.card = Card.from_text(self._runtime.card, path)
        self._digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self._lanes = Lanes(lanes)

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        return self.card.layers

    @property
    def task(self) -> PixelClasses:
        return self.card.task

    @property
    def threshold(self) -> float | None:
        return self.card.threshold

    @property
    def radius(self) -> int:
        return self.card.radius

    @property
    def alignment(self) -> int:
        return self.card.alignment

    @property
    def is_local(self) -> bool:
        return self.card.is_local

    @property
    def planes(self) -> int:
        return len(self.task.codes)

    @property
    def lanes(self) -> int:
        return self._lanes.count

    @property
    def ahead(self) -> int:
        return 2 * self.lanes

    def check(self, specs: Mapping[str, LayerSpec]) -> None:
        self.card.check(specs)

    def inputs(self) -> dict[str, str | bool | int]:
        runtime = self._runtime
        return {
            "graph": self._digest,
            "runtime": runtime.name,
            "version": runtime.version,
            "batch": self.batch,
        }

    def predict(self, batch: Batch) -> Tensor:
        """(B, K, H, W) float32; ContractError for windows of another shape than the graph's."""
        return self.begin(batch).result()

    def begin(self, batch: Batch) -> Pending:
        self._check_shape(batch)
        pieces = in_pieces(batch, self.batch)
        return self._lanes.begin([partial(self._first, p, n) for p, n in pieces])

    def here(self, batch: Batch) -> Tensor:
        """All windows at once, by the calling thread."""
        return torch.from_numpy(self._runtime.run(arrays_of(self.layers, batch)))

    def close(self) -> None:
        self._lanes.close()

    def _first(self, batch: Batch, count: int) -> Tensor:
        return self.here(batch)[:count]

    def _check_shape(self, batch: Batch) -> None:
        wanted = self.card.window
        for spec in self.layers if wanted else ():
            rows, cols = (s * spec.factor for s in batch.layers[spec.key].valid.shape[-2:])
            if wanted and (rows, cols) != wanted:
                raise ContractError(
                    f"{self.path.name} was exported for windows of {wanted.rows} x {wanted.cols} "
                    f"pixels, but got {rows} x {cols}; export it for windows of any size"
                )


@dataclass(frozen=True)
class Measured:
    """One graph in one runtime, against torch on the same windows."""

    file: str
    runtime: str
    seconds: float
    """For one window, by one lane."""
    difference: float
    """Most that a probability differs."""
    agreement: float
    """Share of the pixels seen that get the same class."""

    @property
    def trusted(self) -> bool:
        """Whether it says what torch says, as closely as its numbers allow."""
        if self.file == INT8:
            return self.agreement >= AGREEMENT
        return self.difference <= TOLERANCE


def load_exported(path: Path, runtime: str = AUTO, lanes: int = 1, batch: int = 1) -> Exported:
    """A network from an ONNX file, or from a folder that `export_model` wrote.

    In a folder `auto` takes what `choose_export` found fastest there, and otherwise the float32
    graph in the first runtime that is installed. DataError if there is none.
    """
    if not path.is_dir():
        return Exported(path, _any_runtime(runtime), lanes, batch)
    chosen = path / CHOICE
    if runtime == AUTO and chosen.is_file():
        found = _read_choice(chosen)
        return Exported(path / found["file"], found["runtime"], lanes, batch)
    return Exported(path / FLOAT, _any_runtime(runtime), lanes, batch)


def choose_export(model: Model, folder: Path, windows: Batch, repeats: int = 3) -> list[Measured]:
    """Measures every graph of a folder in every runtime that is installed, and keeps the choice.

    The fastest is chosen of those that agree with torch; one in int8 only if it is clearly faster
    than the float32 one. The choice holds for machines like this one; on another, choose again.
    """
    truth = model.pixels(windows)
    files = [name for name in (FLOAT, INT8) if (folder / name).is_file()]
    found = [
        _measured(folder / name, runtime, windows, truth, repeats)
        for name in files
        for runtime in installed()
    ]
    trusted = [each for each in found if each.trusted]
    if not trusted:
        raise DataError(f"no graph in {folder} agrees with the model: {found}")
    best = trusted[0]
    for each in trusted[1:]:
        if each.seconds < (best.seconds if each.file == best.file else FASTER * best.seconds):
            best = each
    value = {
        "file": best.file,
        "runtime": best.runtime,
        "measured": [asdict(each) for each in found],
    }
    partial = folder / (CHOICE + ".partial")
    partial.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, folder / CHOICE)
    return found


def agreement(first: Tensor, second: Tensor) -> float:
    """Share of pixels, of those that both saw, for which the same class is most probable."""
    seen = ~(first.isnan() | second.isnan()).any(dim=1)
    same = first.nan_to_num(-1.0).argmax(dim=1) == second.nan_to_num(-1.0).argmax(dim=1)
    return float(same[seen].double().mean()) if seen.any() else 1.0


def _measured(path: Path, runtime: str, windows: Batch, truth: Tensor, repeats: int) -> Measured:
    exported = Exported(path, runtime)
    try:
        shares = exported.predict(windows)
        seconds = seconds_of(lambda: exported.predict(windows), repeats)
    finally:
        exported.close()
    return Measured(
        file=path.name,
        runtime=runtime,
        seconds=seconds / windows_in(windows),
        difference=largest_difference(shares, truth),
        agreement=agreement(shares, truth),
    )


def _any_runtime(wanted: str) -> str:
    if wanted != AUTO:
        return wanted
    there = installed()
    if not there:
        raise DataError(
            f"no runtime for exported models is installed, of: {choices(RUNTIMES)}; "
            "pip install 'earthloom[deploy]'"
        )
    return there[0]


def _read_choice(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {"file": Path(found["file"]).name, "runtime": found["runtime"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: {error!r}; choose again, or remove it") from error
