"""Small ONNX graphs for segmentation, built without torch: class a is red, b green, c blue."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import onnx
from colour_network import CHANNELS, Planted, colour_network, picture
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from bas_edge.engine.manifest import InputPolicy, Manifest, ResizePolicy, ThresholdPolicy
from bas_edge.engine.onnx_metadata import with_manifest

CELL = 4  # pixels per cell, each way
COLOURS = np.vstack([np.zeros(3), 2 * np.eye(3) - 1]).astype(np.float32) / 255  # [scores, RGB]
BIAS = np.array([0.5, 0, 0, 0], np.float32)


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
    weights = COLOURS[:, :, None, None].copy()
    weights[1:] *= gain
    constants = {"weights": weights, "bias": BIAS}
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


def layered_segmenter(
    path: Path, *, planted: Planted = "", resize: ResizePolicy = "stretch"
) -> Path:
    """The same by the layers of `colour_network`, which int8 can quantize: cells of 2 pixels."""
    model = colour_network(planted=planted)
    graph = model.graph
    features = next(at for at, node in enumerate(graph.node) if node.name == "dense/relu")
    del graph.node[features + 1 :]
    weights = np.zeros((4, CHANNELS, 1, 1), np.float32)
    weights[1 + np.arange(CHANNELS) % 3, np.arange(CHANNELS)] = 6
    constants = {"scores.weight": weights, "scores.bias": np.array([4, 0, 0, 0], np.float32)}
    graph.node.append(
        helper.make_node("Conv", ["dense/active", *constants], ["scores"], "scores.conv")
    )
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items())
    del graph.output[:]
    side = 32
    graph.output.append(
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4, side // 2, side // 2])
    )
    used = {name for node in graph.node for name in node.input}
    kept = [one for one in graph.initializer if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    manifest = segmentation_manifest(resize=resize)
    path.write_bytes(with_manifest(model.SerializeToString(), manifest))
    return path


def write_masked_pictures(folder: Path, *, train: int, val: int) -> Path:
    """An index folder of coloured rectangles and their masks, with these two splits."""
    rng = np.random.default_rng(5)
    (folder / "masks").mkdir(parents=True)
    names = {"0": "background", "1": "a", "2": "b", "3": "c"}
    (folder / "classes.json").write_text(json.dumps({"mask_values": names}))
    with (folder / "index.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "labels", "mask_path", "split"])
        for n in range(train + val):
            pixels, (x0, y0, x1, y1) = picture(rng, n % 3)
            mask = np.zeros(pixels.shape[:2], np.uint8)
            mask[y0:y1, x0:x1] = 1 + n % 3
            Image.fromarray(pixels).save(folder / f"{n:03d}.png")
            Image.fromarray(mask).save(folder / "masks" / f"{n:03d}.png")
            split = "train" if n < train else "val"
            rows.writerow([f"{n:03d}.png", "abc"[n % 3], f"masks/{n:03d}.png", split])
    return folder
