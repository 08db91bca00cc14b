"""Stage `export`: models/ -> export/ (ONNX FP32 and INT8, model.json, example.png), export.json.

Resizing, normalisation, temperature, softmax and embedding are inside the graph; batch, height and
width are dynamic. export.json says how near both are to torch, how large and how fast.
"""

import copy
from pathlib import Path
from typing import Any

import monitor
import numpy as np
import onnx
import torch
from dataset import PREPARED, samples
from deployed import Deployed, Trained
from model import load
from PIL import Image
from predictor import Predictor
from quantising import centre, picture, quantise
from rounding import rounded
from tqdm import tqdm

from shared import exporting, params

EXPORT = Path("export")


class ExportParams(params.Params):
    calibration_images: int
    latency_images: int
    components: int
    seed: int


def to_onnx(deployed: Deployed, path: Path) -> None:
    """One file with the weights inside; inputs uint8 [n, h, w, 3]."""
    shapes = {0: "batch", 1: "height", 2: "width"}
    torch.onnx.export(
        deployed.eval(),
        (torch.zeros(2, 300, 310, 3, dtype=torch.uint8),),
        path,
        input_names=["images"],
        output_names=["probabilities"]
        + ["embedding"] * (deployed.axes is not None)
        + ["heatmap"] * (deployed.weight is not None),
        dynamic_shapes=({axis: torch.export.Dim(name) for axis, name in shapes.items()},),
        opset_version=20,
        external_data=False,
        verbose=False,
    )
    made = onnx.load(path)
    for part in (*made.graph.node, *made.graph.value_info):
        del part.metadata_props[:]  # traces of this machine's source files, a tenth of INT8's size
    onnx.save(made, path)
    onnx.checker.check_model(str(path), full_check=True)


def check(network: torch.nn.Module, meta: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Probabilities and decisions against torch on image files of the test split, and size."""
    torch_mb = exporting.size_mb(Path("models/model.safetensors"))
    plain = Trained(network, meta["image_size"], meta["turns"], meta["temperature"]).eval()
    reference = copy.deepcopy(plain).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    candidates = {kind: Predictor(EXPORT, f"model_{kind}.onnx") for kind in ("fp32", "int8")}
    said: dict[str, list[np.ndarray]] = {"torch": [], "fp32": [], "int8": []}
    for name in tqdm(names, desc="parity", unit="image"):
        pixels = picture(name)[None]
        with torch.no_grad():
            said["torch"].append(reference(torch.from_numpy(pixels)).numpy())
        for kind, candidate in candidates.items():
            said[kind].append(candidate.run(pixels)[0])
    outputs = {kind: np.concatenate(parts) for kind, parts in said.items()}
    results: dict[str, Any] = {"torch": {"size_mb": torch_mb}}
    for kind, candidate in candidates.items():
        size = exporting.size_mb(EXPORT / f"model_{kind}.onnx")
        results[f"onnx_{kind}"] = {
            **exporting.parity(outputs[kind], outputs["torch"], candidate.decide),
            "size_mb": size,
            "size_share": size / torch_mb,
        }
    return results


def seen(names: list[str]) -> dict[str, Any]:
    """The profile of each component of these images' embeddings, as the INT8 model finds them.

    names: validation images; those that the network has learnt, it sees with other eyes.
    """
    predictor = Predictor(EXPORT, "model_int8.onnx", threads=2)
    found = [predictor.run(picture(name)[None], "embedding")[1] for name in names]
    return monitor.profiles(monitor.components(np.concatenate(found).tolist()))


def latencies(network: torch.nn.Module, meta: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Median milliseconds per image on one thread, in turns; speedup is over torch eager.

    torch_channels_last is torch in the layout that suits CPUs best, for those who would serve it.
    """
    torch.set_num_threads(1)
    plain = Trained(network, meta["image_size"], meta["turns"], meta["temperature"]).eval()
    tuned = copy.deepcopy(plain).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    calls: dict[str, Any] = {
        "torch": torch.no_grad()(lambda pixels: plain(torch.from_numpy(pixels))),
        "torch_channels_last": torch.no_grad()(lambda pixels: tuned(torch.from_numpy(pixels))),
        "onnx_fp32": Predictor(EXPORT, "model_fp32.onnx").run,
        "onnx_int8": Predictor(EXPORT, "model_int8.onnx").run,
    }
    taken = exporting.latencies_ms(calls, [picture(name)[None] for name in names])
    return {
        kind: {"latency_p50_ms": value, "speedup": taken["torch"] / value}
        for kind, value in taken.items()
    }


def main() -> None:
    config = params.stage("export", ExportParams)
    network, meta = load(Path("models"))
    meta |= params.read_json("reports/operating.json")
    meta |= {"max_megapixels": params.load_yaml("params.yaml")["ingest"]["max_megapixels"]}
    positive = meta["classes"].index(meta["positive"])
    graph = [meta[key] for key in ("image_size", "channels", "turns", "temperature")]
    table = samples()
    train = table.loc[table["split"] == "train", "image"]
    EXPORT.mkdir(exist_ok=True)
    params.write_json(EXPORT / "model.json", meta)
    deployed, coarse = Deployed(network, *graph, positive), EXPORT / "coarse.onnx"
    drawn = train.sample(min(config.calibration_images, len(train)), random_state=config.seed)
    pixels = torch.from_numpy(np.load(PREPARED / "images.npy", mmap_mode="r")[drawn.index])
    deployed.describe(pixels, config.components)
    to_onnx(deployed, EXPORT / "model_fp32.onnx")
    to_onnx(rounded(deployed, pixels), coarse)
    quantise(coarse, EXPORT / "model_int8.onnx", drawn.tolist())
    coarse.unlink()
    files = [EXPORT / f"model_{kind}.onnx" for kind in ("int8", "fp32")]
    centre(*files, drawn.tolist(), meta["temperature"])
    usual = seen(table.loc[table["split"] == "validation", "image"].tolist())
    params.write_json(EXPORT / "model.json", meta | {"embedding": usual})
    example = picture(table.loc[table["label"] == meta["positive"], "image"].iloc[0])
    Image.fromarray(example).resize((96, 96)).save(EXPORT / "example.png")
    test = table.loc[table["split"] == "test", "image"].tolist()
    results = check(network, meta, test)
    for kind, values in latencies(network, meta, test[: config.latency_images]).items():
        results[kind] = results.get(kind, {}) | values
    params.write_json("export.json", results)
    int8 = results["onnx_int8"]
    print(f"export: INT8 {int8['size_mb']:.2f} MB, {int8['speedup']:.1f} times torch -> {EXPORT}")


if __name__ == "__main__":
    main()
