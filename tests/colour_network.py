"""A small network with layers that int8 can quantize, and pictures that it localizes on.

Like `graphs.tiny_model` it looks for colours, but through four convolutions: stem (3x3, stride
2), a depthwise and a dense one, then the generator's end and the classifier. `planted` makes one
channel between the depthwise and the dense layer a thousand times larger and undoes that in the
dense layer's weights: in float nothing changes, in plain int8 all other channels are lost.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from graphs import tiny_manifest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from bas_edge.engine.manifest import METADATA_KEY, Manifest, encode_manifest

SIDE = 32
CHANNELS = 6
PLANT = 1000.0
Planted = Literal["", "equalizable", "fixed"]


def colour_manifest() -> Manifest:
    return tiny_manifest(size=(SIDE, SIDE), min_score=0.6)


def colour_network(*, planted: Planted = "", activation: str = "Relu") -> onnx.ModelProto:
    """The graph without metadata.

    `planted`: "equalizable" puts the large channel where only a Relu lies between the layers;
    "fixed" makes it by a Mul that no weights can take over.
    """
    rng = np.random.default_rng(3)
    colour = np.arange(CHANNELS) % 3
    stem = np.full((CHANNELS, 3, 3, 3), -0.5 / 9)
    stem[np.arange(CHANNELS), colour] = 1 / 9
    depthwise = np.full((CHANNELS, 1, 3, 3), 1 / 9) * rng.uniform(0.8, 1.2, (CHANNELS, 1, 1, 1))
    dense = rng.uniform(-0.1, 0.1, (CHANNELS, CHANNELS))
    dense[np.arange(CHANNELS), np.arange(CHANNELS)] = 1.0
    heads = (colour == np.arange(3)[:, None]) - 0.5  # [3, CHANNELS]
    gains = np.ones(CHANNELS)
    if planted:
        gains[0] = PLANT
        dense = dense / gains
    if planted == "equalizable":
        depthwise = depthwise * gains[:, None, None, None]
    constants: dict[str, Any] = {
        "mean": np.full((1, 3, 1, 1), 128),
        "std": np.full((1, 3, 1, 1), 128),
        "stem.weight": stem,
        "stem.bias": np.full(CHANNELS, -0.1),
        "depthwise.weight": depthwise,
        "gains": gains.reshape(1, -1, 1, 1),
        "dense.weight": dense[:, :, None, None],
        "dense.bias": rng.uniform(-0.05, 0.05, CHANNELS),
        "maps.weight": 6 * heads[:, :, None, None],
        "maps.bias": np.full(3, -4.0),
        "classifier.weight": 9 * heads[:, :, None, None],
        "classifier.bias": np.zeros(3),
        "0": np.array(0),
        "6": np.array(6),
    }
    ends = ["0", "6"] if activation == "Clip" else []

    def conv(name: str, source: str, **attributes: Any) -> onnx.NodeProto:
        inputs = [source, *(n for n in (f"{name}.weight", f"{name}.bias") if n in constants)]
        return helper.make_node("Conv", inputs, [f"{name}:0"], name, **attributes)

    around = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Cast", ["frames"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["planes", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["input"]),
        conv("stem", "input", strides=[2, 2], **around),
        helper.make_node(activation, ["stem:0", *ends], ["stem/active"], "stem/activation"),
        conv("depthwise", "stem/active", group=CHANNELS, **around),
        helper.make_node("Relu", ["depthwise:0"], ["depthwise/active"], "depthwise/relu"),
        *(
            [helper.make_node("Mul", ["depthwise/active", "gains"], ["mixed"], "gain")]
            if planted == "fixed"
            else []
        ),
        conv("dense", "mixed" if planted == "fixed" else "depthwise/active"),
        helper.make_node("Relu", ["dense:0"], ["dense/active"], "dense/relu"),
        conv("maps", "dense/active"),
        helper.make_node("Sigmoid", ["maps:0"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["dense/active"], ["pooled"]),
        conv("classifier", "pooled"),
        helper.make_node("Flatten", ["classifier:0"], ["logits"]),
    ]
    used = {name for node in nodes for name in node.input}
    initializers = [
        numpy_helper.from_array(np.asarray(value, np.float32), name)
        for name, value in constants.items()
        if name in used
    ]
    half = SIDE // 2
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3]),
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["N", 3, half, half]),
        ],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def write_network(path: Path, **options: Any) -> Path:
    model = colour_network(**options)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, encode_manifest(colour_manifest()).decode()
    path.write_bytes(model.SerializeToString())
    return path


def picture(rng: np.random.Generator, label: int | None) -> tuple[NDArray[np.uint8], list[int]]:
    """A dim noisy frame [48, 64, 3] with a rectangle of the class's colour, and its box."""
    pixels = rng.integers(0, 60, (48, 64, 3), dtype=np.uint8)
    x0, y0 = int(rng.integers(4, 24)), int(rng.integers(4, 16))
    x1, y1 = x0 + int(rng.integers(20, 34)), y0 + int(rng.integers(16, 26))
    if label is not None:
        inside = pixels[y0:y1, x0:x1]
        inside[..., label] = rng.integers(150, 256, inside.shape[:2])
    return pixels, [x0, y0, x1, y1]


def write_pictures(folder: Path, count: int, *, seed: int, background: int = 0) -> Path:
    """PNG files and `index.csv` with boxes; and `background/`, without objects."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    with (folder / "index.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label", "class_name", "x0", "y0", "x1", "y1", "width", "height"])
        for n in range(count):
            pixels, box = picture(rng, n % 3)
            Image.fromarray(pixels).save(folder / f"{n:03d}.png")
            rows.writerow([f"{n:03d}.png", n % 3, "abc"[n % 3], *box, 64, 48])
    if background:
        (folder / "background").mkdir()
        for n in range(background):
            Image.fromarray(picture(rng, None)[0]).save(folder / "background" / f"{n}.png")
    return folder
