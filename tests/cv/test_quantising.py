"""INT8 models that cannot overflow, with the last layer in float and centred like the FP32 one."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from deployed import Deployed
from export import to_onnx
from model import build
from PIL import Image
from predictor import Predictor
from quantising import RAW, centre, picture, quantise
from rounding import STEPS

FP32, INT8 = Path("model_fp32.onnx"), Path("model_int8.onnx")


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A dozen smooth gray pictures, ingested."""
    monkeypatch.chdir(tmp_path)
    RAW.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(12):
        coarse = Image.fromarray(generator.integers(0, 256, (6, 6), dtype=np.uint8))
        coarse.resize((70, 64)).save(RAW / f"{number}.png")
    return [f"{number}.png" for number in range(12)]


def log_probabilities(path: Path, names: list[str]) -> np.ndarray:
    Path("model.json").write_text('{"classes": ["a", "b"], "positive": "a", "threshold": 0.5}')
    predictor = Predictor(".", path.name)
    return np.log(np.concatenate([predictor.run(picture(name)[None])[0] for name in names]))


@pytest.mark.parametrize("architecture", ["squeezenet1_1", "efficientnet_lite0", "resnet18"])
def test_weights_have_seven_bits_and_the_last_layer_is_float_and_centred(
    architecture: str, names: list[str]
) -> None:
    torch.manual_seed(0)
    deployed = Deployed(build(architecture, 2).eval(), 64, 1, [0, 7], 2.0, 0)
    to_onnx(deployed, FP32)
    quantise(FP32, INT8, names)
    expected, before = log_probabilities(FP32, names), log_probabilities(INT8, names)
    centre(INT8, FP32, names, temperature=2.0)
    after = log_probabilities(INT8, names)
    off, still = (np.abs((said - expected).mean(0)).max() for said in (before, after))
    assert still < 0.001 + off / 5
    graph = onnx.load(INT8).graph
    arrays = {value.name: onnx.numpy_helper.to_array(value) for value in graph.initializer}
    coded = [array for array in arrays.values() if array.dtype == np.int8 and array.ndim == 4]
    assert len(coded) >= 20
    assert max(int(np.abs(array.astype(int)).max()) for array in coded) <= STEPS
    last = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")][-1]
    assert arrays[last.input[1]].dtype == np.float32


def test_a_last_layer_without_a_bias_is_left_alone(names: list[str]) -> None:
    network = build("resnet18", 2).eval()
    network.fc = torch.nn.Linear(512, 2, bias=False)
    to_onnx(Deployed(network, 64, 1, [0], 1.0, 0), FP32)
    quantise(FP32, INT8, names)
    before = log_probabilities(INT8, names)
    centre(INT8, FP32, names, temperature=1.0)
    np.testing.assert_allclose(log_probabilities(INT8, names), before)
