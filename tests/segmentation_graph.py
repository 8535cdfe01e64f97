"""A small ONNX graph for segmentation, built without torch: class a is red, b green, c blue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bas_edge.engine.manifest import InputPolicy, Manifest, ResizePolicy, ThresholdPolicy
from bas_edge.engine.onnx_metadata import with_manifest

CELL = 4  # pixels per cell, each way


def segmentation_manifest(
    size: tuple[int, int] = (32, 32), resize: ResizePolicy = "stretch"
) -> Manifest:
    return Manifest(
        task="segmentation",
        name="tiny",
        classes=("a", "b", "c"),
        input=InputPolicy(height=size[0], width=size[1], resize=resize),
        maps="all",
        k=3,
        top_k=1,
        threshold=ThresholdPolicy(rule="fixed", value=0.0),
    )


def tiny_segmenter(
    path: Path, *, gain: float = 1.0, output: str = "scores", **options: object
) -> Path:
    """An ONNX file whose scores are 0.5 of background, and the colours' own strengths (0 to 1)."""
    manifest = segmentation_manifest(**options)
    height, width = manifest.input.height, manifest.input.width
    weights = np.zeros((4, 3, 1, 1), np.float32)
    weights[1:, :, 0, 0] = gain * (2 * np.eye(3, dtype=np.float32) - 1) / 255
    constants = {"weights": weights, "bias": np.array([0.5, 0, 0, 0], np.float32)}
    kernel = [CELL, CELL]
    nodes = [
        helper.make_node("Cast", ["frames"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["cells"], kernel_shape=kernel, strides=kernel),
        helper.make_node("Conv", ["cells", "weights", "bias"], [output]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", height, width, 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 4, None, None])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(with_manifest(model.SerializeToString(), manifest))
    return path
