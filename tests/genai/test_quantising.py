"""Which matrices keep 8 bits, and what is told of names that the model does not have."""

from pathlib import Path

import onnx
import pytest
import quantising


def test_the_named_matrices_and_the_last_keep_eight_bits(small: Path) -> None:
    graph = onnx.load(small / "export/model.onnx", load_external_data=False).graph
    found = {
        node.name: attribute.i
        for node in graph.node
        for attribute in node.attribute
        if node.op_type == "MatMulNBits" and attribute.name == "bits"
    }
    wide = {name for name, bits in found.items() if bits == 8}
    assert wide == {name for name in found if "qkv_proj" in name or "lm_head" in name}
    assert set(found.values()) == {4, 8}


def test_a_matrix_that_the_model_lacks_is_named(small: Path, tmp_path: Path) -> None:
    weights = {"method": "k_quant", "block_size": 32, "accuracy_level": 4}
    with pytest.raises(SystemExit, match=r"did not match an emitted node: .*mlp/nothing"):
        quantising.build(small / "tiny", tmp_path / "export", weights, ["mlp/nothing"])
