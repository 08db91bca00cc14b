"""A LightGBM model as one ONNX graph of ONNX's own tree operator, in double precision."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def to_onnx(booster: lightgbm.Booster, columns: int, path: Path) -> None:
    """Input `rows` double [n, columns], output float [n, 1]: what Booster.predict gives."""
    trees = booster.dump_model()["tree_info"]
    nodes: dict[str, list[Any]] = {
        name: []
        for name in ("tree", "node", "feature", "value", "mode", "true", "false", "missing")
    }
    leaves: dict[str, list[Any]] = {name: [] for name in ("tree", "node", "weight")}
    for number, tree in enumerate(trees):
        walk(tree["tree_structure"], number, nodes, leaves)
    attributes = {
        "n_targets": 1,
        "nodes_treeids": nodes["tree"],
        "nodes_nodeids": nodes["node"],
        "nodes_featureids": nodes["feature"],
        "nodes_values_as_tensor": double(nodes["value"]),
        "nodes_modes": nodes["mode"],
        "nodes_truenodeids": nodes["true"],
        "nodes_falsenodeids": nodes["false"],
        "nodes_missing_value_tracks_true": nodes["missing"],
        "target_treeids": leaves["tree"],
        "target_nodeids": leaves["node"],
        "target_ids": [0] * len(leaves["node"]),
        "target_weights_as_tensor": double(leaves["weight"]),
        "base_values_as_tensor": double([0.0]),
    }
    node = helper.make_node(
        "TreeEnsembleRegressor", ["rows"], ["change"], domain="ai.onnx.ml", **attributes
    )
    rows = helper.make_tensor_value_info("rows", TensorProto.DOUBLE, ["rows", columns])
    change = helper.make_tensor_value_info("change", TensorProto.FLOAT, ["rows", 1])
    graph = helper.make_graph([node], "global", [rows], [change])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def double(values: list[float]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, float))


def walk(
    top: dict[str, Any], tree: int, nodes: dict[str, list[Any]], leaves: dict[str, list[Any]]
) -> None:
    """Append the nodes and leaves of one tree of `Booster.dump_model`."""
    waiting, number = [(top, 0)], 1
    while waiting:
        part, own = waiting.pop()
        inner = "split_feature" in part
        row: dict[str, Any] = {"tree": tree, "node": own, "feature": 0, "value": 0.0}
        row |= {"mode": "LEAF", "true": 0, "false": 0, "missing": 0}
        if inner:
            row |= {"feature": part["split_feature"], "value": part["threshold"]}
            row |= {"mode": "BRANCH_LEQ", "true": number, "false": number + 1}
            row["missing"] = int(goes_left(part))
            waiting += [(part["left_child"], number), (part["right_child"], number + 1)]
            number += 2
        else:
            leaf = {"tree": tree, "node": own, "weight": part["leaf_value"]}
            for name, value in leaf.items():
                leaves[name].append(value)
        for name, value in row.items():
            nodes[name].append(value)


def goes_left(part: dict[str, Any]) -> bool:
    """Where LightGBM sends NaN: as learnt, or, where training had none, as it sends 0."""
    if part["missing_type"] == "NaN":
        return bool(part["default_left"])
    return bool(part["threshold"] >= 0)
