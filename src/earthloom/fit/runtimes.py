"""The engines that run exported networks: ONNX Runtime and OpenVINO, one thread a window."""

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray

from earthloom.errors import DataError, StageError
from earthloom.fit.card import METADATA_KEY
from earthloom.fit.flat import tensors_of
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch

Arrays = Mapping[str, NDArray[np.float32]]
"""Pixels (B, T, C, H, W) of each layer by its key, NaN where they were not seen."""


class Runtime(Protocol):
    """Runs a graph; threads may call it side by side."""

    name: str
    version: str
    card: str
    """The text of the graph's card, empty if it has none."""

    def run(self, arrays: Arrays) -> NDArray[np.float32]:
        """(B, K, H, W) probabilities."""
        ...


@final
class OnnxRuntime:
    """A graph in ONNX Runtime; fulfils `Runtime`."""

    name = "onnxruntime"

    def __init__(self, path: Path, lanes: int) -> None:
        onnxruntime = imported("onnxruntime")
        self.version = str(onnxruntime.__version__)
        options = onnxruntime.SessionOptions()
        # The calling threads are the lanes; a session of one thread does its work in the caller.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no base of their own.
            raise DataError(f"{path} is no graph that ONNX Runtime reads: {error}") from error
        self.card = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")

    def run(self, arrays: Arrays) -> NDArray[np.float32]:
        (shares,) = self._session.run(None, dict(arrays))
        found: NDArray[np.float32] = shares
        return found


@final
class OpenVino:
    """A graph in OpenVINO; fulfils `Runtime`."""

    name = "openvino"

    def __init__(self, path: Path, lanes: int) -> None:
        openvino = imported("openvino")
        self.version = str(openvino.__version__)
        core = openvino.Core()
        try:
            graph = core.read_model(str(path))
            settings = {
                "NUM_STREAMS": lanes,
                "INFERENCE_NUM_THREADS": lanes,
                # Else a processor with bf16 would change the numbers without being asked.
                "INFERENCE_PRECISION_HINT": "f32",
            }
            self._compiled = core.compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            raise DataError(f"{path} is no graph that OpenVINO reads: {error}") from error
        place = ["framework", METADATA_KEY]
        self.card = str(graph.get_rt_info(place).value) if graph.has_rt_info(place) else ""
        self._names = [node.get_any_name() for node in graph.inputs]
        self._own = threading.local()

    def run(self, arrays: Arrays) -> NDArray[np.float32]:
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        inputs = [np.ascontiguousarray(arrays[name]) for name in self._names]
        found = self._own.request.infer(inputs, share_inputs=True)
        # The request writes its next result over this one.
        shares: NDArray[np.float32] = found[0].copy()
        return shares


RUNTIMES: dict[str, type[OnnxRuntime] | type[OpenVino]] = {
    each.name: each for each in (OnnxRuntime, OpenVino)
}
"""By `Runtime.name`, in the order in which they are asked for."""


def installed() -> list[str]:
    """Names of the runtimes that are there."""
    found = []
    for name in RUNTIMES:
        try:
            import_module(name)
        except ImportError:
            continue
        found.append(name)
    return found


def arrays_of(layers: Sequence[LayerSpec], batch: Batch) -> dict[str, NDArray[np.float32]]:
    """What a graph is given of a batch: each layer's pixels by its key, NaN where not seen."""
    tensors = tensors_of(layers, batch)
    found = {}
    for number, spec in enumerate(layers):
        pixels, valid = tensors[3 * number : 3 * number + 2]
        found[spec.key] = torch.where(valid[:, :, None], pixels, torch.nan).numpy()
    return found


def imported(name: str) -> Any:
    """A package that only exported models need; StageError, with what to do, where it is not."""
    try:
        return import_module(name)
    except ImportError as error:
        raise StageError(f"{name} is not installed: pip install 'earthloom[deploy]'") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without notices of libraries that are about themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
