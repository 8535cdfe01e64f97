"""PyTorch against the exported graph, on the same frames.

How far may they differ? Both sum the same products in float32, in different orders. The same
model in float64 shows what float32 costs PyTorch itself on the same frames (all of them: where
one frame's maps are saturated, a sigmoid hides its error); the graph may be `_FACTOR` times as
far from PyTorch as that. A wrong weight, padding or normalisation is
thousands of times further.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from bas_edge.engine.manifest import MapsForm, ThresholdPolicy
from bas_edge.errors import BackendError, EngineError
from bas_edge.foreground import foreground_maps
from bas_edge.metrics.iou import box_iou
from bas_edge.ops import aggregate_maps, maps_to_boxes
from bas_edge.quantization.comparison import Run
from bas_edge_training.mean_generator import MeanGenerator, mean_map, reading
from bas_edge_training.methods import BAS, Method
from bas_edge_training.models import BasModel

__all__ = [
    "Parity",
    "ParityRow",
    "box_agreement",
    "check_parity",
    "contract_run",
    "run_in_batches",
    "run_onnx",
]

_FACTOR = 16.0  # another summation order
_FLOOR = 1e-6  # of the largest magnitude


@dataclass(frozen=True, slots=True)
class ParityRow:
    """One output: the largest absolute difference over all images, and how large it may be."""

    output: str
    max_abs_error: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Parity:
    """PyTorch and the exported graph on the same frames.

    Attributes:
        images: How many frames were compared.
        rows: One per output, and the aggregated foreground map.
        box_iou: Mean IoU of the boxes from both; a map value within `tolerance` of the cut may
            move one, so this is reported and the maps decide.
        torch, graph: What each said, with the maps of its own best classes.
    """

    images: int
    rows: tuple[ParityRow, ...]
    box_iou: float
    torch: Run = field(repr=False, compare=False)
    graph: Run = field(repr=False, compare=False)


def check_parity(
    onnx_model: onnx.ModelProto,
    model: BasModel,
    frames: NDArray[np.uint8],
    *,
    top_k: int,
    threshold: ThresholdPolicy,
    mean: tuple[str, MeanGenerator] | None = None,
    method: Method = BAS,
) -> Parity:
    """Run both on `frames` and compare every output; maps by class id, never by position.

    Args:
        onnx_model: A graph of the contract, of any form.
        model: What it was exported from, in eval mode.
        frames: uint8 [M, H, W, 3] at network size.
        top_k: Maps that the foreground averages.
        threshold: Where the foreground is cut for the boxes.
        mean: The layer whose input the distilled generator reads, and that generator, for a
            graph of form "mean" that was distilled.
        method: What computes the maps.

    Raises:
        EngineError: An output differs by more than its tolerance.
    """
    got = run_in_batches(onnx_model, frames)
    single = _torch_outputs(model, frames, method, mean)
    double = _torch_outputs(_in_float64(model), frames, method, mean)
    ours, torch32, torch64 = (_by_class(outputs, got, top_k) for outputs in (got, single, double))
    rows = tuple(
        ParityRow(
            name,
            _distance(ours[name], torch32[name]),
            _FACTOR * _distance(torch32[name], exact)
            + _FLOOR * float(np.max(np.abs(torch32[name]))),
        )
        for name, exact in torch64.items()
    )
    if "classes" in got:
        rows += (_class_row(got["classes"], single["logits"], rows[0].tolerance),)
    for row in rows:
        if not row.max_abs_error <= row.tolerance:  # NaN fails too
            raise EngineError(
                f"The exported graph differs from PyTorch: {row.output} by "
                f"{row.max_abs_error:.2g}, where float32 rounding explains {row.tolerance:.2g}.",
                hint="Report it with the checkpoint's recipe; no file was written.",
            )
    maps = (ours["foreground"], torch32["foreground"])
    iou = box_agreement(*maps, size=frames.shape[1:3], threshold=threshold)
    return Parity(
        len(frames),
        rows,
        float(iou.mean()),
        torch=contract_run(single, top_k),
        graph=contract_run(got, top_k),
    )


def contract_run(outputs: dict[str, NDArray[Any]], top_k: int) -> Run:
    """The foreground and scores of outputs of any form of the graph contract, or of PyTorch."""
    form: MapsForm = (
        "mean" if "foreground" in outputs else "selected" if "classes" in outputs else "all"
    )
    return Run(foreground_maps(outputs, form, top_k), outputs["logits"])


def box_agreement(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    *,
    size: tuple[int, int],
    threshold: ThresholdPolicy,
) -> NDArray[np.float64]:
    """IoU [N] of the boxes of two sets of foreground maps [N, h, w]."""
    boxes = [
        maps_to_boxes(maps.astype(np.float32), size, threshold.value, rule=threshold.rule)
        .boxes[:, 0].astype(np.float64)
        for maps in (first, second)
    ]  # fmt: skip
    return np.array(
        [box_iou(a[None], b[None])[0, 0] for a, b in zip(*boxes, strict=True)], np.float64
    )


def run_onnx(model: onnx.ModelProto, frames: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Outputs by name, from ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    names = [output.name for output in model.graph.output]
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        outputs = session.run(names, {"frames": frames})
    except Exception as error:  # onnxruntime's own errors share no public base class
        raise BackendError(f"ONNX Runtime refused the exported graph: {error}") from error
    return dict(zip(names, outputs, strict=True))


def run_in_batches(model: onnx.ModelProto, frames: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """The first frame alone and the rest together: both sizes must work."""
    parts = [run_onnx(model, batch) for batch in (frames[:1], frames[1:]) if len(batch)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _torch_outputs(
    model: BasModel,
    frames: NDArray[np.uint8],
    method: Method,
    mean: tuple[str, MeanGenerator] | None,
) -> dict[str, NDArray[Any]]:
    """Logits and either the maps of all classes or the one foreground."""
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
    with torch.no_grad():
        if mean is None:
            outputs = (each.numpy() for each in method.outputs(model, pixels))
            return dict(zip(method.output_names, outputs, strict=True))
        layer, generator = mean
        with reading(model, layer) as inputs:
            logits = model(pixels)[0]
        return {"logits": logits.numpy(), "foreground": mean_map(generator, inputs[0]).numpy()}


def _in_float64(model: BasModel) -> BasModel:
    """The same model; normalised frames enter as float32 and all else is float64."""
    twin = copy.deepcopy(model).double()
    twin.trunk.register_forward_pre_hook(lambda _module, inputs: (inputs[0].double(),))
    return twin


def _by_class(
    outputs: dict[str, NDArray[Any]], got: dict[str, NDArray[Any]], top_k: int
) -> dict[str, NDArray[Any]]:
    """Outputs of either side, with maps and foreground of the classes that the graph chose."""
    if "foreground" in got:
        return {"logits": outputs["logits"], "foreground": outputs["foreground"][:, 0]}
    scores, maps = got["logits"], outputs["maps"]
    if "classes" in got:
        classes = got["classes"].astype(np.int64)  # [N, K]
        scores = np.take_along_axis(scores, classes, axis=1)
        if outputs is not got:  # PyTorch has the maps of all classes
            maps = np.take_along_axis(maps, classes[:, :, None, None], axis=1)
    foreground = aggregate_maps(maps.astype(np.float32), scores, top_k)
    return {"logits": outputs["logits"], "maps": maps, "foreground": foreground}


def _class_row(
    classes: NDArray[np.int32], logits: NDArray[np.float32], tolerance: float
) -> ParityRow:
    """How far a chosen class lies under the K best, or under one chosen after it.

    Equal classes give 0. Near-ties may be chosen or ordered differently by either side.
    """
    chosen = np.take_along_axis(logits, classes.astype(np.int64), axis=1)  # [N, K]
    best = -np.sort(-logits, axis=1)[:, : classes.shape[1]]
    return ParityRow("classes", float(np.max(np.abs(best - chosen))), 2 * tolerance)


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.max(np.abs(a.astype(np.float64) - b)))
