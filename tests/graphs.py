"""Small ONNX graphs that keep the graph contract, built without torch.

The tiny network looks for colours: class 0 is red, 1 green, 2 blue, further classes are
mixtures. Its map is one cell per 4×4 pixels, high where the frame has the class's colour,
so a coloured rectangle on black has a known label and a known box.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bas_edge.engine.manifest import (
    METADATA_KEY,
    InputPolicy,
    Manifest,
    MapsForm,
    ResizePolicy,
    ThresholdPolicy,
    Training,
)

CELL = 4  # pixels per map cell, each way


def colour_weights(count: int) -> NDArray[np.float32]:
    """[C, 3]: how much each class likes red, green and blue."""
    weights = np.random.default_rng(7).uniform(-1, 0.4, size=(count, 3)).astype(np.float32)
    pure = np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float32)
    weights[: min(count, 3)] = pure[:count]
    return weights


def tiny_manifest(
    *,
    maps: MapsForm = "all",
    classes: tuple[str, ...] = ("a", "b", "c"),
    k: int | None = None,
    top_k: int | None = None,
    size: tuple[int, int] = (32, 32),
    resize: ResizePolicy = "stretch",
    threshold: ThresholdPolicy | None = None,
    min_score: float = 0.0,
) -> Manifest:
    if k is None:
        k = {"all": len(classes), "selected": max(1, len(classes) - 1), "mean": 1}[maps]
    return Manifest(
        name="tiny",
        created_by="tests/graphs.py",
        classes=classes,
        input=InputPolicy(height=size[0], width=size[1], resize=resize),
        maps=maps,
        k=k,
        top_k=1 if top_k is None else top_k,
        threshold=threshold or ThresholdPolicy(rule="fixed", value=0.5, chosen_by="by hand"),
        min_score=min_score,
        training=Training(architecture="colours", head="tiny"),
    )


def tiny_model(manifest: Manifest) -> onnx.ModelProto:
    """The graph that `manifest` describes, without metadata."""
    classes, height, width = len(manifest.classes), manifest.input.height, manifest.input.width
    rows, columns = height // CELL, width // CELL
    weights = colour_weights(classes)[:, :, None, None]
    constants = {
        "scale": np.float32(1 / 255),
        "w_class": weights,  # [C, 3, 1, 1]
        "w_map": 20 * weights,  # [C, 3, 1, 1]
        "b_map": np.full(classes, -10, np.float32),
        "gain": np.float32(30),
        "w_any": np.full((1, 3, 1, 1), 20, np.float32),
        "b_any": np.full(1, -10, np.float32),
        "k": np.array([manifest.k], np.int64),
        "last": np.array([-1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["frames"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["planes", "scale"], ["unit"]),
        helper.make_node(
            "AveragePool", ["unit"], ["cells"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]
        ),
        helper.make_node("Conv", ["cells", "w_class"], ["response"]),
        helper.make_node("GlobalAveragePool", ["response"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Mul", ["flat", "gain"], ["logits"]),
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])
    outputs = [logits]
    if manifest.maps == "mean":
        nodes += [
            helper.make_node("Conv", ["cells", "w_any", "b_any"], ["any"]),
            helper.make_node("Sigmoid", ["any"], ["foreground"]),
        ]
        outputs.append(_float_maps("foreground", 1, rows, columns))
    else:
        every = "maps" if manifest.maps == "all" else "every_map"
        nodes += [
            helper.make_node("Conv", ["cells", "w_map", "b_map"], ["raw"]),
            helper.make_node("Sigmoid", ["raw"], [every]),
        ]
        if manifest.maps == "selected":
            nodes += [
                helper.make_node("TopK", ["logits", "k"], ["best", "order"], axis=1),
                helper.make_node("Cast", ["order"], ["classes"], to=TensorProto.INT32),
                helper.make_node("Unsqueeze", ["order", "last"], ["places"]),
                helper.make_node("GatherND", [every, "places"], ["maps"], batch_dims=1),
            ]
            outputs.append(
                helper.make_tensor_value_info("classes", TensorProto.INT32, ["N", manifest.k])
            )
        outputs.append(_float_maps("maps", manifest.k, rows, columns))
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", height, width, 3])],
        outputs,
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items() if n in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def tiny_onnx(
    path: str | Path,
    *,
    maps: MapsForm = "all",
    classes: tuple[str, ...] = ("a", "b", "c"),
    k: int | None = None,
    top_k: int | None = None,
    size: tuple[int, int] = (32, 32),
    resize: ResizePolicy = "stretch",
    threshold: ThresholdPolicy | None = None,
    min_score: float = 0.0,
    metadata: bool = True,
) -> Path:
    """Write the tiny graph to `path`, with its manifest as metadata unless told otherwise."""
    manifest = tiny_manifest(
        maps=maps,
        classes=classes,
        k=k,
        top_k=top_k,
        size=size,
        resize=resize,
        threshold=threshold,
        min_score=min_score,
    )
    return save(path, tiny_model(manifest), manifest if metadata else None)


def save(path: str | Path, model: onnx.ModelProto, manifest: Manifest | None) -> Path:
    """Write `model` (perhaps damaged on purpose) with `manifest` (perhaps not its own)."""
    if manifest is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = METADATA_KEY, msgspec.json.encode(manifest).decode()
    path = Path(path)
    path.write_bytes(model.SerializeToString())
    return path


def coloured_frame(
    size: tuple[int, int], box: tuple[int, int, int, int], colour: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """A black RGB frame [H, W, 3] with one filled rectangle, xyxy half-open."""
    frame = np.zeros((*size, 3), np.uint8)
    x0, y0, x1, y1 = box
    frame[y0:y1, x0:x1] = colour
    return frame


def _float_maps(name: str, channels: int, rows: int, columns: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, rows, columns])
