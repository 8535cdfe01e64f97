"""A segmenter's checkpoint becomes one ONNX file, all that `bas_edge.Segmenter` needs."""

from __future__ import annotations

import copy
import hashlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

import bas_edge
from bas_edge.engine.manifest import InputPolicy, Manifest, ThresholdPolicy, Training
from bas_edge.engine.onnx_metadata import with_manifest
from bas_edge.errors import EngineError, InputError
from bas_edge_training.atomic import make_folder, replace_atomically
from bas_edge_training.capture import capture
from bas_edge_training.parity import run_in_batches
from bas_edge_training.samples import real_samples, synthetic_samples
from bas_edge_training.segmentation.segmenter import SegmenterModel
from bas_edge_training.segmentation.segmenter_training import TrainedSegmenter, load_segmenter
from bas_edge_training.simplify import Simplification
from bas_edge_training.simplify import simplify as run_onnxsim

__all__ = ["SegmenterExport", "export_segmenter", "segmenter_graph"]

_IMAGES = 4  # to compare with PyTorch on
_FACTOR = 16.0  # another summation order; see parity.py
_FLOOR = 1e-6  # of the largest magnitude


@dataclass(frozen=True, slots=True)
class SegmenterExport:
    """What was written.

    Attributes:
        path, size_bytes: The file.
        manifest: In its metadata.
        samples: What it was compared with PyTorch on, in words.
        max_abs_error, tolerance: Of the scores; the second is what float32 rounding explains.
        simplification: What onnxsim did; None where it was not asked.
        next_command: What to type next.
    """

    path: Path
    size_bytes: int
    manifest: Manifest
    samples: str
    max_abs_error: float
    tolerance: float
    simplification: Simplification | None
    next_command: str

    def rows(self) -> list[tuple[str, str]]:
        """For people."""
        policy = self.manifest.input
        found = [
            ("wrote", f"{self.path}, {self.size_bytes / 1e6:.1f} MB"),
            ("task", self.manifest.task),
            ("classes", str(len(self.manifest.classes))),
            ("input", f"{policy.width}×{policy.height} RGB uint8, {policy.resize}"),
            ("PyTorch", f"scores differ by {self.max_abs_error:.1e} on {self.samples}"),
        ]
        if self.simplification is not None:
            found.append(("onnxsim", str(self.simplification)))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "path": str(self.path),
            "size_bytes": self.size_bytes,
            "task": self.manifest.task,
            "classes": list(self.manifest.classes),
            "samples": self.samples,
            "max_abs_error": self.max_abs_error,
            "tolerance": self.tolerance,
            "next_command": self.next_command,
        }


