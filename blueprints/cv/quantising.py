"""An ONNX model in INT8 by ONNX Runtime: ranges from training images, the last layer in float."""

from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from predictor import Predictor, decode

RAW = Path("data/raw/images")
LAYERS = ["Conv", "Gemm", "MatMul"]
NETWORK = [*LAYERS, "Add", "Concat", "MaxPool", "Relu", "Clip"]


class Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Training images one by one, as the quantiser wants them."""

    def __init__(self, names: list[str]) -> None:
        self.names, self.next, self.end = names, 0, len(names)

    def __len__(self) -> int:
        return len(self.names)

    def set_range(self, start_index: int, end_index: int) -> None:
        self.next, self.end = start_index, end_index

    def get_next(self) -> dict[str, np.ndarray] | None:
        if self.next == self.end:
            return None
        self.next += 1
        return {"images": picture(self.names[self.next - 1])[None]}


def picture(name: str) -> np.ndarray:
    """uint8 [height, width, 3] of an ingested image."""
    return decode((RAW / name).read_bytes(), max_megapixels=float("inf")).copy()


def quantise(source: Path, target: Path, names: list[str]) -> None:
    """Static INT8, per channel, QDQ: ranges from the training images `names`; the rest stays float.

    So does the last layer: it is small, and its errors are those of the decision.
    """
    prepared = target.with_suffix(".pre.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    nodes = onnx.load(prepared).graph.node
    layers = [node.name for node in nodes if node.op_type in LAYERS]
    quantize_static(
        str(prepared),
        str(target),
        Pictures(names),
        calibrate_method=CalibrationMethod.MinMax,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=True,  # 7-bit weights: without VNNI, products are summed in 16 bits
        op_types_to_quantize=NETWORK,
        nodes_to_exclude=layers[-1:],
        # one image's intermediate outputs at a time in memory, not all of them
        extra_options={"CalibStridedMinMax": 1},
    )
    prepared.unlink()


def centre(coarse: Path, plain: Path, names: list[str], temperature: float) -> None:
    """Shift the last layer's bias in `coarse`, so that its mean logits are those of `plain`.

    A last layer without a bias stays as it is. names: training images.
    """
    said = []
    for path in (coarse, plain):
        predictor = Predictor(path.parent, path.name, threads=2)
        rows = [predictor.run(picture(name)[None])[0] for name in names]
        said.append(np.log(np.concatenate(rows).clip(1e-12)))
    model = onnx.load(coarse)
    last = [node for node in model.graph.node if node.op_type in LAYERS][-1]
    for bias in (value for value in model.graph.initializer if value.name in last.input[2:]):
        shifted = onnx.numpy_helper.to_array(bias) + temperature * (said[1] - said[0]).mean(0)
        bias.CopyFrom(onnx.numpy_helper.from_array(shifted.astype(np.float32), bias.name))
    onnx.save(model, coarse)
