"""Stage `export`: models/ -> export/ (ONNX FP32 and INT8, model.json, example.png) and export.json with the checks.

Resizing, normalisation, temperature and softmax are inside the graph; batch, height and width are dynamic.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from dataset import samples
from heatmap import Deployed
from model import load
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image
from predictor import Predictor, decode
from tqdm import tqdm

from shared import exporting, params

RAW, EXPORT = Path("data/raw/images"), Path("export")


class ExportParams(params.Params):
    calibration_images: int
    latency_images: int
    seed: int


class Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Training images one by one, as the quantiser wants them."""

    def __init__(self, names: list[str]) -> None:
        self.batches: Iterator[dict[str, np.ndarray]] = iter({"images": picture(name)[None]} for name in names)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def picture(name: str) -> np.ndarray:
    """uint8 [height, width, 3] of an ingested image."""
    return decode((RAW / name).read_bytes(), max_megapixels=float("inf"))


def to_onnx(deployed: Deployed, path: Path) -> None:
    """One file with the weights inside; inputs uint8 [n, h, w, 3]."""
    names = ["probabilities"] + ["heatmap"] * (deployed.weight is not None)
    shapes = {0: "batch", 1: "height", 2: "width"}
    example = torch.zeros(2, 300, 310, 3, dtype=torch.uint8)
    torch.onnx.export(
        deployed.eval(),
        (example,),
        path,
        input_names=["images"],
        output_names=names,
        dynamic_shapes=({axis: torch.export.Dim(name) for axis, name in shapes.items()},),
        opset_version=20,
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    onnx.checker.check_model(str(path), full_check=True)


def quantise(source: Path, target: Path, names: list[str]) -> None:
    """Static INT8, per channel, QDQ: ranges from `names`, training images; what is not the network stays in float."""
    prepared = target.with_suffix(".pre.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(target),
        Pictures(names),
        quant_format=QuantFormat.QDQ,
        calibrate_method=CalibrationMethod.Percentile,  # MinMax lets rare extremes widen the ranges
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"CalibPercentile": 99.99},
        op_types_to_quantize=[
            "Conv",
            "Gemm",
            "MatMul",
            "Add",
            "Concat",
            "MaxPool",
            "Relu",
            "Clip",
            "GlobalAveragePool",
        ],
    )
    prepared.unlink()


def agreement(network: Deployed, candidate: Predictor, names: list[str], bar: str) -> dict[str, float]:
    """Probabilities and decisions of an ONNX model against torch on whole image files, resized by each itself."""
    ours, theirs = [], []
    with torch.no_grad():
        for name in tqdm(names, desc=bar, unit="image"):
            pixels = picture(name)[None]
            ours.append(candidate.run(pixels)[0][0])
            theirs.append(network(torch.from_numpy(pixels))[0][0].numpy())
    return exporting.parity(np.array(ours), np.array(theirs), candidate.decide)


def check(deployed: Deployed, table: Any, config: ExportParams) -> dict[str, Any]:
    """Parity and agreement on the whole test split, size, and single-thread latency in turns with torch eager."""
    names = table.loc[table["split"] == "test", "image"].tolist()
    results: dict[str, Any] = {"torch": {"size_mb": exporting.size_mb(Path("models/model.safetensors"))}}
    candidates = {kind: Predictor(EXPORT, f"model_{kind}.onnx") for kind in ("fp32", "int8")}
    for kind, candidate in candidates.items():
        size = exporting.size_mb(EXPORT / f"model_{kind}.onnx")
        results[f"onnx_{kind}"] = agreement(deployed, candidate, names, kind) | {
            "size_mb": size,
            "size_share": size / results["torch"]["size_mb"],
        }
    torch.set_num_threads(1)
    calls: dict[str, Any] = {f"onnx_{kind}": candidate.run for kind, candidate in candidates.items()}
    calls["torch"] = torch.no_grad()(lambda pixels: deployed(torch.from_numpy(pixels)))
    pixels = [picture(name)[None] for name in names[: config.latency_images]]
    for kind, value in exporting.latencies_ms(calls, pixels).items():
        results[kind]["latency_p50_ms"] = value
    for kind in ("onnx_fp32", "onnx_int8"):
        results[kind]["speedup"] = results["torch"]["latency_p50_ms"] / results[kind]["latency_p50_ms"]
    return results


def main() -> None:
    config = params.read("export", ExportParams)
    network, meta = load(Path("models"))
    operating = params.read_json("reports/operating.json")
    positive = meta["classes"].index(meta["positive"])
    deployed = Deployed(network, meta["image_size"], operating["temperature"], positive).eval()
    table = samples()
    train = table.loc[table["split"] == "train", "image"]
    EXPORT.mkdir(exist_ok=True)
    params.write_json(
        EXPORT / "model.json",
        meta | operating | {"max_megapixels": params.load_yaml("params.yaml")["ingest"]["max_megapixels"]},
    )
    to_onnx(deployed, EXPORT / "model_fp32.onnx")
    drawn = train.sample(min(config.calibration_images, len(train)), random_state=config.seed)
    quantise(EXPORT / "model_fp32.onnx", EXPORT / "model_int8.onnx", drawn.tolist())
    example = Image.fromarray(picture(table.loc[table["label"] == meta["positive"], "image"].iloc[0]))
    example.resize((96, 96)).save(EXPORT / "example.png")
    results = check(deployed, table, config)
    params.write_json("export.json", results)
    int8 = results["onnx_int8"]
    print(f"export: INT8 {int8['size_mb']:.2f} MB, {int8['speedup']:.1f} times as fast as torch -> {EXPORT}")


if __name__ == "__main__":
    main()
