"""What a bundle says about itself: the typed content of `manifest.json`.

The same struct travels as one JSON string in the ONNX file's `metadata_props`
under the key `bas_edge` (then `model` and `plans` are empty), so an exported
graph knows its classes, input policy and threshold before any bundle exists.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from bas_edge.engine.stages import Stage
from bas_edge.engine.versioned_json import decode_versioned

__all__ = [
    "MANIFEST_LIMIT_BYTES",
    "METADATA_KEY",
    "SCHEMA_VERSION",
    "Accuracy",
    "BoundVerdict",
    "FileRecord",
    "InputPolicy",
    "Manifest",
    "MapsForm",
    "Overrides",
    "PlanRecord",
    "Precision",
    "Quantization",
    "ResizePolicy",
    "Task",
    "ThresholdPolicy",
    "ThresholdRule",
    "Training",
    "decode_manifest",
    "encode_manifest",
]

SCHEMA_VERSION = 1  # raise it with any change after which an older manifest is not read as it was
METADATA_KEY = "bas_edge"
MANIFEST_LIMIT_BYTES = 16 << 20

MapsForm = Literal["all", "selected", "mean"]
Precision = Literal["fp32", "fp16", "int8"]
ResizePolicy = Literal["stretch", "letterbox", "centre_crop"]
ThresholdRule = Literal["fixed", "mean"]
Task = Literal["localization", "segmentation"]


class InputPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a frame becomes the network's input: uint8 RGB [height, width, 3]."""

    height: int
    width: int
    resize: ResizePolicy = "stretch"

    def __post_init__(self) -> None:
        if not (1 <= self.height <= 16384 and 1 <= self.width <= 16384):
            raise ValueError(
                f"input is {self.height} × {self.width}, but each side must be 1 to 16384"
            )


class ThresholdPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a map is cut, as docs/semantics.md defines it.

    Attributes:
        rule: "fixed": `value` is a fraction of each map's own range.
            "mean": the cut is `value` times the mean of the normalised map.
        value: The fraction or the factor.
        chosen_by: How `value` was chosen, in words ("label-free default", "half of val.csv, …").
    """

    rule: ThresholdRule
    value: float
    chosen_by: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value >= 0):
            raise ValueError(f"threshold value is {self.value}, but must be finite and at least 0")


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the weights came from.

    Attributes:
        width: Channel multiplier of the backbone; 0 is unknown.
        map_stride: Pixels of the input to one cell of the maps; 0 is unknown.
        input_size: Side of the square frames in training; 0 is unknown. The engine's own is in
            the input policy.
    """

    architecture: str = ""
    head: str = ""
    width: float = 0.0
    map_stride: int = 0
    input_size: int = 0
    recipe: str = ""
    recipe_sha256: str = ""
    checkpoint_sha256: str = ""
    images: int = 0
    epochs: int = 0


class Accuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One evaluation of this engine. Percentages, 0 to 100."""

    data: str
    images: int
    protocol: str
    metrics: dict[str, float]


class Quantization(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How an int8 graph came about; `report.json` tells the rest.

    Attributes:
        flavour: For which library its Q/DQ nodes are placed.
        method: How ranges were chosen.
        calibration_sha256: Of everything that decided them.
        calibration_images: How many frames.
        in_float: Layers that the accuracy bound sent back to float.
        reduce_range: Weights have seven bits, so that no x86 CPU saturates.
        cpu_features: Of the CPU on which ONNX Runtime was measured.
    """

    flavour: Literal["onnxruntime", "tensorrt"]
    method: str
    calibration_sha256: str = ""
    calibration_images: int = 0
    in_float: tuple[str, ...] = ()
    reduce_range: bool = False
    cpu_features: tuple[str, ...] = ()


class BoundVerdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an engine of reduced precision was held to.

    Attributes:
        accepted: Whether the bound holds; False only for an engine that was forced.
        description: The bound in words.
    """

    accepted: bool
    description: str = ""


class FileRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file of the bundle. `path` is relative to the bundle, with forward slashes."""

    path: str
    sha256: str
    size_bytes: int


class PlanRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One serialized engine, what it was built for, and how.

    Attributes:
        backend: "tensorrt" or "tensorrt_rtx".
        library_version: Of the library that built it, such as "1.7.1.116".
        compute_capability, device_name, driver, cuda: Of the GPU in the machine that built it,
            such as "8.7"; empty where there was none, which only TensorRT-RTX allows.
        targets: What it runs on: "sm_86" is one architecture, "sm_120+" that and later ones.
        hardware_compat: "none", "ampere_plus" or "same_compute_capability"; see docs/cli.md.
        min_batch, opt_batch, max_batch: Frames in one run; all equal is a static batch.
        workspace_bytes: Limit of scratch memory; None is the library's own.
        layers: Of the network before TensorRT fused them.
        build_seconds: Wall clock.
        peak_bytes: Peak resident memory of the building process; 0 is unknown.
    """

    backend: str
    file: FileRecord
    library_version: str
    compute_capability: str = ""
    device_name: str = ""
    driver: str = ""
    cuda: str = ""
    targets: tuple[str, ...] = ()
    hardware_compat: str = "none"
    precision: Precision = "fp32"
    min_batch: int = 1
    opt_batch: int = 1
    max_batch: int = 8
    workspace_bytes: int | None = None
    layers: int = 0
    build_seconds: float = 0.0
    peak_bytes: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.min_batch <= self.opt_batch <= self.max_batch:
            raise ValueError(
                f"batches are {self.min_batch}, {self.opt_batch}, {self.max_batch}, but must be "
                "at least 1 and ascending"
            )


class Overrides(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What somebody set by eye on the running engine, in place of what was measured.

    Attributes:
        threshold: A fraction of each map's range, 0 to 1; None leaves the manifest's own.
        top_k: How many class maps are averaged.
        min_score: Class score for an object, 0 to 1.
    """

    threshold: float | None = None
    top_k: int | None = None
    min_score: float | None = None

    def __post_init__(self) -> None:
        for name in ("threshold", "min_score"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"the override of {name} is {value}, but must be 0 to 1")


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything a runtime must know to run the graph and read its outputs.

    Attributes:
        task: What the graph gives. For "segmentation" that is scores of every cell (docs/graph.md);
            `maps`, `k`, `top_k`, `threshold` and `min_score` then mean nothing.
        classes: Names in the order of the logits, C of them.
        method: What computes the maps: "bas", or one of its baselines (docs/methods.md).
        maps: Which of the three output forms of the graph contract the graph has.
        k: How many class maps the graph computes: C for "all", K for "selected", 1 for "mean".
        top_k: How many maps are averaged by default; at most `k`. 1 for "mean".
        min_score: `found` is False when the class score (softmax, 0 to 1) is below this.
        stages: What became of the network on its way here; empty in files of older versions.
        overrides: Set by hand over threshold, top_k and min_score, whose accuracy was measured.
        model: The record of `model.onnx`; None inside ONNX metadata.
        files: Every other file of the bundle (reports), hashed like the model.
        quantization: None unless `precision` is "int8".
        bound: What the engine was held to; None where nothing was measured, and in int8 engines of
            older versions: see `verdict`.
        backend: What the bundle was built for; the plans of another one are extras.
        build_command: What to type to build this bundle again.
    """

    schema_version: int = SCHEMA_VERSION
    task: Task = "localization"
    name: str = ""
    created_by: str = ""
    method: str = "bas"
    classes: tuple[str, ...]
    input: InputPolicy
    maps: MapsForm
    k: int
    top_k: int
    threshold: ThresholdPolicy
    min_score: float = 0.0
    overrides: Overrides = Overrides()
    precision: Precision = "fp32"
    quantization: Quantization | None = None
    bound: BoundVerdict | None = None
    training: Training = Training()
    accuracy: tuple[Accuracy, ...] = ()
    stages: tuple[Stage, ...] = ()
    model: FileRecord | None = None
    plans: tuple[PlanRecord, ...] = ()
    files: tuple[FileRecord, ...] = ()
    backend: str = "onnxruntime"
    build_command: str = ""

    def __post_init__(self) -> None:
        count = len(self.classes)
        if count == 0 or len(set(self.classes)) != count:
            raise ValueError(f"classes must be named and all different; there are {count}")
        expected_k = {"all": count, "mean": 1}.get(self.maps, self.k)
        if self.k != expected_k or not 1 <= self.k <= count:
            raise ValueError(f"k is {self.k} with maps '{self.maps}' and {count} classes")
        if not 1 <= self.top_k <= self.k:
            raise ValueError(f"top_k is {self.top_k}, but must be 1 to k, which is {self.k}")
        top_k = self.overrides.top_k
        if top_k is not None and (self.maps == "mean" or not 1 <= top_k <= self.k):
            raise ValueError(f"the override of top_k is {top_k}, but must be 1 to {self.k}")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score is {self.min_score}, but must be 0 to 1")


def encode_manifest(manifest: Manifest, *, indent: int = 0) -> bytes:
    """UTF-8 JSON; on one line unless `indent` is given."""
    encoded = msgspec.json.encode(manifest)
    return msgspec.json.format(encoded, indent=indent) + b"\n" if indent else encoded


def decode_manifest(encoded: bytes, *, source: str) -> Manifest:
    """Decode and check UTF-8 JSON from `source`, which error messages name.

    Raises:
        EngineSchemaError: Another schema version, or a field that this one does not have.
        EngineCorruptError: Too large, not JSON, or not a manifest.
    """
    return decode_versioned(
        encoded,
        Manifest,
        what="manifest",
        source=source,
        schema=SCHEMA_VERSION,
        limit_bytes=MANIFEST_LIMIT_BYTES,
    )