def export_segmenter(
    checkpoint: str | Path,
    output: str | Path,
    *,
    simplify: bool = True,
    overwrite: bool = False,
    reporter: Callable[[str], None] | None = None,
) -> SegmenterExport:
    """Write a trained segmenter as an ONNX file: frames uint8 [N, H, W, 3] -> scores.

    The file appears only after its graph passed the ONNX checker and agreed with PyTorch.

    Args:
        checkpoint: The run folder, or its checkpoint.safetensors.
        output: The ONNX file to write.
        simplify: Run onnxsim, in a child process.
        overwrite: Replace a file that is there; it stays until the new one is complete.
        reporter: Called with one line per step.

    Raises:
        InputError: `output` exists and `overwrite` is False, or the checkpoint is not one of a
            segmenter.
        EngineError: The graph and PyTorch disagree.
    """
    output, say = Path(output), reporter or (lambda _line: None)
    if output.suffix.lower() != ".onnx":
        raise InputError(
            f"The output is an ONNX file, but '{output}' does not end in .onnx.",
            hint=f"Write {output.with_suffix('.onnx')} instead.",
        )
    if output.exists() and not overwrite:
        raise InputError(
            f"{output} already exists.",
            hint="Add --overwrite to replace it, or choose another output.",
        )
    make_folder(output.parent)
    loaded = load_segmenter(checkpoint)
    side = loaded.model.config.input_size
    recorded = loaded.info.data.source
    real = bool(recorded) and Path(recorded).exists()
    samples = (
        real_samples(recorded, side=side, count=_IMAGES)
        if real
        else synthetic_samples(side=side, count=_IMAGES)
    )
    say(f"writing the graph of a segmenter on {loaded.model.config.architecture}")
    graph, simplification = segmenter_graph(loaded.model), None
    if simplify:
        say("simplifying with onnxsim")
        graph, simplification = run_onnxsim(graph, samples.frames)
    encoded = with_manifest(graph.SerializeToString(), _manifest(loaded, output))
    final = onnx.ModelProto.FromString(encoded)
    onnx.checker.check_model(final, full_check=True)
    say(f"comparing with PyTorch on {len(samples.frames)} frames")
    error, tolerance = _compare(final, loaded.model, samples.frames)
    replace_atomically(output, lambda temporary: temporary.write_bytes(encoded))
    engine = output.with_suffix(".engine")
    return SegmenterExport(
        path=output,
        size_bytes=len(encoded),
        manifest=_manifest(loaded, output),
        samples=samples.source,
        max_abs_error=error,
        tolerance=tolerance,
        simplification=simplification,
        next_command=shlex.join(["bas-edge", "build-engine", str(output), "-o", str(engine)]),
    )


def segmenter_graph(model: SegmenterModel) -> onnx.ModelProto:
    """Frames uint8 [N, H, W, 3] -> scores float32 [N, 1 + C, h, w], background first."""
    side = model.config.input_size

    def forward(frames: Tensor) -> tuple[Tensor, ...]:
        # Cast first: TensorRT refuses Transpose on uint8.
        return (model(frames.float().permute(0, 3, 1, 2)),)

    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    return capture(forward, example, module=model, input_name="frames", output_names=("scores",))


def _compare(
    graph: onnx.ModelProto, model: SegmenterModel, frames: NDArray[np.uint8]
) -> tuple[float, float]:
    """The largest difference of the scores, and how large it may be.

    Raises:
        EngineError: It is larger.
    """
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
    double = copy.deepcopy(model).double()
    double.trunk.register_forward_pre_hook(lambda _module, inputs: (inputs[0].double(),))
    with torch.no_grad():
        single, exact = model(pixels).numpy(), double(pixels).numpy()
    got = run_in_batches(graph, frames)["scores"]
    error = float(np.abs(got - single).max())
    rounding = float(np.abs(single - exact).max())
    tolerance = _FACTOR * rounding + _FLOOR * float(np.abs(single).max())
    if not error <= tolerance:  # NaN fails too
        raise EngineError(
            f"The exported graph differs from PyTorch: scores by {error:.2g}, where float32 "
            f"rounding explains {tolerance:.2g}.",
            hint="Report it with the checkpoint's recipe; no file was written.",
        )
    return error, tolerance


def _manifest(loaded: TrainedSegmenter, output: Path) -> Manifest:
    info, config = loaded.info, loaded.model.config
    return Manifest(
        task="segmentation",
        name=output.stem,
        created_by=f"bas-edge {bas_edge.__version__}",
        classes=info.classes,
        input=InputPolicy(height=config.input_size, width=config.input_size),
        maps="all",
        k=len(info.classes),
        top_k=1,
        threshold=ThresholdPolicy(rule="fixed", value=0.0, chosen_by="each pixel's best class"),
        training=Training(
            architecture=config.architecture,
            head="deeplab",
            width=config.width,
            map_stride=config.map_stride,
            input_size=config.input_size,
            recipe=info.recipe,
            recipe_sha256=info.recipe_sha256,
            checkpoint_sha256=hashlib.sha256(loaded.path.read_bytes()).hexdigest(),
            images=info.data.images,
            epochs=info.epoch,
        ),
    )
