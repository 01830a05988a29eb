"""Convolutions in 8-bit integers, with ranges measured on windows of real pixels."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from earthloom.fit.flat import in_pieces
from earthloom.fit.runtimes import arrays_of, imported, quiet
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch


def write_int8(
    source: Path, target: Path, layers: Sequence[LayerSpec], calibration: Sequence[Batch]
) -> None:
    """Writes the graph of `source` with its wide convolutions in int8 (static quantisation).

    Weights are quantised by output channel, activations by tensor, with the ranges that the
    calibration windows show (Jacob et al. 2018). Convolutions of 1 x 1, which are the first and the
    last of a network, stay in float32: they cost little, and their error would reach the result
    undiluted. So does everything between convolutions, the mask and its NaN included.
    """
    quantization = imported("onnxruntime.quantization")
    with quiet():
        quantization.quantize_static(
            str(source),
            str(target),
            _reader(quantization, layers, calibration),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=_wide(source),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )


def _wide(path: Path) -> list[str]:
    """Names of the convolutions that look beyond their pixel."""
    graph = imported("onnx").load(path).graph
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type == "Conv" and max(sizes[node.input[1]][2:]) > 1
    ]


def _reader(quantization: Any, layers: Sequence[LayerSpec], calibration: Sequence[Batch]) -> Any:
    """The windows one by one, in the form that the quantiser asks for them."""

    def windows() -> Iterator[dict[str, Any]]:
        for batch in calibration:
            for piece, _ in in_pieces(batch, 1):
                yield arrays_of(layers, piece)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._windows = windows()

        def get_next(self) -> dict[str, Any] | None:
            return next(self._windows, None)

    return Reader()
