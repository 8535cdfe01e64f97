"""What `export()` returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bas_edge.engine.manifest import Manifest
from bas_edge.quantization.trained_ranges import TrainedRanges
from bas_edge_training.distill import Distillation
from bas_edge_training.parity import Parity
from bas_edge_training.simplify import Simplification

__all__ = ["ExportReport"]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, why in this form, and how it was checked.

    Attributes:
        path: The ONNX file; `size_bytes` of it.
        manifest: What its metadata say.
        reason: Why its maps have this form.
        nodes: Nodes of the graph.
        samples: The frames of the checks, in words.
        simplification: What onnxsim did; None where it was not asked.
        parity: PyTorch against the file's graph.
        distillation: The mean map's fit; None where none was tried.
        trained_ranges: Int8 ranges that the file carries; None where none were trained.
        trained_at: Side of the network's input in training; the manifest has that of the graph.
        next_command: What to type next.
    """

    path: Path
    size_bytes: int
    manifest: Manifest
    reason: str
    nodes: int
    samples: str
    simplification: Simplification | None
    parity: Parity
    distillation: Distillation | None
    trained_ranges: TrainedRanges | None
    trained_at: int
    next_command: str

    def rows(self) -> list[tuple[str, str]]:
        """The report as (what, value) lines of a table."""
        manifest, threshold = self.manifest, self.manifest.threshold
        rows = [
            ("file", f"{self.path} ({self.size_bytes / 1e6:.1f} MB, {self.nodes} nodes)"),
            ("input", self._input()),
            ("classes", str(len(manifest.classes))),
            ("method", manifest.method),
            ("maps", f"{manifest.maps}, {manifest.k} computed, {manifest.top_k} averaged"),
            ("because", self.reason),
            ("threshold", f"{threshold.rule} {threshold.value:g} ({threshold.chosen_by})"),
            ("onnxsim", str(self.simplification or "not run")),
            ("compared on", self.samples),
        ]
        if trained := self.trained_ranges:
            rows.append(("int8", f"{len(trained.ranges)} trained ranges, for {trained.flavour}"))
        for row in self.parity.rows:
            error = f"{row.max_abs_error:.1e} (at most {row.tolerance:.1e})"
            rows.append((f"PyTorch - ONNX, {row.output}", error))
        rows.append(("PyTorch - ONNX, boxes", f"mean IoU {self.parity.box_iou:.4f}"))
        return rows

    def _input(self) -> str:
        side = self.manifest.input.height
        trained = "" if side == self.trained_at else f", trained at {self.trained_at}"
        return f"{side} × {side} pixels{trained}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        distillation = self.distillation
        return {
            "path": str(self.path),
            "size_bytes": self.size_bytes,
            "input_size": self.manifest.input.height,
            "trained_at": self.trained_at,
            "method": self.manifest.method,
            "maps": self.manifest.maps,
            "k": self.manifest.k,
            "top_k": self.manifest.top_k,
            "reason": self.reason,
            "nodes": self.nodes,
            "samples": self.samples,
            "simplified": bool(self.simplification and self.simplification.applied),
            "simplification": str(self.simplification or "not run"),
            "parity": {
                row.output: {"max_abs_error": row.max_abs_error, "tolerance": row.tolerance}
                for row in self.parity.rows
            },
            "parity_box_iou": self.parity.box_iou,
            "stages": msgspec.to_builtins(self.manifest.stages),
            "distillation": None
            if distillation is None
            else {
                "accepted": distillation.accepted,
                "filters": distillation.parts,
                "images": distillation.images,
                "held_out": distillation.held_out,
                "box_iou": distillation.box_iou,
                "max_abs_error": distillation.max_abs_error,
            },
            "trained_ranges": msgspec.to_builtins(self.trained_ranges),
            "next_command": self.next_command,
        }
